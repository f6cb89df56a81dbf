//! How an owner hands out its journal (D7).
//!
//! Two kinds of subscribers follow a journal. Peers need it as it is written, for what a request
//! may have to wait for (E6). Whoever *reports*, the repository above all, gets it as the owner's
//! agent is configured: at once, now and then, or only what it asks for. So a journal has two
//! ends on the bus: what was announced, and what was reported.

use bytes::Bytes;

use crate::{Batch, Extent};

/// When a journal's records go to subscribers who report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportMode {
    /// As they are announced.
    #[default]
    RealTime,
    /// Now and then, everything since the last time.
    Period,
    /// Only those that are asked for.
    OnDemand,
    /// As they are announced, out of the owner's memory: there is no journal on a disk.
    PastJournal,
}

impl ReportMode {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] = [
        Self::RealTime,
        Self::Period,
        Self::OnDemand,
        Self::PastJournal,
    ];

    /// Its name, as configuration and answers have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RealTime => "real-time",
            Self::Period => "period",
            Self::OnDemand => "on-demand",
            Self::PastJournal => "past-journal",
        }
    }

    /// Whether subscribers who report go only as far as the owner has said.
    #[must_use]
    pub fn holds_back(self) -> bool {
        matches!(self, Self::Period | Self::OnDemand)
    }
}

/// What an owner says of how it hands out its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When subscribers who report get its records.
    pub mode: ReportMode,
    /// Whether peers get them as they are written. Where not, they get them with the reports, and
    /// nobody should wait for them.
    pub peers_at_once: bool,
    /// How many others' memory the owner waits for before it answers a client: it is told how far
    /// as many hold its journal. 0: it does not ask.
    pub holders: u8,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            mode: ReportMode::RealTime,
            peers_at_once: true,
            holders: 0,
        }
    }
}

/// One page of what an owner found when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The records, in the journal's order; between them are those that were not asked for.
    pub batches: Vec<Batch>,
    /// What it looked through: every record of these that is wanted is in `batches`.
    pub looked: Vec<Extent>,
    /// What of that can no longer be had.
    pub gaps: Vec<Extent>,
    /// What to ask for the next page; `None` after the last.
    pub next: Option<Bytes>,
}
