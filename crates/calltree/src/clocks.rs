//! Which clock an entry's times were read from, and where its entry stands on it.
//!
//! A journal's writer reads one clock for one epoch, so a clock is a journal's epoch; for entries
//! from elsewhere it is the host. (Two servers of one host are taken as two clocks: that only
//! widens a bound, while a host that is shared under two clocks would break it.)

use std::collections::HashMap;

use selvedge_entry::Text;
use selvedge_identity::{Epoch, ServerName};

use crate::Handle;

/// A clock's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Clock {
    Journal(ServerName, Epoch),
    Host(Text),
}

/// Numbers clocks in the order they are met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clocks {
    names: Vec<Clock>,
    numbers: HashMap<Clock, u32>,
    last: u32,
    /// Numbers by a byte of the epoch's random part: a tree has few journals.
    near: Vec<u32>,
}

impl Clocks {
    pub(crate) fn number(&mut self, handle: &Handle, host: &Text) -> u32 {
        if let Some(last) = self.names.get(self.last as usize)
            && is(last, handle, host)
        {
            return self.last;
        }
        let near = near(handle, host);
        if let Some(&number) = self.near.get(near)
            && let Some(name) = self.names.get(number as usize)
            && is(name, handle, host)
        {
            self.last = number;
            return number;
        }
        let name = match handle {
            Handle::Entry(position) => Clock::Journal(position.server.clone(), position.epoch),
            Handle::Opaque(_) => Clock::Host(host.clone()),
        };
        let next = self.names.len() as u32;
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
        }
        self.near.resize(256, u32::MAX);
        self.near[near] = number;
        self.last = number;
        number
    }

    /// Each clock's place among the clocks' names: a numbering that does not depend on the order
    /// of arrival.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let mut sorted: Vec<u32> = (0..self.names.len() as u32).collect();
        sorted.sort_unstable_by_key(|&number| &self.names[number as usize]);
        let mut ranks = vec![0; sorted.len()];
        for (rank, number) in sorted.into_iter().enumerate() {
            ranks[number as usize] = rank as u32;
        }
        ranks
    }
}

fn is(clock: &Clock, handle: &Handle, host: &Text) -> bool {
    match (clock, handle) {
        (Clock::Journal(server, epoch), Handle::Entry(position)) => {
            *epoch == position.epoch && *server == position.server
        }
        (Clock::Host(known), Handle::Opaque(_)) => known == host,
        _ => false,
    }
}

fn near(handle: &Handle, host: &Text) -> usize {
    let byte = match handle {
        Handle::Entry(position) => {
            position.epoch.random as u8 ^ (position.epoch.random >> 32) as u8
        }
        Handle::Opaque(_) => host
            .bytes()
            .fold(0u8, |mix, byte| mix.wrapping_mul(31).wrapping_add(byte)),
    };
    usize::from(byte)
}
