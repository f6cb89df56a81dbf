//! What the application began over the local API and has not ended yet: bounded in number and in
//! time, as an application may forget to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Things under way, each under a random number that the application was told.
pub(crate) struct Open<T> {
    state: Mutex<State<T>>,
    max: usize,
    longest: Duration,
}

struct State<T> {
    things: HashMap<u64, (u64, T)>,
    /// By the order in which they began: when, and which.
    order: BTreeMap<u64, (Instant, u64)>,
    next: u64,
}

impl<T> Open<T> {
    pub(crate) fn new(max: usize, longest: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                things: HashMap::new(),
                order: BTreeMap::new(),
                next: 0,
            }),
            max,
            longest,
        }
    }

    /// Keeps a thing under this number; `false`, and the thing is dropped, if there are too many.
    /// What began too long ago is dropped first.
    pub(crate) fn add(&self, number: u64, thing: T) -> bool {
        let mut dropped = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = state.order.first_entry()
            && first.get().0.elapsed() >= self.longest
        {
            let (_, number) = first.remove();
            dropped.extend(state.things.remove(&number));
        }
        let room = state.things.len() < self.max && !state.things.contains_key(&number);
        if room {
            let place = state.next;
            state.next += 1;
            state.order.insert(place, (Instant::now(), number));
            state.things.insert(number, (place, thing));
        }
        // Dropping one writes its end: not under the lock.
        drop(state);
        drop(dropped);
        room
    }

    /// Takes the thing of this number out.
    pub(crate) fn take(&self, number: u64) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, thing) = state.things.remove(&number)?;
        state.order.remove(&place);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_makes_room_after_its_time() {
        let open = Open::new(2, Duration::from_secs(60));
        assert!(open.add(1, "first"));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(open.add(2, "second"));
        assert!(!open.add(3, "too many"));
        assert!(!open.add(2, "a number twice"));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(open.add(3, "third"));
        assert_eq!(open.take(1), None);
        assert_eq!((open.take(2), open.take(2)), (Some("second"), None));
        assert_eq!(open.take(3), Some("third"));
    }
}
