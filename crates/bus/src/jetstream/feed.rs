//! The task that brings one journal to JetStream, from its claim on the name to its leave.
//!
//! The journal is the only queue: the feed knows how far the stream holds it, and goes on from
//! there, out of what was just announced where that fits, else out of the journal. One message is
//! under way at a time and names the last one on the subject. So whatever JetStream refuses or
//! does not acknowledge, the feed looks at what is there and goes on after it: nothing is left
//! out, nothing comes twice, and two owners of one name cannot interleave. A claim is itself a
//! message on the subject, which ends whatever a former owner still has under way.

use std::sync::Arc;
use std::time::Duration;

use selvedge_identity::{Epoch, Position, ServerName};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::asking::AskError;
use super::client::Link;
use super::message::{State, Told, What};
use super::owner;
use super::publisher::{Front, Outgoing};
use super::streams::Untaken;
use crate::tcp::message::{Message, batch_body_len};
use crate::{Batch, BusError, Extent, Source, SourceRead};

/// Wait before what failed is tried again: doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// What a message needs besides its records.
const OVERHEAD: usize = 1024;

type Joined = oneshot::Sender<Result<(), BusError>>;

pub(super) struct Feed {
    link: Arc<Link>,
    source: Arc<dyn Source>,
    server: ServerName,
    outgoing: Arc<Outgoing>,
    /// The last message on the owner's subject.
    state_sequence: u64,
    /// The last message on the journal's subject.
    sequence: u64,
    /// How far that message goes.
    before: Option<(Epoch, u64)>,
    /// The next record to be published.
    at: (Epoch, u64),
    /// The newest epoch that the state on the owner's subject tells of.
    stated: Option<Epoch>,
    /// How far epochs went when they were last stated: a crash may have lost some of that.
    formerly: Vec<Extent>,
}

/// Why a feed cannot go on.
enum Stop {
    /// The publisher left, or the bus was stopped.
    Left,
    /// Somebody else has the name.
    Lost(String),
    /// NATS is away or has trouble.
    Away(String),
}

impl Feed {
    pub(super) fn new(link: Arc<Link>, source: Arc<dyn Source>, outgoing: Arc<Outgoing>) -> Self {
        // What was written before the journal came onto the bus is read from its owner.
        let written = source.epochs().last().map(|last| (last.epoch, last.end));
        Self {
            server: source.server(),
            link,
            source,
            outgoing,
            state_sequence: 0,
            sequence: 0,
            before: None,
            at: written.unwrap_or((NO_EPOCH, 0)),
            stated: None,
            formerly: Vec::new(),
        }
    }

    /// Claims the name and says so to whoever joins; then feeds until the publisher leaves. A name
    /// that is lost meanwhile is claimed again until it is free.
    pub(super) async fn run(mut self, joined: Joined) {
        let mut joined = Some(joined);
        let mut wait = RETRY_MIN;
        loop {
            let claimed = match self.reachable().await {
                Ok(()) => self.claim().await,
                Err(stop) => Err(stop),
            };
            let stop = match claimed {
                Ok(serving) => {
                    let _serving = serving;
                    wait = RETRY_MIN;
                    self.outgoing.set_taken(None);
                    if let Some(joined) = joined.take() {
                        let _ = joined.send(Ok(()));
                    }
                    self.flow().await
                }
                Err(stop) => stop,
            };
            self.outgoing.set_flowing(false);
            match stop {
                Stop::Left => return,
                Stop::Lost(owner) => {
                    self.link.counters.names_refused.add(1);
                    let server = self.server.clone();
                    if let Some(joined) = joined.take() {
                        let _ = joined.send(Err(BusError::NameTaken { server, owner }));
                        return;
                    }
                    tracing::warn!(%server, owner, "server name taken by another program");
                    self.outgoing.set_taken(Some(owner));
                    wait = self.link.options.heartbeat;
                }
                Stop::Away(reason) => {
                    let (server, nats) = (&self.server, &self.link.address);
                    tracing::info!(%server, nats, reason, "not announced over nats, trying on");
                }
            }
            if self.left_within(wait).await {
                return;
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Waits until NATS is connected and has the streams.
    async fn reachable(&self) -> Result<(), Stop> {
        let mut stopping = self.link.stopping.subscribe();
        tokio::select! {
            () = self.link.connected() => {}
            () = self.closed() => return Err(Stop::Left),
            _ = stopping.wait_for(|stopping| *stopping) => return Err(Stop::Left),
        }
        self.link.ensure_streams().await.map_err(Stop::Away)
    }

    /// Waits; true if the publisher left meanwhile.
    async fn left_within(&self, wait: Duration) -> bool {
        let mut stopping = self.link.stopping.subscribe();
        tokio::select! {
            () = tokio::time::sleep(wait) => self.outgoing.closed(),
            () = self.closed() => true,
            _ = stopping.wait_for(|stopping| *stopping) => true,
        }
    }

    async fn closed(&self) {
        while !self.outgoing.closed() {
            self.outgoing.filled.notified().await;
        }
    }

    /// Becomes the owner: asks a former one whether it is there, states that it is this program
    /// now, and says so on the journal's subject.
    async fn claim(&mut self) -> Result<Serving, Stop> {
        let subject = self.link.subjects.owner(&self.server);
        let owners = self.link.subjects.owners.clone();
        let last = self.link.last_of(&owners, &subject).await;
        self.state_sequence = 0;
        if let Some((sequence, payload)) = last.map_err(Stop::Away)? {
            self.state_sequence = sequence;
            match self.link.seal.open_state(&subject, &payload) {
                Ok((_, state)) if state.present && state.instance != self.link.instance => {
                    self.formerly = state.extents;
                    match self.link.ask(&self.server, &Message::Alive).await {
                        Ok(Message::NameTaken { owner }) => return Err(Stop::Lost(owner)),
                        // Nobody is there, or nobody who answers as an owner does.
                        Ok(_) | Err(AskError::Absent | AskError::Failed(_)) => {}
                    }
                }
                Ok((_, state)) => self.formerly = state.extents,
                Err(error) => {
                    self.link.counters.refused.add(1);
                    tracing::warn!(server = %self.server, %error, "nats holds a wrong state");
                }
            }
        }
        // From here on whoever asks waits for an answer.
        let asked = self.link.subjects.ask(&self.server);
        let questions = self.link.client.subscribe(asked).await;
        let questions = questions.map_err(|error| Stop::Away(error.to_string()))?;
        self.look().await?;
        let extents = self.state(true).await?;
        self.settle(&extents).await?;
        let serving = owner::serve(
            Arc::clone(&self.link),
            self.server.clone(),
            Arc::clone(&self.source),
            questions,
        );
        Ok(Serving(tokio::spawn(serving).abort_handle()))
    }

    /// States what holds of the journal; fails if somebody else has stated something since.
    async fn state(&mut self, present: bool) -> Result<Vec<Extent>, Stop> {
        let subject = self.link.subjects.owner(&self.server);
        let mut extents = self.source.epochs();
        for extent in &mut extents {
            let former = self.formerly.iter().find(|e| e.epoch == extent.epoch);
            let published = self.before.filter(|(epoch, _)| *epoch == extent.epoch);
            let ends = [former.map(|e| e.end), published.map(|(_, end)| end)];
            extent.end = ends.into_iter().flatten().fold(extent.end, u64::max);
        }
        let state = State {
            instance: self.link.instance,
            name: self.link.name.clone(),
            present,
            extents,
            terms: self.source.terms(),
            reported: self.source.reported(),
        };
        let payload = self.link.seal.state(&subject, &self.server, &state);
        let stored = self
            .link
            .store(&subject, payload, None, self.state_sequence);
        match stored.await {
            Ok(sequence) => {
                self.state_sequence = sequence;
                self.stated = state.extents.last().map(|last| last.epoch);
                self.formerly.clone_from(&state.extents);
                Ok(state.extents)
            }
            // Somebody else's, or one's own that was not acknowledged: claiming again tells.
            Err(Untaken::Outdated) => Err(Stop::Away("the state has changed".to_owned())),
            Err(Untaken::Away(reason)) => Err(Stop::Away(reason)),
        }
    }

    /// Puts the claim behind what the stream has, before whatever anybody else has under way. The
    /// feed goes on where the stream ends, if the journal has that; else where it stood itself.
    async fn settle(&mut self, extents: &[Extent]) -> Result<(), Stop> {
        loop {
            let known = |epoch: Epoch| extents.iter().any(|extent| extent.epoch == epoch);
            if let Some(before) = self.before.filter(|before| known(before.0)) {
                self.at = before;
            }
            let claim = What::Claim;
            match self.store(claim, self.before, None).await {
                Ok(()) => return Ok(()),
                // A former owner's last word.
                Err(Untaken::Outdated) => {
                    self.look().await?;
                }
                Err(Untaken::Away(reason)) => return Err(Stop::Away(reason)),
            }
        }
    }

    /// Looks at the last message on the journal's subject; returns whose it is.
    async fn look(&mut self) -> Result<bool, Stop> {
        let subject = &self.link.subjects.journal(&self.server);
        let last = self
            .link
            .last_of(&self.link.subjects.journals, subject)
            .await;
        (self.sequence, self.before) = (0, None);
        let Some((sequence, payload)) = last.map_err(Stop::Away)? else {
            return Ok(true);
        };
        self.sequence = sequence;
        match self.link.seal.open_told(subject, &payload) {
            Ok(told) => {
                self.before = told.end();
                self.tell_stored();
                Ok(told.instance == self.link.instance)
            }
            Err(error) => {
                self.link.counters.refused.add(1);
                tracing::warn!(server = %self.server, %error, "nats holds a wrong message");
                Ok(true)
            }
        }
    }

    /// Publishes until something ends it.
    async fn flow(&mut self) -> Stop {
        self.outgoing.set_flowing(true);
        let mut ticks = tokio::time::interval(self.link.options.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = self.link.stopping.subscribe();
        let mut connected = self.link.watch_connected();
        let mut seen_at = None;
        // What was written before announcements were taken is read from the journal.
        let mut behind = true;
        loop {
            let leaving = self.outgoing.closed() || *stopping.borrow();
            match self.publish_next(leaving || behind).await {
                Ok(true) => continue,
                Ok(false) if leaving => {
                    // Best effort: who does not hear it misses the heartbeats.
                    let _ = self.state(false).await;
                    return Stop::Left;
                }
                Ok(false) => behind = false,
                Err(stop) if leaving => {
                    let reason = match stop {
                        Stop::Away(reason) => reason,
                        _ => String::new(),
                    };
                    tracing::info!(server = %self.server, reason, "left without the last word");
                    return Stop::Left;
                }
                Err(stop) => return stop,
            }
            let ticked = tokio::select! {
                () = self.outgoing.filled.notified() => false,
                _ = stopping.wait_for(|stopping| *stopping) => false,
                Ok(_) = connected.wait_for(|connected| !*connected) => {
                    return Stop::Away("the connection ended".to_owned());
                }
                _ = ticks.tick() => true,
            };
            if !ticked {
                continue;
            }
            // So is what nobody announced for a whole tick.
            behind = seen_at == Some(self.at) && self.outgoing.is_empty();
            seen_at = Some(self.at);
        }
    }

    /// Publishes what comes next, if something does; `all` includes what nobody announced.
    async fn publish_next(&mut self, all: bool) -> Result<bool, Stop> {
        if self.outgoing.take_reported() {
            self.state(true).await?;
        }
        match self.outgoing.take(self.at, self.message_max()) {
            Front::Next(batch) => {
                self.publish(batch).await?;
                Ok(true)
            }
            Front::Later(epoch, first) => {
                if self.is_past(epoch) {
                    self.outgoing.drop_front();
                    return Ok(true);
                }
                if self.publish_from_journal().await? {
                    return Ok(true);
                }
                // The journal does not have what was announced. Subscribers find the hole.
                self.at = (epoch, first);
                Ok(true)
            }
            Front::Nothing if all => self.publish_from_journal().await,
            Front::Nothing => Ok(false),
        }
    }

    /// Whether an epoch was written before the one that is being published.
    fn is_past(&self, epoch: Epoch) -> bool {
        let epochs = self.source.epochs();
        let place = |epoch: Epoch| epochs.iter().position(|extent| extent.epoch == epoch);
        match (place(epoch), place(self.at.0)) {
            (Some(this), Some(at)) => this < at,
            (None, Some(_)) => true,
            _ => false,
        }
    }

    /// Publishes what the journal has next, if it has something, or moves on to its next epoch.
    async fn publish_from_journal(&mut self) -> Result<bool, Stop> {
        let epochs = self.source.epochs();
        let (epoch, sequence) = self.at;
        let Some(index) = epochs.iter().rposition(|extent| extent.epoch == epoch) else {
            let newest = epochs.last().map(|last| (last.epoch, last.first));
            let moved = newest.is_some();
            self.at = newest.unwrap_or(self.at);
            return Ok(moved);
        };
        if sequence < epochs[index].end {
            let read = self.source.read(epoch, sequence, self.message_max()).await;
            match read {
                Ok(SourceRead::Batch(batch)) => {
                    match batch.slice(sequence, u64::MAX) {
                        Some(batch) if batch.epoch == epoch && batch.server == self.server => {
                            self.publish(batch).await?;
                        }
                        _ => return Err(unreadable("it gave other records than asked for")),
                    }
                    return Ok(true);
                }
                Ok(SourceRead::Gap { to }) if to > sequence => {
                    self.at = (epoch, to);
                    return Ok(true);
                }
                Ok(SourceRead::Gap { .. } | SourceRead::End) => {} // go on with what is there
                Err(error) => return Err(unreadable(&error.0)),
            }
        }
        match epochs.get(index + 1) {
            Some(next) => {
                self.at = (next.epoch, 0);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Publishes one batch, which is what comes next.
    async fn publish(&mut self, batch: Batch) -> Result<(), Stop> {
        let end = (batch.epoch, batch.end());
        let records = batch.records.len() as u64;
        let id = batch.position(0);
        let what = if batch_body_len(&batch) + OVERHEAD <= self.link.payload_max() {
            What::Batch(batch)
        } else {
            What::Elsewhere {
                epoch: batch.epoch,
                first: batch.first,
                end: batch.end(),
            }
        };
        if self.stated != Some(end.0) {
            // Those who come later hear of all epochs by this.
            self.state(true).await?;
            self.stated = Some(end.0);
        }
        match self.store(what, Some(end), Some(id)).await {
            Ok(()) => {
                self.at = end;
                self.tell_stored();
                self.link.counters.messages.add(1);
                self.link.counters.records.add(records);
                Ok(())
            }
            Err(untaken) => {
                self.link.counters.failures.add(1);
                let away = match untaken {
                    Untaken::Outdated => None,
                    Untaken::Away(reason) => Some(reason),
                };
                match (self.look().await?, away) {
                    // It may have been stored although nobody said so. Or it may still come: then
                    // the next one is refused, and this is looked at again.
                    (true, reason) => {
                        if let Some(before) = self.before {
                            self.at = before;
                        }
                        match reason {
                            Some(reason) => Err(Stop::Away(reason)),
                            None => Ok(()),
                        }
                    }
                    (false, _) => Err(Stop::Lost("another program of that name".to_owned())),
                }
            }
        }
    }

    /// Has something stored on the journal's subject; `end` is how far the stream goes with it.
    async fn store(
        &mut self,
        what: What,
        end: Option<(Epoch, u64)>,
        id: Option<Position>,
    ) -> Result<(), Untaken> {
        let subject = &self.link.subjects.journal(&self.server);
        let told = Told {
            instance: self.link.instance,
            before: self.before,
            what,
        };
        let payload = self.link.seal.told(subject, &told);
        let id = id.map(|position| position.to_string());
        let stored = self.link.store(subject, payload, id, self.sequence);
        self.sequence = stored.await?;
        self.before = end;
        Ok(())
    }

    /// Everything that was announced up to where the stream goes is in it.
    fn tell_stored(&self) {
        if let Some((epoch, end)) = self.before {
            self.source.stored(epoch, end);
        }
    }

    fn message_max(&self) -> usize {
        let options = &self.link.options;
        options
            .message_bytes
            .min(self.link.payload_max() - OVERHEAD)
    }
}

fn unreadable(reason: &str) -> Stop {
    Stop::Away(format!("own journal not readable: {reason}"))
}

/// Stands for the epoch of a journal that has none yet.
const NO_EPOCH: Epoch = Epoch {
    counter: 0,
    random: 0,
};

/// An owner that is served for as long as this is kept.
struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
