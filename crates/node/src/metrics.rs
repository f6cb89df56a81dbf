//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// Live counters of a node.
        #[derive(Debug, Default)]
        pub struct NodeMetrics {
            $($(#[$meta])* pub(crate) $name: AtomicU64,)*
            /// How long answers waited beyond the own journal.
            pub(crate) acknowledge_waits: WaitHistogram,
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct NodeCounts {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl NodeMetrics {
            /// How long answers waited for peers or the bus, once they were in the journal.
            #[must_use]
            pub fn acknowledge_waits(&self) -> Waits {
                self.acknowledge_waits.read()
            }

            /// Reads them.
            #[must_use]
            pub fn counts(&self) -> NodeCounts {
                NodeCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl NodeCounts {
            /// Name and value of each, for metrics pages.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Requests taken that advanced a session.
    actions_taken,
    /// Requests that only stand in the call tree.
    requests_entered,
    /// Session tokens refused: not of the form.
    tokens_malformed,
    /// Session tokens refused: too long, or too many heads.
    tokens_oversized,
    /// Session tokens refused: made with an unknown key.
    tokens_unknown_key,
    /// Session tokens refused: the MAC does not hold.
    tokens_forged,
    /// Valid tokens of a session other than the one that won.
    tokens_other_session,
    /// Client tokens refused.
    clients_refused,
    /// Request identifiers refused.
    identifiers_refused,
    /// `sv` members of `tracestate` refused.
    sv_refused,
    /// `traceparent` headers refused.
    traceparents_refused,
    /// B3 headers refused.
    b3_refused,
    /// Contexts of sources that are not continued: links.
    contexts_linked,
    /// Requests that waited for the back-end network and got what they waited for (E6).
    waits_in_time,
    /// Requests that waited in vain (E6).
    waits_in_vain,
    /// Answers that went out once their effect was in the own journal.
    answers_journal,
    /// Answers that went out once as many peers as asked for held their effect, too.
    answers_peers,
    /// Answers that went out once the bus had stored their effect, too.
    answers_bus,
    /// Answers of the journal's, because fewer peers were on the network than asked for.
    acknowledgements_short,
    /// Answers of the journal's, because peers or the bus took too long.
    acknowledgements_in_vain,
    /// Effects and ends not written, because the epoch of their opening had ended: the disk failed
    /// under a request.
    records_orphaned,
    /// Heads of broadcasts refused: damaged, or not sealed for the request's session.
    heads_refused,
    /// Broadcasts made.
    broadcasts,
    /// Batches announced on the back-end network.
    batches_announced,
    /// Reports made, by an agent that reports on a period.
    reports,
    /// Pages of answers given to those who asked for entries.
    questions_answered,
    /// Records given in them.
    records_found,
    /// Batches taken from the back-end network.
    batches_taken,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

/// The upper bounds of a histogram's buckets, in microseconds.
const BOUNDS_US: [u64; 12] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 1_000_000,
];

/// Waits by length.
#[derive(Debug, Default)]
pub(crate) struct WaitHistogram {
    /// Parallel to the bounds; the last is of those beyond.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram of waits at one moment, as Prometheus has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waits {
    /// An upper bound in seconds, and how many were not longer.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// The sum of all, in seconds.
    pub sum: f64,
}

impl WaitHistogram {
    pub(crate) fn add(&self, waited_ns: u64) {
        let waited_us = waited_ns.div_ceil(1000);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < waited_us);
        count(&self.buckets[bucket]);
        self.sum_us.fetch_add(waited_us, Ordering::Relaxed);
    }

    fn read(&self) -> Waits {
        const SECOND_US: f64 = 1e6;
        let mut waits = Waits {
            sum: self.sum_us.load(Ordering::Relaxed) as f64 / SECOND_US,
            ..Waits::default()
        };
        for (index, bucket) in self.buckets.iter().enumerate() {
            waits.count += bucket.load(Ordering::Relaxed);
            if let Some(bound) = BOUNDS_US.get(index) {
                waits.buckets.push((*bound as f64 / SECOND_US, waits.count));
            }
        }
        waits
    }
}
