//! The ordering rule: which counter an action gets.
//!
//! The greatest of its request's heads and of what this server has given in the session, plus
//! one: so an action has a greater ordering id than all that it follows, no server gives an id
//! twice, and in one server's log a session's entries stand in order of their ids. A server
//! remembers a bounded number of sessions; for one that it may have forgotten it starts above
//! everything it gave in those it forgot, which keeps both promises and costs only gaps.

use std::collections::HashMap;

use selvedge_identity::SessionId;

/// The greatest counter ever given: the greatest integer that a JSON number holds everywhere.
pub const COUNTER_MAX: u64 = (1 << 53) - 1;

/// Gives the counters of one server's actions. The caller appends each opening to its journal in
/// the order in which the counters were given.
#[derive(Debug)]
pub struct Orderer {
    slots: Vec<Slot>,
    places: HashMap<SessionId, usize>,
    sessions_max: usize,
    /// The next slot to be looked at when room is needed (the clock algorithm).
    hand: usize,
    /// The greatest counter given in a session that was forgotten.
    forgotten: u64,
}

#[derive(Debug)]
struct Slot {
    session: SessionId,
    counter: u64,
    used: bool,
}

impl Orderer {
    /// Remembers at most `sessions_max` sessions (at least one). After a restart [`Self::given`]
    /// tells it what this server's journal holds.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            places: HashMap::new(),
            sessions_max: sessions_max.max(1),
            hand: 0,
            forgotten: 0,
        }
    }

    /// The counter of the next action in `session`, whose request carried heads of at most the
    /// counter `heads` (0: none). An action that follows another of its request needs no head of
    /// its own: the rule covers it.
    ///
    /// `None` when the session has used up its counters ([`COUNTER_MAX`]): open a fresh one. Each
    /// call takes one step from a counter that was given before (heads are proven by the token's
    /// MAC), so no client can bring a session near that end.
    pub fn next(&mut self, session: SessionId, heads: u64) -> Option<u64> {
        let counter = self.greatest(&session).max(heads).checked_add(1)?;
        if counter > COUNTER_MAX {
            return None;
        }
        self.keep(session, counter);
        Some(counter)
    }

    /// Tells of a counter that this server gave in an earlier run, in any order.
    pub fn given(&mut self, session: SessionId, counter: u64) {
        let counter = counter.min(COUNTER_MAX);
        if !self.places.contains_key(&session) || self.greatest(&session) < counter {
            self.keep(session, counter);
        }
    }

    /// Tells that in earlier runs this server may have given counters up to `counter` in sessions
    /// that [`Self::given`] did not name (its journal's older part is gone).
    pub fn forget_up_to(&mut self, counter: u64) {
        self.forgotten = self.forgotten.max(counter.min(COUNTER_MAX));
    }

    /// How many sessions it remembers.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.slots.len()
    }

    /// The greatest counter that this server can have given in the session.
    fn greatest(&self, session: &SessionId) -> u64 {
        self.places
            .get(session)
            .map_or(self.forgotten, |place| self.slots[*place].counter)
    }

    fn keep(&mut self, session: SessionId, counter: u64) {
        if let Some(place) = self.places.get(&session) {
            let slot = &mut self.slots[*place];
            slot.counter = slot.counter.max(counter);
            slot.used = true;
            return;
        }
        // It may be one of those that were forgotten.
        let slot = Slot {
            session,
            counter: counter.max(self.forgotten),
            used: false,
        };
        if self.slots.len() < self.sessions_max {
            self.places.insert(session, self.slots.len());
            self.slots.push(slot);
            return;
        }
        while std::mem::take(&mut self.slots[self.hand].used) {
            self.hand = (self.hand + 1) % self.slots.len();
        }
        let old = std::mem::replace(&mut self.slots[self.hand], slot);
        self.forgotten = self.forgotten.max(old.counter);
        self.places.remove(&old.session);
        self.places.insert(session, self.hand);
        self.hand = (self.hand + 1) % self.slots.len();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn session(n: u8) -> SessionId {
        SessionId::from_random([n; 16])
    }

    #[test]
    fn a_counter_is_one_above_the_heads_and_what_was_given() {
        let mut orderer = Orderer::new(8);
        assert_eq!(orderer.next(session(1), 0), Some(1));
        assert_eq!(orderer.next(session(1), 0), Some(2));
        assert_eq!(orderer.next(session(1), 9), Some(10));
        assert_eq!(orderer.next(session(1), 3), Some(11));
        assert_eq!(orderer.next(session(2), 0), Some(1));
    }

    #[test]
    fn counters_end_before_they_overflow() {
        let mut orderer = Orderer::new(8);
        assert_eq!(orderer.next(session(1), u64::MAX), None);
        assert_eq!(orderer.next(session(1), COUNTER_MAX), None);
        assert_eq!(orderer.next(session(1), COUNTER_MAX - 1), Some(COUNTER_MAX));
        assert_eq!(orderer.next(session(1), 0), None);
        assert_eq!(orderer.next(session(2), 0), Some(1));
    }

    proptest! {
        #[test]
        fn in_every_session_counters_grow_however_few_are_remembered(
            sessions_max in 0..6_usize,
            steps in prop::collection::vec((1..12_u8, 0..50_u64, any::<bool>()), 0..200),
        ) {
            let mut orderer = Orderer::new(sessions_max);
            let mut given: HashMap<u8, u64> = HashMap::new();
            for (id, heads, restart) in steps {
                let counter = orderer.next(session(id), heads).unwrap();
                prop_assert!(counter > heads);
                prop_assert!(counter > given.get(&id).copied().unwrap_or(0));
                prop_assert!(orderer.sessions() <= sessions_max.max(1));
                given.insert(id, counter);
                if restart && heads == 0 {
                    orderer = Orderer::new(sessions_max);
                    for (id, counter) in &given {
                        orderer.given(session(*id), *counter);
                    }
                }
            }
        }
    }
}
