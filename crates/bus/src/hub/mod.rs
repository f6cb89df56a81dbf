//! The embedded hub (B10): in memory for the parts of one process, over TCP for others.
//!
//! For each journal it keeps the epochs with their ends and a bounded ring of recent batches.
//! Subscribers walk over these by cursors of their own and are told by one version number that
//! something changed; what fell out of the ring is read from the owner. So the hub's memory is
//! bounded by its journals, whatever its subscribers do, and it holds nothing that a restart could
//! lose.

mod cursor;
mod holders;
mod journal;
#[cfg(feature = "jetstream")]
mod mirror;
mod subscription;
#[cfg(test)]
mod tests;
mod version;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::announcing::parts;
use crate::metrics::Counters;
use crate::{
    Batch, Bus, BusError, Extent, Found, Holders, HubMetrics, JournalStatus, LinkOptions,
    LinkStream, Publisher, Source, Start, Subscribe, Subscription, Tells, tcp,
};
use holders::Present;
pub(crate) use journal::Shared;
use journal::{JournalState, Owner};
use subscription::Following;
pub(crate) use subscription::{Begin, HubSubscription, Item};
use version::Version;

/// Batches above this are cut before they go into a ring or a frame.
pub(crate) const BATCH_BYTES_MAX: usize = 512 * 1024;

/// How a hub is set up.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Recent records kept of each journal, in bytes. (Twice that, at most, where journals of the
    /// hub's own process are also followed over TCP.)
    pub ring_bytes: usize,
    /// Every delivery happens at least this much after its announcement: a slow network for
    /// tests. Records that leave the ring within the delay may come earlier.
    pub delay: Duration,
    /// The most journals it takes.
    pub journals_max: usize,
    /// The most subscriptions at a time.
    pub subscriptions_max: usize,
    /// How its TCP links behave.
    pub link: LinkOptions,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            ring_bytes: 4 * 1024 * 1024,
            delay: Duration::ZERO,
            journals_max: 4096,
            subscriptions_max: 4096,
            link: LinkOptions::default(),
        }
    }
}

/// The embedded bus. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

impl Hub {
    /// What it tells owners of their records, over links too: it stores nothing.
    pub const TELLS: Tells = Tells {
        held: true,
        stored: false,
    };

    /// What all handles share, for a bus that feeds this hub.
    #[cfg(feature = "jetstream")]
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// A hub with no journals yet.
    #[must_use]
    pub fn new(options: HubOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                state: Mutex::new(State::default()),
                version: Version::default(),
                counters: Counters::default(),
                stopping: watch::Sender::new(false),
                listeners: Mutex::default(),
            }),
        }
    }

    /// Accepts links over TCP from programs that have the fleet's `key`; returns the address it
    /// listens on. Listens until the hub is stopped.
    ///
    /// # Errors
    /// [`BusError::Listen`].
    pub async fn listen(&self, address: SocketAddr, key: [u8; 32]) -> Result<SocketAddr, BusError> {
        let (local, task) = tcp::listen(Arc::clone(&self.inner), address, key).await?;
        self.inner.listeners().push(task);
        Ok(local)
    }

    /// Serves a connection that was accepted elsewhere, as [`Hub::listen`] does its own. `peer`
    /// names the other side for people.
    pub fn accept(&self, stream: LinkStream, peer: &str, key: [u8; 32]) {
        let serving = tcp::serve(Arc::clone(&self.inner), stream, peer.to_owned(), key);
        tokio::spawn(serving);
    }

    /// What it counted.
    #[must_use]
    pub fn metrics(&self) -> HubMetrics {
        self.inner.counters.snapshot()
    }

    /// The journals it knows, by name.
    #[must_use]
    pub fn journals(&self) -> Vec<JournalStatus> {
        let state = self.inner.state();
        let mut all: Vec<_> = state
            .journals
            .iter()
            .map(|journal| JournalStatus {
                server: journal.server.clone(),
                present: journal.owner.is_some(),
                epochs: journal.epochs.iter().map(|k| (k.epoch, k.end)).collect(),
                terms: journal.terms,
                ring_bytes: journal.ring_cost(),
            })
            .collect();
        all.sort_by(|a, b| a.server.cmp(&b.server));
        all
    }

    /// Stops it: every subscription ends, every publisher is told [`BusError::Closed`], links
    /// are cut. Returns once its addresses are free.
    pub async fn stop(&self) {
        {
            let mut state = self.inner.state();
            state.stopped = true;
            let owners = state.journals.iter().filter_map(|j| j.owner.as_ref());
            owners.for_each(|owner| owner.source.held(Holders::default()));
        }
        self.inner.changed();
        self.inner.stopping.send_replace(true);
        let listeners = std::mem::take(&mut *self.inner.listeners());
        for listener in listeners {
            let _ = listener.await;
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(HubOptions::default())
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Bus for Hub {
    async fn join(&self, source: Arc<dyn Source>) -> Result<Box<dyn Publisher>, BusError> {
        let server = source.server();
        let link = "this process".to_owned();
        let claim = self.inner.claim(&server, link, None, Arc::clone(&source))?;
        self.inner.extents(claim, &source.epochs());
        Ok(Box::new(HubPublisher {
            inner: Arc::clone(&self.inner),
            server,
            claim,
            source,
        }))
    }

    async fn subscribe(&self, request: Subscribe) -> Result<Subscription, BusError> {
        let begin = match request.start {
            Start::Oldest => Begin::Oldest,
            Start::Now => Begin::Now,
        };
        let (subscription, _) = self.inner.subscribe(request, begin)?;
        Ok(Subscription::new(Box::new(subscription)))
    }

    async fn ask(&self, server: &ServerName, question: Bytes) -> Result<Found, BusError> {
        self.inner.ask(server, question).await
    }

    fn tells(&self) -> Tells {
        Self::TELLS
    }
}

/// An owner in the hub's own process.
struct HubPublisher {
    inner: Arc<Inner>,
    server: ServerName,
    claim: Claim,
    source: Arc<dyn Source>,
}

#[async_trait]
impl Publisher for HubPublisher {
    async fn announce(&self, batch: Batch) -> Result<(), BusError> {
        let epoch = batch.epoch;
        let parts = parts(batch, &self.server, BATCH_BYTES_MAX)?;
        tokio::task::consume_budget().await;
        if !self.inner.knows(self.claim, epoch) {
            // A new epoch: the end of the one before counts as announced too.
            self.inner.extents(self.claim, &self.source.epochs());
        }
        for part in parts {
            self.inner.announce(self.claim, &Shared::new(part))?;
        }
        Ok(())
    }

    async fn report(&self, epoch: Epoch, end: u64) -> Result<(), BusError> {
        // What was not announced, because peers wait for the report too.
        self.inner.extents(self.claim, &self.source.epochs());
        self.inner.report(self.claim, epoch, end)
    }
}

impl Drop for HubPublisher {
    fn drop(&mut self) {
        self.inner.leave(self.claim);
    }
}

/// One ownership of a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    journal: usize,
    generation: u64,
}

pub(crate) struct Inner {
    pub(crate) options: HubOptions,
    state: Mutex<State>,
    /// Grows with every change; subscribers wait on it.
    pub(crate) version: Version,
    pub(crate) counters: Counters,
    /// True once the hub is stopped; listeners wait on it.
    pub(crate) stopping: watch::Sender<bool>,
    listeners: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Only ever appended to: subscribers' cursors go by index.
    pub(crate) journals: Vec<JournalState>,
    by_server: HashMap<ServerName, usize>,
    /// Counts ownerships and subscriptions, so that each has a number of its own.
    generations: u64,
    holders: Present,
    pub(crate) stopped: bool,
}

impl State {
    /// The journal of a server, new if it has none yet.
    fn index_or_new(&mut self, server: &ServerName, limit: usize) -> Result<usize, BusError> {
        if let Some(&index) = self.by_server.get(server) {
            return Ok(index);
        }
        let index = self.journals.len();
        if index >= limit {
            let what = "journals";
            return Err(BusError::Full { what, limit });
        }
        self.journals.push(JournalState::new(server.clone()));
        self.by_server.insert(server.clone(), index);
        Ok(index)
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.version.grow();
    }

    /// Makes `link` the owner of `server`'s journal.
    pub(crate) fn claim(
        &self,
        server: &ServerName,
        link: String,
        instance: Option<[u8; 16]>,
        source: Arc<dyn Source>,
    ) -> Result<Claim, BusError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.stopped {
            return Err(BusError::Closed);
        }
        let index = state.index_or_new(server, self.options.journals_max)?;
        let journal = &mut state.journals[index];
        if let Some(owner) = &journal.owner
            && (instance.is_none() || owner.instance != instance)
        {
            self.counters.names_refused.add(1);
            return Err(BusError::NameTaken {
                server: server.clone(),
                owner: owner.link.clone(),
            });
        }
        state.generations += 1;
        journal.set_owner(Some(Owner {
            generation: state.generations,
            link,
            instance,
            source,
        }));
        journal.tell_owner(&state.holders);
        Ok(Claim {
            journal: index,
            generation: state.generations,
        })
    }

    /// Takes what the owner says it has.
    pub(crate) fn extents(&self, claim: Claim, extents: &[Extent]) {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            if let Some(journal) = owned(&mut state.journals, claim) {
                journal.merge(extents, Instant::now());
                // Holders may be in an epoch that is known only now.
                journal.tell_owner(&state.holders);
            }
        }
        self.changed();
    }

    fn knows(&self, claim: Claim, epoch: Epoch) -> bool {
        self.state().journals[claim.journal]
            .index_of(epoch)
            .is_some()
    }

    pub(crate) fn announce(&self, claim: Claim, shared: &Arc<Shared>) -> Result<(), BusError> {
        if shared.batch.records.is_empty() {
            return Ok(());
        }
        {
            let mut state = self.state();
            if state.stopped {
                return Err(BusError::Closed);
            }
            let Some(journal) = owned(&mut state.journals, claim) else {
                return Err(BusError::NotOwner {
                    server: shared.batch.server.clone(),
                });
            };
            journal.announce(shared, Instant::now(), self.options.ring_bytes);
        }
        self.counters
            .announced
            .add(shared.batch.records.len() as u64);
        self.changed();
        Ok(())
    }

    /// The owner reports everything up to `end` of `epoch`.
    pub(crate) fn report(&self, claim: Claim, epoch: Epoch, end: u64) -> Result<(), BusError> {
        {
            let mut state = self.state();
            if state.stopped {
                return Err(BusError::Closed);
            }
            let server = state.journals[claim.journal].server.clone();
            let Some(journal) = owned(&mut state.journals, claim) else {
                return Err(BusError::NotOwner { server });
            };
            journal.report(epoch, end);
        }
        self.changed();
        Ok(())
    }

    /// Asks the owner of a journal.
    pub(crate) async fn ask(
        &self,
        server: &ServerName,
        question: Bytes,
    ) -> Result<Found, BusError> {
        let source = {
            let state = self.state();
            if state.stopped {
                return Err(BusError::Closed);
            }
            let index = state.by_server.get(server);
            let owner = index.and_then(|&index| state.journals[index].owner.as_ref());
            owner.map(|owner| Arc::clone(&owner.source))
        };
        let absent = || BusError::Absent {
            server: server.clone(),
        };
        let found = source.ok_or_else(absent)?.find(question).await;
        self.counters.questions.add(1);
        found.map_err(|error| BusError::Unanswered {
            server: server.clone(),
            reason: error.0,
        })
    }

    /// The subscriber of this number holds what comes before these positions.
    pub(crate) fn hold(&self, server: &ServerName, subscription: u64, held: &[Position]) {
        self.state().hold(server, subscription, held);
    }

    pub(crate) fn leave(&self, claim: Claim) {
        if let Some(journal) = owned(&mut self.state().journals, claim) {
            journal.set_owner(None);
        }
        self.changed();
    }

    /// A subscription, and the positions that it begins at where these are settled already.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        request: Subscribe,
        begin: Begin,
    ) -> Result<(HubSubscription, Vec<Position>), BusError> {
        let limit = self.options.subscriptions_max;
        let mut state = self.state();
        if state.stopped {
            return Err(BusError::Closed);
        }
        if self.counters.subscriptions.get() >= limit as u64 {
            return Err(BusError::Full {
                what: "subscriptions",
                limit,
            });
        }
        let named = request
            .from
            .into_iter()
            .map(|p| (p.server, (p.epoch, p.sequence)))
            .collect();
        state.generations += 1;
        let id = state.generations;
        if let Some(server) = &request.holds {
            state.enter_holder(server.clone(), id);
        }
        let following = Following {
            id,
            name: request.name,
            skip: request.skip,
            holds: request.holds,
            reports: request.reports,
            pace: request.pace,
        };
        let subscription = HubSubscription::new(Arc::clone(self), &state, named, begin, following);
        let positions = subscription.positions(&state);
        Ok((subscription, positions))
    }
}

/// The journal of an ownership, as long as that lasts.
fn owned(journals: &mut [JournalState], claim: Claim) -> Option<&mut JournalState> {
    let journal = journals.get_mut(claim.journal)?;
    let owner = journal.owner.as_ref()?;
    (owner.generation == claim.generation).then_some(journal)
}
