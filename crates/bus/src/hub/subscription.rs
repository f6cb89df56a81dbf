//! A subscriber's walk over all journals.
//!
//! It takes what it needs out of the rings when it is asked for the next event, by its own
//! cursors: nothing is queued on its behalf, so a slow subscriber costs nothing. Reads from
//! owners run beside: one slow owner does not hold up the other journals.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::time::Instant;

use super::cursor::{Place, Step};
use super::journal::{Bound, JournalState, Shared};
use super::{Inner, State};
use crate::acknowledging::Holding;
use crate::{Batch, Event, Events, Pace, SourceError, SourceRead};

/// How many events are taken from one journal before the next has its turn.
const TURN: usize = 32;
/// The same, where what is taken joins what was taken before it.
const STEPS_MAX: usize = 32 * TURN;
/// Bytes asked of an owner at once.
const REFILL_BYTES: usize = 256 * 1024;
/// Reads from owners that one subscriber has going at once.
const REFILLS_MAX: usize = 8;
/// Wait before a failed read is tried again: doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// So many failures in a row are worth a line in the log.
const FAILURES_TOLD: u32 = 5;

/// An event that may still be shared with others.
#[derive(Debug)]
pub(crate) enum Item {
    Shared(Arc<Shared>),
    Event(Event),
}

impl Item {
    /// Adds the records of the batch that follows, where both are batches of one epoch and small
    /// enough together.
    fn join(&mut self, next: &Item) -> bool {
        let next = match next {
            Item::Shared(shared) => &shared.batch,
            Item::Event(Event::Batch(batch)) => batch,
            Item::Event(_) => return false,
        };
        let batch = match self {
            Item::Shared(shared) => &shared.batch,
            Item::Event(Event::Batch(batch)) => batch,
            Item::Event(_) => return false,
        };
        let follows = batch.server == next.server
            && batch.epoch == next.epoch
            && batch.end() == next.first
            && batch.cost() + next.cost() <= REFILL_BYTES;
        if follows {
            if let Item::Shared(shared) = self {
                *self = Item::Event(Event::Batch(shared.batch.clone()));
            }
            if let Item::Event(Event::Batch(batch)) = self {
                batch.records.extend_from_slice(&next.records);
            }
        }
        follows
    }
}

pub(crate) struct HubSubscription {
    inner: Arc<Inner>,
    /// The hub's version when it was last looked at.
    seen: u64,
    /// Parallel to the hub's journals.
    cursors: Vec<Cursor>,
    named: HashMap<ServerName, (Epoch, u64)>,
    begin: Place,
    following: Following,
    holding: Holding,
    ready: VecDeque<Item>,
    refills: FuturesUnordered<Pin<Box<dyn Future<Output = Refilled> + Send>>>,
    turn: usize,
    /// When it last found something, and took all that there was.
    found_at: Option<Instant>,
    /// The last look left something for the next.
    behind: bool,
}

/// What a subscription is, whatever it has come to.
#[derive(Debug)]
pub(crate) struct Following {
    /// Its number, of all that the hub ever had.
    pub(crate) id: u64,
    /// For people.
    pub(crate) name: String,
    pub(crate) skip: Option<ServerName>,
    /// The server that holds what it gets.
    pub(crate) holds: Option<ServerName>,
    /// Goes only as far as owners have reported.
    pub(crate) reports: bool,
    /// Looks no more often than this.
    pub(crate) pace: Option<Pace>,
}

struct Cursor {
    place: Place,
    skipped: bool,
    /// The journal's changes when there was nothing to be had of it.
    idle_at: u64,
    presence_seen: u64,
    present_seen: bool,
    /// A read from the owner is under way.
    refilling: bool,
    retry_at: Option<Instant>,
    failures: u32,
    /// Has kept up with the ring since it last caught up.
    live: bool,
    /// The report that its owner was told to be taken.
    taken: Option<(Epoch, u64)>,
}

/// A read from an owner, done.
struct Refilled {
    journal: usize,
    server: ServerName,
    epoch: Epoch,
    from: u64,
    limit: u64,
    result: Result<SourceRead, SourceError>,
}

impl HubSubscription {
    /// Made under the hub's lock, so that "now" is one instant for all journals.
    pub(crate) fn new(
        inner: Arc<Inner>,
        state: &State,
        named: HashMap<ServerName, (Epoch, u64)>,
        begin: Begin,
        following: Following,
    ) -> Self {
        let mut subscription = Self {
            inner,
            seen: 0,
            cursors: Vec::new(),
            named,
            begin: match begin {
                Begin::Oldest if following.reports => Place::First,
                Begin::Oldest => Place::Oldest,
                Begin::Now | Begin::Epoch => Place::Epoch,
            },
            following,
            holding: Holding::default(),
            ready: VecDeque::new(),
            refills: FuturesUnordered::new(),
            turn: 0,
            found_at: None,
            behind: false,
        };
        subscription.grow(state);
        if begin == Begin::Now {
            for (cursor, journal) in subscription.cursors.iter_mut().zip(&state.journals) {
                if let (Place::Epoch, Some(last)) = (cursor.place, journal.epochs.last()) {
                    cursor.place = Place::At(last.epoch, last.end);
                }
            }
        }
        subscription.inner.counters.subscriptions.add(1);
        subscription
    }

    /// Who holds what it gets, and the number that the hub knows it by.
    pub(crate) fn holder(&self) -> Option<(ServerName, u64)> {
        Some((self.following.holds.clone()?, self.following.id))
    }

    /// The positions that are settled already: where a subscriber that begins now begins.
    pub(crate) fn positions(&self, state: &State) -> Vec<Position> {
        self.cursors
            .iter()
            .zip(&state.journals)
            .filter_map(|(cursor, journal)| match cursor.place {
                Place::At(epoch, sequence) => Some(Position {
                    server: journal.server.clone(),
                    epoch,
                    sequence,
                }),
                _ => None,
            })
            .collect()
    }

    /// The next event, shared where it can be. Dropping the future loses nothing.
    pub(crate) async fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.count(&item);
                return Some(item);
            }
            tokio::task::consume_budget().await;
            self.keep_pace().await;
            while let Some(Some(done)) = self.refills.next().now_or_never() {
                self.take_refilled(done);
            }
            self.seen = self.inner.version.now();
            self.behind = false;
            let due = self.gather()?;
            if !self.ready.is_empty() {
                if self.following.pace.is_some() {
                    self.found_at = (!self.behind).then(Instant::now);
                }
                continue;
            }
            let due_in = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // whichever it is, all are looked at again
                () = self.inner.version.after(self.seen) => {}
                Some(done) = self.refills.next() => self.take_refilled(done),
                () = due_in => {}
            }
        }
    }

    /// Waits until it is time to look again, or somebody wants that.
    async fn keep_pace(&mut self) {
        let (Some(pace), Some(found_at)) = (&self.following.pace, self.found_at) else {
            return;
        };
        if self.holding.is_asked() || !self.refills.is_empty() {
            return;
        }
        let next_at = found_at + pace.every;
        if next_at > Instant::now() {
            tokio::select! {
                biased;
                () = pace.hurry.notified() => {}
                () = tokio::time::sleep_until(next_at) => {}
            }
        }
    }

    /// Takes what is there of each journal. Returns when to look again even if nothing changes;
    /// `None` once the hub is stopped.
    fn gather(&mut self) -> Option<Option<Instant>> {
        let inner = Arc::clone(&self.inner);
        let state = inner.state();
        if state.stopped {
            return None;
        }
        self.grow(&state);
        let now = Instant::now();
        let mut due: Option<Instant> = None;
        let count = state.journals.len();
        self.turn = self.turn.wrapping_add(1);
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let wait = self.gather_journal(index, &state.journals[index], now);
            due = [due, wait].into_iter().flatten().min();
        }
        Some(due)
    }

    fn gather_journal(
        &mut self,
        index: usize,
        journal: &JournalState,
        now: Instant,
    ) -> Option<Instant> {
        let cursor = &mut self.cursors[index];
        if cursor.skipped || cursor.idle_at == journal.changes {
            return None;
        }
        if cursor.presence_seen != journal.presence {
            cursor.presence_seen = journal.presence;
            cursor.retry_at = None;
            let server = journal.server.clone();
            let event = match journal.present_epoch() {
                Some(epoch) => Some(Event::Joined {
                    server,
                    epoch,
                    terms: journal.terms,
                }),
                None => cursor.present_seen.then_some(Event::Left { server }),
            };
            cursor.present_seen = matches!(event, Some(Event::Joined { .. }));
            self.ready.extend(event.map(Item::Event));
        }
        if cursor.refilling {
            return None;
        }
        if let Some(retry_at) = cursor.retry_at {
            if retry_at > now {
                return Some(retry_at);
            }
            cursor.retry_at = None;
        }
        let bound = match self.following.reports {
            true => journal.bound(),
            false => Bound::None,
        };
        let delay = self.inner.options.delay;
        let (mut taken, mut steps) = (0, 0);
        while taken < TURN && steps < STEPS_MAX {
            steps += 1;
            let item = match journal.step(&mut cursor.place, now, delay, bound) {
                Step::Whole(shared) => {
                    cursor.live = true;
                    Item::Shared(shared)
                }
                Step::Part(shared, from, to) => {
                    cursor.live = true;
                    match shared.batch.slice(from, to) {
                        Some(batch) => Item::Event(Event::Batch(batch)),
                        None => continue,
                    }
                }
                Step::Gap { epoch, from, to } => Item::Event(Event::Gap {
                    server: journal.server.clone(),
                    epoch,
                    from,
                    to,
                }),
                Step::Ahead { epoch, asked, end } => {
                    self.inner.counters.subscribers_ahead.add(1);
                    let (name, server) = (&self.following.name, &journal.server);
                    tracing::info!(subscriber = name, %server, %epoch, asked, end, "bus subscriber begins beyond what is known of a journal, and waits");
                    continue;
                }
                Step::Refill { epoch, from, limit } => {
                    if self.refills.len() >= REFILLS_MAX {
                        return None; // one that ends brings us back here
                    }
                    let source = Arc::clone(journal.source()?);
                    if std::mem::take(&mut cursor.live) {
                        self.inner.counters.slow_subscribers.add(1);
                    }
                    cursor.refilling = true;
                    let server = journal.server.clone();
                    self.refills.push(Box::pin(async move {
                        let result = source.read(epoch, from, REFILL_BYTES).await;
                        Refilled {
                            journal: index,
                            server,
                            epoch,
                            from,
                            limit,
                            result,
                        }
                    }));
                    return None;
                }
                Step::Due(due) => return Some(due),
                Step::Idle => {
                    cursor.idle_at = journal.changes;
                    if let Place::At(epoch, end) = cursor.place
                        && journal.is_reported_to(bound, epoch, end)
                        && cursor.taken != Some((epoch, end))
                        && let Some(owner) = &journal.owner
                    {
                        cursor.taken = Some((epoch, end));
                        owner.source.taken(epoch, end);
                    }
                    return None;
                }
            };
            // What was held back comes in few large batches, not as it was announced.
            let joins = bound != Bound::None || self.following.pace.is_some();
            if !joins || !self.ready.back_mut().is_some_and(|last| last.join(&item)) {
                self.ready.push_back(item);
                taken += 1;
            }
        }
        self.behind = true;
        None
    }

    fn take_refilled(&mut self, done: Refilled) {
        let Refilled {
            journal,
            server,
            epoch,
            from,
            limit,
            result,
        } = done;
        let cursor = &mut self.cursors[journal];
        cursor.refilling = false;
        let gap_to = match result {
            Ok(SourceRead::Batch(batch)) => match fitting(&batch, &server, epoch, from, limit) {
                Some(batch) => {
                    cursor.failures = 0;
                    cursor.place = Place::At(epoch, batch.end());
                    self.inner.counters.refilled.add(batch.records.len() as u64);
                    self.ready.push_back(Item::Event(Event::Batch(batch)));
                    return;
                }
                None => Err("it gave other records than asked for".to_owned()),
            },
            Ok(SourceRead::Gap { to }) if to > from => Ok(to.min(limit)),
            Ok(SourceRead::Gap { .. }) => Err("it gave an empty gap".to_owned()),
            Ok(SourceRead::End) if self.inner.state().journals[journal].has_ended(epoch) => {
                Ok(limit)
            }
            Ok(SourceRead::End) => Err("it has not yet what it announced".to_owned()),
            Err(SourceError(reason)) => Err(reason),
        };
        match gap_to {
            Ok(to) => {
                cursor.failures = 0;
                cursor.place = Place::At(epoch, to);
                self.ready.push_back(Item::Event(Event::Gap {
                    server,
                    epoch,
                    from,
                    to,
                }));
            }
            Err(reason) => {
                self.inner.counters.source_failures.add(1);
                let wait = RETRY_MIN * (1 << cursor.failures.min(6));
                cursor.failures += 1;
                cursor.retry_at = Some(Instant::now() + wait.min(RETRY_MAX));
                if cursor.failures == FAILURES_TOLD {
                    tracing::warn!(%server, %epoch, from, reason, "bus cannot read a journal, trying on");
                }
            }
        }
    }

    /// Gives each journal that appeared since a cursor.
    fn grow(&mut self, state: &State) {
        for journal in &state.journals[self.cursors.len()..] {
            let place = match self.named.remove(&journal.server) {
                Some((epoch, sequence)) => Place::Named(epoch, sequence),
                None => self.begin,
            };
            self.cursors.push(Cursor {
                place,
                skipped: self.following.skip.as_ref() == Some(&journal.server),
                idle_at: 0,
                presence_seen: 0,
                present_seen: false,
                refilling: false,
                retry_at: None,
                failures: 0,
                live: false,
                taken: None,
            });
        }
    }

    fn count(&self, item: &Item) {
        let counters = &self.inner.counters;
        match item {
            Item::Shared(shared) => counters.delivered.add(shared.batch.records.len() as u64),
            Item::Event(Event::Batch(batch)) => counters.delivered.add(batch.records.len() as u64),
            Item::Event(Event::Gap { .. }) => counters.gaps.add(1),
            Item::Event(_) => {}
        }
    }
}

/// Where a subscription begins in a journal that it names no position of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Oldest,
    Now,
    /// As `Now`, of a subscription that was made earlier: a journal that is new to it appeared
    /// since, so it begins with its epoch.
    Epoch,
}

#[async_trait]
impl Events for HubSubscription {
    async fn next(&mut self) -> Option<Event> {
        if let Some(server) = &self.following.holds {
            let held = self.holding.asks(!self.ready.is_empty());
            if !held.is_empty() {
                self.inner.hold(server, self.following.id, &held);
            }
        }
        let event = match self.next_item().await? {
            Item::Shared(shared) => Event::Batch(shared.batch.clone()),
            Item::Event(event) => event,
        };
        if self.following.holds.is_some() {
            self.holding.give(&event);
        }
        Some(event)
    }
}

impl Drop for HubSubscription {
    fn drop(&mut self) {
        self.inner.counters.subscriptions.sub(1);
        if let Some(server) = &self.following.holds {
            self.inner.state().leave_holder(server, self.following.id);
        }
    }
}

/// What of a source's answer answers the question.
fn fitting(
    batch: &Batch,
    server: &ServerName,
    epoch: Epoch,
    from: u64,
    limit: u64,
) -> Option<Batch> {
    if batch.server != *server || batch.epoch != epoch || batch.first > from {
        return None;
    }
    batch.slice(from, limit)
}
