//! The model: what the clients know of their visits, and what servers promised them.
//!
//! It sees only what a client could log: when a request was sent, when an answer was received.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_identity::{Position, SessionId};

/// Names one delivery of one request, in paths and in the names of its actions.
pub(crate) type Tag = u64;

#[derive(Default)]
pub(crate) struct Ledger {
    inner: Mutex<Book>,
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) visits: Vec<Visit>,
    pub(crate) attempts: BTreeMap<Tag, Attempt>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) unheld: Vec<Unheld>,
    pub(crate) faults: u64,
    /// Answers that went out as held by others.
    pub(crate) spread: u64,
    /// Orders carried out, and crossings told, when last looked at.
    pub(crate) orders: u64,
    pub(crate) crossings: u64,
}

/// One client's visit.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) session: SessionId,
    /// A browser's.
    pub(crate) jar: bool,
    /// A head was lost in a way that the fabric allows: a volatile entry, too many heads.
    pub(crate) lossy: bool,
}

/// One delivery of one request.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) visit: usize,
    /// The number of the event of its sending.
    pub(crate) sent: u64,
    /// That of the receipt of its answer.
    pub(crate) received: Option<u64>,
    /// A call deeper was made and its answer came.
    pub(crate) deep_known: bool,
    /// Its steps were done one after the other.
    pub(crate) sequential: bool,
}

/// A head that an answer showed.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) tag: Tag,
    pub(crate) visit: usize,
    pub(crate) position: Position,
    pub(crate) effect: u64,
    /// On disk, as the journal said; else in memory, as it said.
    pub(crate) durable: bool,
}

/// A head that the server did not hold when it took the request.
#[derive(Clone, Debug)]
pub(crate) struct Unheld {
    pub(crate) tag: Tag,
    pub(crate) head: Position,
    /// Its server was, or may have been taken to be, down: then nothing is waited for.
    pub(crate) excused: bool,
}

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// A new delivery.
    pub(crate) fn send(&mut self, visit: usize, sent: u64) -> Tag {
        let tag = self.attempts.len() as u64 + 1;
        let attempt = Attempt {
            visit,
            sent,
            received: None,
            deep_known: false,
            sequential: true,
        };
        self.attempts.insert(tag, attempt);
        tag
    }

    pub(crate) fn attempt(&mut self, tag: Tag) -> &mut Attempt {
        self.attempts.get_mut(&tag).expect("a tag that was given")
    }
}
