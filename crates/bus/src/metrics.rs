//! What the hub counts, as plain numbers; whoever serves metrics reads a snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_identity::{Epoch, ServerName};

use crate::Terms;

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// The hub's counters, all since its start unless they say "now".
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct HubMetrics {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl HubMetrics {
            /// Name and value of each, for metrics pages.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> HubMetrics {
                HubMetrics { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Records that owners announced.
    announced,
    /// Records handed to subscribers, each counted once per subscriber.
    delivered,
    /// Records of these that were read from the owner instead of the ring.
    refilled,
    /// Questions that owners were asked.
    questions,
    /// Gap events.
    gaps,
    /// Times that a subscriber began beyond what was known of a journal.
    subscribers_ahead,
    /// Times that a subscriber that had kept up fell behind the ring.
    slow_subscribers,
    /// Reads from an owner that failed and were tried again.
    source_failures,
    /// Joins refused because a live owner has the name.
    names_refused,
    /// Links refused: strangers, wrong protocol, handshakes too slow or too many.
    links_refused,
    /// Frames refused (length, version, checksum, content); each ends its link.
    frames_refused,
    /// Links that ended for silence or because the other side did not read.
    links_timed_out,
    /// Links now.
    links,
    /// Subscriptions now.
    subscriptions,
}

/// One number that several tasks change.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the hub knows of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalStatus {
    /// Whose.
    pub server: ServerName,
    /// Whether its owner is on the bus.
    pub present: bool,
    /// Its epochs in the order of writing, each with the sequence after its last known record;
    /// the last is the one being written.
    pub epochs: Vec<(Epoch, u64)>,
    /// How its owner hands it out, now or when it was last present.
    pub terms: Terms,
    /// Bytes of recent records that the hub holds.
    pub ring_bytes: usize,
}
