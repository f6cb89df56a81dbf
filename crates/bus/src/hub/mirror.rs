//! A hub as the local picture of journals that another bus carries: that bus feeds it, and it does
//! what every hub does for subscribers of this process.
//!
//! What differs from a hub of its own: a journal can have news while its owner is away, and
//! records that fell out of the ring can be read although the owner is away, from what the other
//! bus keeps.

use std::sync::Arc;

use selvedge_identity::ServerName;
use tokio::time::Instant;

use super::Inner;
use super::journal::{JournalState, Owner, Shared};
use crate::{BusError, Source};

impl Inner {
    /// Where `server`'s journal stands in the picture; a new one is read from `kept`.
    ///
    /// # Errors
    /// [`BusError::Full`], [`BusError::Closed`].
    pub(crate) fn picture(
        &self,
        server: &ServerName,
        kept: impl FnOnce() -> Arc<dyn Source>,
    ) -> Result<usize, BusError> {
        let mut state = self.state();
        if state.stopped {
            return Err(BusError::Closed);
        }
        let index = state.index_or_new(server, self.options.journals_max)?;
        let journal = &mut state.journals[index];
        if journal.kept.is_none() {
            journal.kept = Some(kept());
        }
        Ok(index)
    }

    /// Changes a journal of the picture and tells subscribers.
    pub(crate) fn change<T>(
        &self,
        journal: usize,
        change: impl FnOnce(&mut JournalState, Instant) -> T,
    ) -> T {
        let changed = change(&mut self.state().journals[journal], Instant::now());
        self.changed();
        changed
    }

    /// Takes records that the other bus carried.
    pub(crate) fn pictured(&self, journal: usize, shared: &Arc<Shared>) {
        let ring_bytes_max = self.options.ring_bytes;
        self.change(journal, |state, now| {
            state.announce(shared, now, ring_bytes_max);
        });
        let records = shared.batch.records.len() as u64;
        self.counters.announced.add(records);
    }

    /// Says whether the journal's owner is on the other bus; `link` names it for people.
    pub(crate) fn set_present(&self, journal: usize, link: Option<&str>) {
        self.change(journal, |state, _| {
            let present = |(link, kept): (&str, &Arc<dyn Source>)| Owner {
                generation: 0, // nobody claims a journal of a picture
                link: link.to_owned(),
                instance: None,
                source: Arc::clone(kept),
            };
            let owner = link.zip(state.kept.as_ref()).map(present);
            if owner.is_some() || state.owner.is_some() {
                state.set_owner(owner);
            }
        });
    }
}
