//! What a sidecar counts beside its node.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) upstream_failures: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) calls_unattached: AtomicU64,
    pub(crate) calls_unmarked: AtomicU64,
    pub(crate) call_failures: AtomicU64,
    pub(crate) questions: AtomicU64,
    pub(crate) channel_calls: AtomicU64,
    pub(crate) channel_requests: AtomicU64,
    pub(crate) identifiers_missing: AtomicU64,
    pub(crate) references_unkept: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A sidecar's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SidecarCounts {
    /// Requests taken for the application.
    pub requests: u64,
    /// Requests that the application gave no answer to.
    pub upstream_failures: u64,
    /// Calls of the application that became part of a request's tree.
    pub calls: u64,
    /// Calls whose request this sidecar no longer (or never) knew: relayed with an identifier
    /// advanced from the header, without an entry.
    pub calls_unattached: u64,
    /// Calls without a usable `selvedge-request`: relayed as they came.
    pub calls_unmarked: u64,
    /// Calls that got no answer.
    pub call_failures: u64,
    /// Requests to the local API.
    pub questions: u64,
    /// Calls that the application made over channels of its own.
    pub channel_calls: u64,
    /// Requests that it received over them.
    pub channel_requests: u64,
    /// Of these, requests whose identifier was to come beside them, or to lie under a reference,
    /// and did not: new roots.
    pub identifiers_missing: u64,
    /// References asked for and not given, because the store did not take the identifier.
    pub references_unkept: u64,
    /// Requests refused before they became one: malformed or over a limit.
    pub refused: u64,
}

impl Counters {
    pub(crate) fn counts(&self) -> SidecarCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SidecarCounts {
            requests: read(&self.requests),
            upstream_failures: read(&self.upstream_failures),
            calls: read(&self.calls),
            calls_unattached: read(&self.calls_unattached),
            calls_unmarked: read(&self.calls_unmarked),
            call_failures: read(&self.call_failures),
            questions: read(&self.questions),
            channel_calls: read(&self.channel_calls),
            channel_requests: read(&self.channel_requests),
            identifiers_missing: read(&self.identifiers_missing),
            references_unkept: read(&self.references_unkept),
            refused: read(&self.refused),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
