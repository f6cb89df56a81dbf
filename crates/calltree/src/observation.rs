//! What a tree needs of an entry, and no more.
//!
//! Text is shared, so an observation is cheap to make from an entry. It is also what spans of
//! other systems become: the tree does not know where entries come from.

use std::fmt;
use std::sync::Arc;

use selvedge_entry::{Direction, Entry, Fields, Link, Outcome, Text, Timestamp};
use selvedge_identity::Position;

use crate::Place;

/// Names one entry, wherever it came from. Two observations of one handle and one place are the
/// same entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handle {
    /// An entry of a journal.
    Entry(Position),
    /// Anything else, by a number of the caller's.
    Opaque(u128),
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(position) => position.fmt(f),
            Self::Opaque(number) => write!(f, "{number:032x}"),
        }
    }
}

/// Something that happened at one moment of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// When, on the clock of the entry's server.
    pub at: Timestamp,
    /// What.
    pub name: Text,
    /// Details, in the order they were given.
    pub attributes: Fields,
}

/// What is seldom there, kept apart so that an observation stays small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Small attributes, in the order they were given.
    pub attributes: Fields,
    /// Related contexts; never second parents.
    pub links: Vec<Link>,
    /// What was odd about the entry: counted reasons such as `damaged_identifier`.
    pub flags: Vec<Text>,
    /// What happened meanwhile.
    pub moments: Vec<Moment>,
}

/// One side of a call, or an internal action, as a tree sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Which entry it is.
    pub handle: Handle,
    /// By the identifier received (inbound), sent (outbound), or of the action's request
    /// (internal).
    pub place: Place,
    /// Which side.
    pub direction: Direction,
    /// A hop between passed the identifier on without adding itself.
    pub ignored_hop: bool,
    /// A message that nobody waits for: its receiver may begin and end long after its sender did.
    pub one_way: bool,
    /// How it ended, as far as is known.
    pub outcome: Outcome,
    /// HTTP status, 0 where there is none.
    pub status: u16,
    /// The service that wrote the entry.
    pub service: Text,
    /// The host it ran on.
    pub host: Text,
    /// What was done.
    pub action: Text,
    /// The service on the other side.
    pub peer: Option<Text>,
    /// The other side's address.
    pub peer_host: Option<Text>,
    /// When the request was made ready, if it waited before it was sent.
    pub generated: Option<Timestamp>,
    /// When it was received, sent or begun, on the clock of the entry's server.
    pub at: Timestamp,
    /// Nanoseconds from `at` to the answer's head.
    pub head_ns: Option<u64>,
    /// Nanoseconds from `at` to the end; `None`: nobody wrote how it ended.
    pub duration_ns: Option<u64>,
    /// The quantum of work it cost, in the service's units.
    pub work: Option<u64>,
    /// Why it failed.
    pub error: Option<Text>,
    /// Attributes, links and flags, if there are any.
    pub details: Option<Arc<Details>>,
}

impl Observation {
    /// What a tree needs of an entry; `None` for an entry that has no place in a call tree.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let opening = &entry.opening;
        let call = opening.call.as_ref()?;
        let effect = entry.effect.as_ref().map(|(_, effect)| effect);
        let closing = entry.closing.as_ref();
        let status = closing.map_or(effect.map_or(0, |e| e.status), |c| c.status);
        Some(Self {
            handle: Handle::Entry(entry.position.clone()),
            place: Place::new(&call.identifier, call.interaction),
            direction: opening.direction,
            ignored_hop: opening.flags.iter().any(|flag| &**flag == "ignored_hop"),
            one_way: false,
            outcome: entry.outcome(),
            status,
            service: opening.service.clone(),
            host: opening.host.clone(),
            action: opening.action.clone(),
            peer: call.peer.clone(),
            peer_host: call.peer_host.clone(),
            generated: opening.generated,
            at: opening.at,
            head_ns: effect.map(|effect| effect.after_ns),
            duration_ns: closing.map(|closing| closing.duration_ns),
            work: closing.map(|closing| closing.work),
            error: closing.and_then(|closing| closing.error.clone()),
            details: details(entry),
        })
    }

    /// Reads a little of every part, so that what reads it soon finds it in the cache.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let handle = match &self.handle {
            Handle::Entry(position) => position.sequence,
            Handle::Opaque(number) => *number as u64,
        };
        let times = self.at.0 as u64 ^ self.duration_ns.unwrap_or(0) ^ self.head_ns.unwrap_or(0);
        let place = self.place.packed().own_bits() ^ u64::from(self.place.origin().as_bytes()[0]);
        handle ^ times ^ place ^ self.outcome as u64
    }

    /// Whether `other` knows more of the same entry (or, to break ties the same way in every
    /// order, is greater).
    pub(crate) fn yields_to(&self, other: &Self) -> bool {
        let key = |o: &Self| {
            let details = o
                .details
                .as_ref()
                .map_or(0, |d| d.attributes.len() + d.links.len() + d.flags.len());
            (
                (o.duration_ns.is_some(), o.head_ns.is_some()),
                details,
                (
                    o.duration_ns,
                    o.head_ns,
                    o.status,
                    o.at,
                    o.generated,
                    o.work,
                ),
                (o.error.clone(), o.service.clone(), o.host.clone()),
                (o.action.clone(), o.peer.clone(), o.peer_host.clone()),
                o.place.own(),
            )
        };
        key(self) < key(other)
    }
}

fn details(entry: &Entry) -> Option<Arc<Details>> {
    let opening = &entry.opening;
    let effect = entry.effect.as_ref().map(|(_, effect)| &effect.attributes);
    let closing = entry.closing.as_ref().map(|closing| &closing.attributes);
    let all = [Some(&opening.attributes), effect, closing];
    let mut attributes = Fields::new();
    for (key, value) in all.into_iter().flatten().flatten() {
        match attributes.iter_mut().find(|(known, _)| known == key) {
            Some(known) => known.1 = value.clone(),
            None => attributes.push((key.clone(), value.clone())),
        }
    }
    let details = Details {
        attributes,
        links: opening.links.clone(),
        flags: opening.flags.clone(),
        moments: Vec::new(),
    };
    (details != Details::default()).then(|| Arc::new(details))
}
