//! Who holds journals in memory, and how far: what owners who ask are told. Pure state; the caller
//! holds the lock.

use std::collections::BTreeMap;

use selvedge_identity::{Epoch, Position, ServerName};

use super::State;
use super::journal::JournalState;
use crate::Holders;

/// The servers that hold what they get, each with its newest subscription: one that was made for
/// a server before counts no more, for the server may have started anew, with nothing in memory.
pub(crate) type Present = BTreeMap<ServerName, u64>;

impl State {
    /// A subscription holds what it gets in `server`'s memory.
    pub(crate) fn enter_holder(&mut self, server: ServerName, subscription: u64) {
        for journal in &mut self.journals {
            journal.held.remove(&server);
        }
        self.holders.insert(server, subscription);
        self.tell_owners();
    }

    /// A subscription of a holder ended.
    pub(crate) fn leave_holder(&mut self, server: &ServerName, subscription: u64) {
        if self.holders.get(server) != Some(&subscription) {
            return; // a newer one took its place
        }
        self.holders.remove(server);
        for journal in &mut self.journals {
            journal.held.remove(server);
        }
        self.tell_owners();
    }

    /// A holder's subscription says how far it has come.
    pub(crate) fn hold(&mut self, server: &ServerName, subscription: u64, held: &[Position]) {
        if self.holders.get(server) != Some(&subscription) {
            return;
        }
        for position in held {
            if let Some(&index) = self.by_server.get(&position.server) {
                let place = (position.epoch, position.sequence);
                self.journals[index].hold(server, place, &self.holders);
            }
        }
    }

    fn tell_owners(&mut self) {
        for journal in &mut self.journals {
            journal.tell_owner(&self.holders);
        }
    }
}

impl JournalState {
    /// A holder has come so far. What it cannot have is cut off; of an epoch that nobody knows it
    /// says nothing.
    fn hold(&mut self, holder: &ServerName, (epoch, end): (Epoch, u64), present: &Present) {
        let Some(index) = self.index_of(epoch) else {
            return;
        };
        let end = end.min(self.epochs[index].end);
        let before = self.held_at(holder);
        self.held.insert(holder.clone(), (epoch, end));
        // Where as many as asked for have come changes only with one who passes it.
        let told = self.told.and_then(|told| self.place(told.to?));
        if before <= told && Some((index, end)) > told {
            self.tell_owner(present);
        }
    }

    /// Tells the owner how far as many hold its journal as it asked for, if that changed.
    pub(crate) fn tell_owner(&mut self, present: &Present) {
        let Some(owner) = &self.owner else { return };
        if self.terms.holders == 0 {
            return;
        }
        let others = present.keys().filter(|holder| **holder != self.server);
        let mut places: Vec<_> = others.map(|holder| self.held_at(holder)).collect();
        let wanted = usize::from(self.terms.holders).min(places.len());
        let to = wanted.checked_sub(1).and_then(|last| {
            let (_, place, _) = places.select_nth_unstable_by(last, |a, b| b.cmp(a));
            place.map(|(index, end)| (self.epochs[index].epoch, end))
        });
        let holders = Holders {
            present: places.len(),
            to,
        };
        if self.told != Some(holders) {
            owner.source.held(holders);
            self.told = Some(holders);
        }
    }

    fn held_at(&self, holder: &ServerName) -> Option<(usize, u64)> {
        self.place(*self.held.get(holder)?)
    }

    /// A position that can be compared.
    fn place(&self, (epoch, end): (Epoch, u64)) -> Option<(usize, u64)> {
        Some((self.index_of(epoch)?, end))
    }
}
