//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// Live counters of a node.
        #[derive(Debug, Default)]
        pub struct NodeMetrics {
            $($(#[$meta])* pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct NodeCounts {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl NodeMetrics {
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
    /// Effects and ends not written, because the epoch of their opening had ended: the disk failed
    /// under a request.
    records_orphaned,
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
