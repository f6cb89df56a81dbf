//! Following what servers broadcast, as the back-end network brings their journals (A10).
//!
//! A broadcast is a record among others. A look at the first byte finds it, so following costs
//! nearly nothing where nothing is broadcast. The bus may bring records again: each broadcast comes
//! once, in its journal's order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use selvedge_bus::{Batch, Bus, BusError, Event, Subscribe, Subscription};
use selvedge_entry::Record;
use selvedge_identity::{Epoch, Position, ServerName};
use selvedge_transmit::{Broadcast, Message};

/// What is broadcast, from wherever.
pub struct Broadcasts {
    subscription: Subscription,
    /// The next record wanted of each journal.
    journals: BTreeMap<ServerName, (Epoch, u64)>,
    ready: VecDeque<Broadcasted>,
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcasted {
    /// A broadcast.
    Message(Message),
    /// Records can no longer be had, and broadcasts may have been among them.
    Gap,
}

impl Broadcasts {
    /// Follows what is broadcast from now on, or in journals whose next record is named in `from`
    /// from there on. `name`: who follows, for logs.
    ///
    /// # Errors
    /// When the bus is stopped or full.
    pub async fn follow(bus: &dyn Bus, name: &str, from: Vec<Position>) -> Result<Self, BusError> {
        let journals = from.iter().map(|position| {
            let place = (position.epoch, position.sequence);
            (position.server.clone(), place)
        });
        Ok(Self {
            journals: journals.collect(),
            subscription: bus.subscribe(Subscribe::now(name).from(from)).await?,
            ready: VecDeque::new(),
        })
    }

    /// The next; `None` once the bus is stopped. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Broadcasted> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match self.subscription.next().await? {
                Event::Batch(batch) => self.take(&batch),
                Event::Gap {
                    server,
                    epoch,
                    from,
                    to,
                } => self.gap(server, epoch, from, to),
                Event::Joined { .. } | Event::Left { .. } => {}
            }
        }
    }

    /// The next record wanted of each journal, all that was told before it: where to go on.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let each = self.journals.iter();
        each.map(|(server, (epoch, sequence))| Position {
            server: server.clone(),
            epoch: *epoch,
            sequence: *sequence,
        })
        .collect()
    }

    fn take(&mut self, batch: &Batch) {
        let Some(next) = self.next_of(&batch.server, batch.epoch) else {
            return;
        };
        let known = next.saturating_sub(batch.first) as usize;
        *next = (*next).max(batch.end());
        for (index, bytes) in batch.records.iter().enumerate().skip(known) {
            if Record::is_broadcast(bytes) {
                let message = read(bytes, batch.position(index));
                self.ready.extend(message.map(Broadcasted::Message));
            }
        }
    }

    fn gap(&mut self, server: ServerName, epoch: Epoch, from: u64, to: u64) {
        let Some(next) = self.next_of(&server, epoch) else {
            return;
        };
        // One without a known end is the rest of an epoch: another follows.
        if to != Event::UNKNOWN_END {
            if to <= *next {
                return;
            }
            *next = to;
        }
        tracing::warn!(%server, %epoch, from, "broadcasts may have been missed");
        self.ready.push_back(Broadcasted::Gap);
    }

    /// The next record wanted of a journal's epoch; `None` if the journal has gone on to a later
    /// one.
    fn next_of(&mut self, server: &ServerName, epoch: Epoch) -> Option<&mut u64> {
        let begin = || (epoch, 0);
        let place = self.journals.entry(server.clone()).or_insert_with(begin);
        if place.0 != epoch {
            // The random part tells apart two lives with one counter; the later one wins.
            if epoch.counter < place.0.counter {
                return None;
            }
            *place = begin();
        }
        Some(&mut place.1)
    }
}

/// The broadcast of a record at this position. It is kept for a while, so it gets memory of its
/// own: the record shares its batch's.
fn read(record: &Bytes, position: Position) -> Option<Message> {
    let read = || {
        let Ok(Record::Broadcast { broadcast, .. }) = Record::decode(record) else {
            return None;
        };
        Broadcast::decode(&Bytes::copy_from_slice(&broadcast))
    };
    let broadcast = read();
    if broadcast.is_none() {
        tracing::warn!(%position, "a broadcast that this version cannot read");
    }
    Some(Message {
        position,
        broadcast: broadcast?,
    })
}
