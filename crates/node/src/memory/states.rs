//! The state of the sessions that were here last, within bounds of its own.
//!
//! State outlives the entries that wrote it: a cart that was filled an hour ago counts, however
//! many entries have come since. So its bytes are counted apart, and what makes room is a whole
//! session, the one in which nothing was done for longest. A session's place is a stamp; the queue
//! keeps stamps that have been superseded until they come to its front or are most of it, so that
//! every step is O(1), amortised.

use std::collections::{HashMap, VecDeque};

use selvedge_entry::StateWrite;
use selvedge_identity::{Position, SessionId};
use selvedge_session::States;

#[derive(Debug, Default)]
pub(super) struct Shelves {
    sessions: HashMap<SessionId, Shelf>,
    queue: VecDeque<(u64, SessionId)>,
    stamp: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Shelf {
    states: States,
    bytes: usize,
    stamp: u64,
    touched_ns: u64,
}

/// Beside what its states take.
const SHELF_BYTES: usize = 200;

impl Shelves {
    pub(super) fn get(&self, session: SessionId) -> Option<&States> {
        self.sessions.get(&session).map(|shelf| &shelf.states)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A session with state goes on by an action.
    pub(super) fn action<'a>(
        &mut self,
        now_ns: u64,
        session: SessionId,
        position: &Position,
        counter: u64,
        after: impl IntoIterator<Item = &'a Position>,
    ) {
        if let Some(shelf) = self.sessions.get_mut(&session) {
            shelf.states.action(position, counter, after);
            self.touch(now_ns, session);
        }
    }

    /// A write; the first of a session comes with `begin`, the session's actions so far. Returns
    /// whether there was room for it among the session's own.
    pub(super) fn write(
        &mut self,
        now_ns: u64,
        at: &Position,
        action: &Position,
        write: &StateWrite,
        begin: impl FnOnce(&mut States),
        arrived: impl Fn(&Position) -> bool,
    ) -> bool {
        let shelf = self.sessions.entry(write.session).or_insert_with(|| {
            let mut states = States::default();
            begin(&mut states);
            Shelf {
                states,
                bytes: 0,
                stamp: 0,
                touched_ns: now_ns,
            }
        });
        let room = shelf.states.write(at, action, write, arrived);
        self.touch(now_ns, write.session);
        room
    }

    /// Lets the session go in which nothing was done for longest, if that is older than
    /// `since_ns`; `None`: in any case. Returns whether it did.
    pub(super) fn let_go(&mut self, since_ns: Option<u64>) -> bool {
        while let Some((stamp, session)) = self.queue.front() {
            let shelf = self.sessions.get(session).filter(|s| s.stamp == *stamp);
            let Some(shelf) = shelf else {
                self.queue.pop_front();
                continue;
            };
            if since_ns.is_some_and(|since_ns| shelf.touched_ns >= since_ns) {
                return false;
            }
            self.bytes -= shelf.bytes;
            self.sessions.remove(session);
            self.queue.pop_front();
            return true;
        }
        false
    }

    fn touch(&mut self, now_ns: u64, session: SessionId) {
        let Some(shelf) = self.sessions.get_mut(&session) else {
            return;
        };
        self.stamp += 1;
        let bytes = SHELF_BYTES + shelf.states.bytes();
        self.bytes = self.bytes + bytes - shelf.bytes;
        shelf.bytes = bytes;
        shelf.stamp = self.stamp;
        shelf.touched_ns = now_ns;
        self.queue.push_back((self.stamp, session));
        if self.queue.len() > 2 * self.sessions.len() + 64 {
            let sessions = &self.sessions;
            self.queue.retain(|(stamp, session)| {
                sessions.get(session).is_some_and(|s| s.stamp == *stamp)
            });
        }
    }
}
