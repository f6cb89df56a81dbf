//! The owner's side of a journal: what it announced and JetStream has not acknowledged yet.
//!
//! It waits in a queue of bounded size. The queue is only there so that fresh records need not be
//! read from the journal: while NATS is away it is empty, and the feed reads what it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use selvedge_identity::{Epoch, ServerName};
use tokio::sync::Notify;

use super::client::{Keeper, lock};
use crate::announcing::{parts, until_room};
use crate::{Batch, BusError, Publisher};

/// What is between a publisher and its feed.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    /// There is something for the feed.
    pub(super) filled: Notify,
    /// There is room, or there is no more use in waiting for it.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Batch>,
    bytes: usize,
    /// JetStream takes messages. While it does not, nothing is queued.
    flowing: bool,
    /// Who has the name now, where it was lost.
    taken_by: Option<String>,
    /// The owner's reports have changed.
    reported: bool,
    closed: bool,
}

impl Outgoing {
    /// JetStream takes messages, or no longer.
    pub(super) fn set_flowing(&self, flowing: bool) {
        let mut state = self.state();
        state.flowing = flowing;
        if !flowing {
            state.queue.clear();
            state.bytes = 0;
        }
        drop(state);
        self.room.notify_waiters();
    }

    /// Somebody else has the name, or nobody any more.
    pub(super) fn set_taken(&self, by: Option<String>) {
        self.state().taken_by = by;
        self.room.notify_waiters();
    }

    /// The publisher was dropped.
    pub(super) fn closed(&self) -> bool {
        self.state().closed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().queue.is_empty()
    }

    /// Whether the owner's reports have changed since this was last asked.
    pub(super) fn take_reported(&self) -> bool {
        std::mem::take(&mut self.state().reported)
    }

    /// Takes what is announced from `at` on, about `bytes_max` bytes of it, where the queue goes on
    /// there. What is before `at` is dropped.
    pub(super) fn take(&self, at: (Epoch, u64), bytes_max: usize) -> Front {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut taken: Option<Batch> = None;
        while let Some(front) = state.queue.front() {
            let (epoch, sequence) = match &taken {
                Some(batch) => (batch.epoch, batch.end()),
                None => at,
            };
            if front.epoch != epoch || front.first > sequence {
                break;
            }
            let size = taken.as_ref().map_or(0, Batch::cost);
            if size > 0 && size + front.cost() > bytes_max {
                break;
            }
            let Some(front) = state.queue.pop_front() else {
                break;
            };
            state.bytes -= front.cost();
            let rest = match front.first == sequence {
                true => Some(front),
                false => front.slice(sequence, u64::MAX),
            };
            match (&mut taken, rest) {
                (Some(batch), Some(rest)) => batch.records.extend(rest.records),
                (None, rest) => taken = rest,
                (Some(_), None) => {}
            }
        }
        let front = match (taken, state.queue.front()) {
            (Some(batch), _) => Front::Next(batch),
            (None, Some(front)) => Front::Later(front.epoch, front.first),
            (None, None) => Front::Nothing,
        };
        drop(guard);
        self.room.notify_waiters();
        front
    }

    /// Drops the first batch: it is of an epoch that is past.
    pub(super) fn drop_front(&self) {
        let mut state = self.state();
        if let Some(front) = state.queue.pop_front() {
            state.bytes -= front.cost();
        }
        drop(state);
        self.room.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// What a queue begins with.
pub(super) enum Front {
    /// What comes next.
    Next(Batch),
    /// Something else, at this place.
    Later(Epoch, u64),
    Nothing,
}

pub(super) struct JetStreamPublisher {
    pub(super) keeper: Arc<Keeper>,
    pub(super) server: ServerName,
    pub(super) outgoing: Arc<Outgoing>,
}

impl JetStreamPublisher {
    fn check(&self, state: &State) -> Result<(), BusError> {
        if *self.keeper.link.stopping.borrow() {
            return Err(BusError::Closed);
        }
        match &state.taken_by {
            Some(owner) => Err(BusError::NameTaken {
                server: self.server.clone(),
                owner: owner.clone(),
            }),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Publisher for JetStreamPublisher {
    async fn announce(&self, batch: Batch) -> Result<(), BusError> {
        let options = &self.keeper.link.options;
        for part in parts(batch, &self.server, options.message_bytes)? {
            let mut part = Some(part);
            let queue = || {
                let mut state = self.outgoing.state();
                self.check(&state)?;
                if state.flowing && state.bytes >= options.window_bytes {
                    return Ok(false);
                }
                // While it does not flow, the feed reads it from the journal.
                if let Some(part) = part.take_if(|_| state.flowing) {
                    state.bytes += part.cost();
                    state.queue.push_back(part);
                }
                Ok(true)
            };
            until_room(&self.outgoing.room, queue).await?;
            self.outgoing.filled.notify_one();
        }
        Ok(())
    }

    async fn report(&self, _epoch: Epoch, _end: u64) -> Result<(), BusError> {
        {
            let mut state = self.outgoing.state();
            self.check(&state)?;
            // The source says how far, and the feed asks it.
            state.reported = true;
        }
        self.outgoing.filled.notify_one();
        Ok(())
    }
}

impl Drop for JetStreamPublisher {
    fn drop(&mut self) {
        self.outgoing.state().closed = true;
        self.outgoing.filled.notify_one();
    }
}
