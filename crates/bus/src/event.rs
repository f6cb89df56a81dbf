//! What a subscriber is told.

use selvedge_identity::{Epoch, ServerName};

use crate::{Batch, Terms};

/// One delivery. Batches and gaps of one journal come in the journal's order and never overlap on
/// one subscription of one hub; after a reconnection or with another implementation records may
/// come twice, so readers dedupe by position. Presence is not ordered against batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Records.
    Batch(Batch),
    /// Records that can no longer be had: past retention at the owner, or of an epoch that it no
    /// longer knows. What follows them is delivered.
    Gap {
        /// Whose journal.
        server: ServerName,
        /// Which epoch.
        epoch: Epoch,
        /// The first missing sequence.
        from: u64,
        /// The sequence after the last missing one; [`Event::UNKNOWN_END`] where nobody can tell
        /// how many there were, or whether there were any.
        to: u64,
    },
    /// The journal's owner is on the bus and writes this epoch. Said of every present owner after
    /// subscribing, after each return, and when a present owner begins another epoch.
    Joined {
        /// Whose journal.
        server: ServerName,
        /// The epoch it writes now.
        epoch: Epoch,
        /// How it hands out its journal.
        terms: Terms,
    },
    /// The journal's owner left the bus. What it announced before may still be delivered.
    Left {
        /// Whose journal.
        server: ServerName,
    },
}

impl Event {
    /// The `to` of a gap whose end is not known: the rest of the epoch.
    pub const UNKNOWN_END: u64 = u64::MAX;

    /// Which journal it is about.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        match self {
            Event::Batch(batch) => &batch.server,
            Event::Gap { server, .. } | Event::Joined { server, .. } | Event::Left { server } => {
                server
            }
        }
    }
}
