//! The requests that calls and questions of the application can name.
//!
//! The application names the request that it is handling by the identifier it was given. A
//! request stays findable for a while after its answer has ended, for calls that the application
//! makes afterwards: as long as fewer than a set number of others have ended since.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_identity::{Origin, RequestIdentifier, StackId};
use selvedge_node::Exchange;

/// Two requests of one origin differ in their own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(Origin, StackId);

impl From<&RequestIdentifier> for Key {
    fn from(identifier: &RequestIdentifier) -> Self {
        Self(identifier.origin(), identifier.own())
    }
}

pub(crate) struct Live {
    state: Mutex<State>,
    finished_max: usize,
}

#[derive(Default)]
struct State {
    /// With each a number that tells two requests of the same identifier apart: a client may
    /// send one twice.
    exchanges: HashMap<Key, (u64, Exchange)>,
    finished: VecDeque<(Key, u64)>,
    next: u64,
}

impl Live {
    pub(crate) fn new(finished_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            finished_max,
        }
    }

    /// A request begins; it ends when its ticket is dropped.
    pub(crate) fn begin(self: &Arc<Self>, exchange: &Exchange) -> Ticket {
        let key = Key::from(exchange.identifier());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next += 1;
        let number = state.next;
        state.exchanges.insert(key, (number, exchange.clone()));
        Ticket {
            live: self.clone(),
            key,
            number,
        }
    }

    fn end(&self, key: Key, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.finished.push_back((key, number));
        while state.finished.len() > self.finished_max {
            let Some((key, number)) = state.finished.pop_front() else {
                return;
            };
            if state.exchanges.get(&key).is_some_and(|(n, _)| *n == number) {
                state.exchanges.remove(&key);
            }
        }
    }

    /// The request of this identifier.
    pub(crate) fn find(&self, identifier: &RequestIdentifier) -> Option<Exchange> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.exchanges.get(&Key::from(identifier));
        found.map(|(_, exchange)| exchange.clone())
    }

    /// The request that a call was made for which names it in a form of another system: by an
    /// origin, and by the newest ids on the way to the call, among which the request's own stands
    /// if the application says that much. If it does not, its only request of that origin.
    pub(crate) fn find_caller(&self, call: &RequestIdentifier) -> Option<Exchange> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_origin = || {
            let all = state.exchanges.iter();
            all.filter(|(key, _)| key.0 == call.origin())
        };
        let mut newest_first = call.stack().iter().rev();
        let named = newest_first.find_map(|id| of_origin().find(|(key, _)| key.1.matches(id)));
        let found = named.or_else(|| {
            let mut all = of_origin();
            all.next().filter(|_| all.next().is_none())
        });
        found.map(|(_, (_, exchange))| exchange.clone())
    }
}

/// One request in [`Live`].
pub(crate) struct Ticket {
    live: Arc<Live>,
    key: Key,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.live.end(self.key, self.number);
    }
}
