//! What the monitor writes, in the order in which it happened, on threads that may wait for the
//! disk; the monitor goes on meanwhile.
//!
//! One write is under way at a time, and what happens during it is gathered for the next: so any
//! number of crossings share an fdatasync. A crossing is given out, to be told, once the write
//! that holds it is done.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::disk::Aside;
use crate::log::put_frame;
use crate::outbox::Notification;
use crate::saved::Step;
use crate::store::{Store, Write};

/// How long what nobody waits for may lie.
const WRITE_AFTER: Duration = Duration::from_secs(1);
/// How long to wait before a failed write is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes of steps that may lie.
const LYING_MAX: usize = 1 << 20;

/// A store that was written to, and how that went.
type Written = (Store, io::Result<()>);

/// The monitor's books.
pub(crate) struct Books {
    /// Who waits for the disk.
    aside: Arc<dyn Fn(Aside) + Send + Sync>,
    /// `None` while it is written to.
    store: Option<Store>,
    writing: Option<oneshot::Receiver<Written>>,
    /// Counts the writings of the whole state.
    number: u64,
    /// Steps that are not in a write yet, framed.
    frames: Vec<u8>,
    /// What they tell.
    decided: Vec<Notification>,
    /// What the write under way tells.
    in_hand: Vec<Notification>,
    /// When to write.
    at: Option<Instant>,
    /// The next write is of the whole state.
    whole: bool,
}

impl Books {
    /// Begins with the whole state, in a store whose last state, if it has one, has this number.
    pub(crate) async fn begin(
        store: Store,
        aside: Arc<dyn Fn(Aside) + Send + Sync>,
        number: u64,
        state: Vec<u8>,
    ) -> io::Result<Self> {
        let number = number + 1;
        let writing = write(&*aside, store, Write::Whole { number, state });
        let (store, written) = writing.await.map_err(io::Error::other)?;
        written?;
        Ok(Self {
            aside,
            store: Some(store),
            writing: None,
            number,
            frames: Vec::new(),
            decided: Vec::new(),
            in_hand: Vec::new(),
            at: None,
            whole: false,
        })
    }

    /// Notes what happened at one event.
    pub(crate) fn note(&mut self, steps: &[Step]) {
        match postcard::to_stdvec(steps) {
            Ok(body) => put_frame(&mut self.frames, self.number, &body),
            Err(error) => {
                tracing::error!(%error, "steps of the thresholds cannot be encoded");
                // The whole state holds them, too.
                self.whole = true;
            }
        }
        let told = steps.iter().filter_map(|step| match step {
            Step::Told(notification) => Some(notification.clone()),
            _ => None,
        });
        self.decided.extend(told);
        let urgent = !self.decided.is_empty() || self.frames.len() > LYING_MAX;
        let at = Instant::now() + if urgent { Duration::ZERO } else { WRITE_AFTER };
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// When a write is to begin; `None` while one is under way, or nothing lies.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.at.filter(|_| self.store.is_some())
    }

    /// Begins a write, if one is due. `encode` makes the whole state, in which these notifications
    /// are to wait for their receivers.
    pub(crate) fn write_if_due(
        &mut self,
        encode: impl FnOnce(&[Notification]) -> Result<Vec<u8>, postcard::Error>,
    ) {
        if self.due().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let Some(store) = self.store.take() else {
            return;
        };
        let write = match self.next_write(&store, encode) {
            Ok(write) => write,
            Err(error) => {
                tracing::error!(%error, "state of the thresholds cannot be encoded");
                self.store = Some(store);
                self.at = Some(Instant::now() + RETRY_AFTER);
                return;
            }
        };
        self.at = None;
        self.in_hand = std::mem::take(&mut self.decided);
        self.writing = Some(self::write(&*self.aside, store, write));
    }

    fn next_write(
        &mut self,
        store: &Store,
        encode: impl FnOnce(&[Notification]) -> Result<Vec<u8>, postcard::Error>,
    ) -> Result<Write, postcard::Error> {
        if !self.whole && !store.is_long() {
            return Ok(Write::More {
                frames: std::mem::take(&mut self.frames),
                durable: !self.decided.is_empty(),
            });
        }
        let state = encode(&self.decided)?;
        self.number += 1;
        self.whole = false;
        self.frames.clear();
        Ok(Write::Whole {
            number: self.number,
            state,
        })
    }

    /// Waits for the write under way, for ever if there is none, and gives out what it holds.
    /// Dropping the future loses nothing.
    pub(crate) async fn written(&mut self) -> Vec<Notification> {
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        let done = writing.await;
        self.writing = None;
        let failed = match done {
            Ok((store, written)) => {
                self.store = Some(store);
                written.err()
            }
            // The runtime ends; there is nothing to write to any more.
            Err(_) => return Vec::new(),
        };
        let Some(error) = failed else {
            return std::mem::take(&mut self.in_hand);
        };
        tracing::error!(%error, "state of the thresholds cannot be written; retrying");
        self.in_hand.append(&mut self.decided);
        self.decided = std::mem::take(&mut self.in_hand);
        self.whole = true;
        self.at = Some(Instant::now() + RETRY_AFTER);
        Vec::new()
    }

    /// The last write: the whole state.
    pub(crate) async fn close(
        mut self,
        encode: impl FnOnce(&[Notification]) -> Result<Vec<u8>, postcard::Error>,
    ) {
        if self.writing.is_some() {
            // Told at the next start: they wait in the state.
            let mut told = self.written().await;
            told.append(&mut self.decided);
            self.decided = told;
        }
        self.whole = true;
        self.at = Some(Instant::now());
        self.write_if_due(encode);
        if self.writing.is_some() {
            self.written().await;
        }
    }
}

/// Begins a write; its answer never comes if the runtime ends before.
fn write(
    aside: &(dyn Fn(Aside) + Send + Sync),
    mut store: Store,
    write: Write,
) -> oneshot::Receiver<Written> {
    let (done, written) = oneshot::channel();
    aside(Box::new(move || {
        let result = store.write(&write);
        // Nobody waits for it once the monitor is gone.
        _ = done.send((store, result));
    }));
    written
}
