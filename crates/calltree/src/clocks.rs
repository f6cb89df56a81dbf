//! Which clock an entry's times were read from, and where its entry stands on it.
//!
//! A journal's writer reads one clock for one epoch, so a clock is a journal's epoch; for entries
//! from elsewhere it is the host. (Two servers of one host are taken as two clocks: that only
//! widens a bound, while a host that is shared under two clocks would break it.)

use std::hash::{BuildHasher, RandomState};
use std::ptr;

use selvedge_entry::Text;
use selvedge_identity::{Epoch, ServerName};

use crate::Handle;
use crate::index::{self, Index};

/// A clock's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Clock {
    Journal(ServerName, Epoch),
    Host(Text),
}

/// Numbers clocks in the order they are met.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    names: Vec<Clock>,
    index: Index,
    /// The newest look-up's: entries of a host come together.
    last: u32,
    /// Hosts' names come from anywhere, so nobody may choose where they stand in the index.
    hosts: RandomState,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            names: Vec::new(),
            index: Index::with_capacity(0),
            last: 0,
            hosts: RandomState::new(),
        }
    }

    pub(crate) fn number(&mut self, handle: &Handle, host: &Text) -> u32 {
        let names = &self.names;
        let is = |number: u32| names[number as usize].is(handle, host);
        let next = names.len() as u32;
        let tag = match handle {
            Handle::Entry(position) => index::tag(position.epoch.counter, position.epoch.random),
            Handle::Opaque(_) if self.last < next && is(self.last) => return self.last,
            Handle::Opaque(_) => self.hosts.hash_one(host) as u32,
        };
        self.last = self.index.find_or_add(tag, next, is).unwrap_or(next);
        if self.last == next {
            self.names.push(match handle {
                Handle::Entry(position) => Clock::Journal(position.server.clone(), position.epoch),
                Handle::Opaque(_) => Clock::Host(host.clone()),
            });
        }
        self.last
    }

    /// Each clock's place among the clocks' names: a numbering that does not depend on the order
    /// of arrival.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        // Most names differ in their first bytes.
        let mut sorted: Vec<((bool, u128), u32)> =
            self.names.iter().map(Clock::start).zip(0..).collect();
        sorted.sort_unstable_by(|(a, at_a), (b, at_b)| {
            let name = |at: u32| &self.names[at as usize];
            a.cmp(b).then_with(|| name(*at_a).cmp(name(*at_b)))
        });
        let mut ranks = vec![0; sorted.len()];
        for ((_, number), rank) in sorted.into_iter().zip(0..) {
            ranks[number as usize] = rank;
        }
        ranks
    }
}

impl Clock {
    #[inline]
    fn is(&self, handle: &Handle, host: &Text) -> bool {
        match (self, handle) {
            (Self::Journal(server, epoch), Handle::Entry(position)) => {
                *epoch == position.epoch && is_same(server.as_str(), position.server.as_str())
            }
            (Self::Host(known), Handle::Opaque(_)) => is_same(known, host),
            _ => false,
        }
    }

    /// What most of its order is told by: its kind, and its name's first bytes as a number.
    fn start(&self) -> (bool, u128) {
        let (host, name) = match self {
            Self::Journal(server, _) => (false, server.as_str()),
            Self::Host(host) => (true, &**host),
        };
        let mut bytes = [0; 16];
        let len = name.len().min(bytes.len());
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        (host, u128::from_be_bytes(bytes))
    }
}

/// Whether two texts are the same; mostly they are one.
#[inline]
fn is_same(a: &str, b: &str) -> bool {
    ptr::eq(a, b) || a == b
}
