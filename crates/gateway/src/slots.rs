//! Which cookie slot takes an answer's token (A9).
//!
//! A browser sends several requests at once, and each answer shows a head of its own. One cookie
//! would let the answer that comes last overwrite what the others showed, and order would be lost
//! where there was none to lose. So a browser has sixteen slots: every answer sets one, and clears
//! those that its request carried, since its head follows theirs. What the jar holds is then
//! exactly the heads that nothing follows yet.
//!
//! The jar cannot be asked, and answers overtake each other. What is known of a slot:
//! - *carried*: requests in flight that carry it; their answers will clear it;
//! - *reserved*: a request in flight whose answer will set it;
//! - *content*: empty (cleared, or never set); or a token that was sent into it, which has come
//!   back in a request (the jar has it) or not yet.
//!
//! A request reserves, in this order of preference, and of equals the one that was used longest
//! ago (so that an answer that was overtaken finds its slot untouched):
//! 1. a slot that is empty and neither carried nor reserved;
//! 2. one whose token came back and is carried: the answer that was to clear it leaves it alone,
//!    and what follows it stands in that answer's own slot;
//! 3. one whose token came back;
//! 4. one whose token has not come back;
//! 5. any (more than sixteen requests in flight).
//!
//! Only 3 to 5 can lose a head, and a lost head costs proof, never truth: pairs that hang on it
//! are shown as unproven. An answer clears a slot only while that slot's content is what its
//! request carried and nobody has reserved it.
//!
//! The table is a hint, not a record: a gateway that has lost it (restart, several gateways) goes
//! on from what the next request carries. It forgets sessions that were idle longest.
//!
//! Pure: no clock, no randomness.

use std::collections::HashMap;
use std::hash::Hash;

use smallvec::SmallVec;

/// How many slots a browser has.
pub const SLOTS: usize = 16;

/// A token as the table remembers it: any hash of its text.
pub type Fingerprint = u64;

/// What a request carried: slots and what was in them.
pub type Carried = SmallVec<[(u8, Fingerprint); 4]>;

/// A request in flight; give it back with [`SlotTable::answered`] or [`SlotTable::abandoned`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The slot that its answer sets.
    pub slot: u8,
    carried: Carried,
}

/// The slots of the sessions that browsers are using.
#[derive(Debug)]
pub struct SlotTable<S> {
    /// Sessions in use lately, and those that were in use before: with the next turn the idle ones
    /// of these are forgotten.
    young: HashMap<S, Slots>,
    old: HashMap<S, Slots>,
    half_max: usize,
}

#[derive(Clone, Debug, Default)]
struct Slots {
    slots: [Slot; SLOTS],
    in_flight: u32,
    tick: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    content: Content,
    carried: u16,
    reserved: u16,
    used: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    Empty,
    Sent(Fingerprint),
    Back(Fingerprint),
}

impl<S: Copy + Eq + Hash> SlotTable<S> {
    /// A table of about `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half_max: (sessions_max / 2).max(1),
        }
    }

    /// A request of that session came. Slots of 16 or more are ignored.
    pub fn begin(&mut self, session: S, carried: &[(u8, Fingerprint)]) -> Ticket {
        self.session(session).begin(carried)
    }

    /// Its answer goes out. `sent`: the token it brings. Returns the slots to clear.
    pub fn answered(
        &mut self,
        session: S,
        ticket: &Ticket,
        sent: Fingerprint,
    ) -> SmallVec<[u8; 4]> {
        self.session(session).end(ticket, Some(sent))
    }

    /// It ended without a token: what it carried stays.
    pub fn abandoned(&mut self, session: S, ticket: &Ticket) {
        self.session(session).end(ticket, None);
    }

    /// How many sessions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn session(&mut self, session: S) -> &mut Slots {
        if !self.young.contains_key(&session) {
            if self.young.len() >= self.half_max {
                let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
                let busy = forgotten
                    .into_iter()
                    .filter(|(_, slots)| slots.in_flight > 0);
                self.young.extend(busy);
            }
            let slots = self.old.remove(&session).unwrap_or_default();
            self.young.insert(session, slots);
        }
        self.young.entry(session).or_default()
    }
}

impl Slots {
    fn begin(&mut self, carried: &[(u8, Fingerprint)]) -> Ticket {
        self.in_flight += 1;
        let mut kept = Carried::new();
        for &(index, token) in carried {
            let Some(slot) = self.slots.get_mut(usize::from(index)) else {
                continue;
            };
            slot.carried = slot.carried.saturating_add(1);
            slot.content = match slot.content {
                // Known no more, or another gateway's.
                Content::Empty => Content::Back(token),
                Content::Sent(sent) if sent == token => Content::Back(token),
                // An older token: the newer one is still on its way to the jar.
                known => known,
            };
            kept.push((index, token));
        }
        let slot = self.choose();
        let chosen = &mut self.slots[usize::from(slot)];
        chosen.reserved = chosen.reserved.saturating_add(1);
        self.touch(slot);
        Ticket {
            slot,
            carried: kept,
        }
    }

    fn choose(&self) -> u8 {
        let rank = |slot: &Slot| match (slot.content, slot.carried, slot.reserved) {
            (_, _, 1..) => 5,
            (Content::Empty, 0, 0) => 1,
            (Content::Empty | Content::Back(_), 1.., 0) => 2,
            (Content::Back(_), 0, 0) => 3,
            (Content::Sent(_), _, 0) => 4,
        };
        let best = self
            .slots
            .iter()
            .enumerate()
            .min_by_key(|(index, slot)| (rank(slot), slot.used, *index));
        best.map_or(0, |(index, _)| index as u8)
    }

    fn end(&mut self, ticket: &Ticket, sent: Option<Fingerprint>) -> SmallVec<[u8; 4]> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let own = &mut self.slots[usize::from(ticket.slot)];
        own.reserved = own.reserved.saturating_sub(1);
        let mut clear = SmallVec::new();
        for &(index, token) in &ticket.carried {
            let slot = &mut self.slots[usize::from(index)];
            slot.carried = slot.carried.saturating_sub(1);
            let unchanged = slot.content == Content::Back(token);
            if sent.is_some() && index != ticket.slot && unchanged && slot.reserved == 0 {
                slot.content = Content::Empty;
                clear.push(index);
                self.touch(index);
            }
        }
        if let Some(token) = sent {
            self.slots[usize::from(ticket.slot)].content = Content::Sent(token);
            self.touch(ticket.slot);
        }
        clear
    }

    fn touch(&mut self, slot: u8) {
        self.tick = self.tick.wrapping_add(1);
        self.slots[usize::from(slot)].used = self.tick;
    }
}

#[cfg(test)]
mod tests;
