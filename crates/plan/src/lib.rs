//! What all-to-all costs a fleet: before it is built, from its size and its rate.
//!
//! Every server gets every other's records (B2), so the bus carries each record once for every
//! server, and that grows with the product of both. [`Plan::of`] says what it comes to: records
//! and bytes a second at a server and at the bus, over the embedded hub and over JetStream, disk,
//! memory, time on the processor; at which rate what becomes too narrow; and what to do then. It
//! is arithmetic over a few measured constants (`measured`), of which a system test holds the
//! bytes against a running fleet. Where it must guess it guesses high: every batch is a packet of
//! its own, and every byte kept is carried.
//!
//! Pure: no I/O, no clock.

mod advice;
mod cost;
pub mod measured;

use serde::Serialize;

pub use advice::Limit;
pub use cost::{Bus, Flow, Memory, PerRequest, Server};

/// A fleet as it is planned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fleet {
    /// Servers behind the gateway, each with a memory; those that only other services call, too.
    pub servers: u64,
    /// Requests a second that its clients send.
    pub rate: f64,
    /// Calls to deeper services that a request causes.
    pub calls: f64,
    /// Bytes that a request's entry takes in the journal of the server that answers it, with all
    /// that is kept of it; `None`: by default nothing is.
    pub entry_bytes: Option<f64>,
    /// Sessions with state that are live within `memory_age_s`.
    pub sessions: u64,
    /// Bytes of state of one session; 0: there is none.
    pub state_bytes: f64,
    /// Repositories and monitors on the bus.
    pub readers: u64,
    /// As in the configuration's `[node]`.
    pub memory_bytes_max: u64,
    /// As in the configuration's `[node]`; 0: no bound.
    pub memory_age_s: u64,
    /// As in the configuration's `[node]`.
    pub state_bytes_max: u64,
    /// What a server's and the bus's network carries each way, in bits a second.
    pub link_bits_per_s: f64,
}

/// What it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The fleet it is of.
    pub fleet: Fleet,
    /// What one request leaves in all journals together.
    pub per_request: PerRequest,
    /// At each server.
    pub server: Server,
    /// At the embedded hub, in the gateway's process.
    pub hub: Bus,
    /// At the one of three JetStream nodes that leads the stream (replicas 3).
    pub jetstream: Bus,
    /// What becomes too narrow, the first first.
    pub limits: Vec<Limit>,
    /// What to do.
    pub advice: Vec<String>,
}

impl Plan {
    /// What this fleet costs.
    #[must_use]
    pub fn of(fleet: Fleet) -> Self {
        let per_request = PerRequest::of(&fleet);
        let server = Server::of(&fleet, &per_request);
        let hub = Bus::hub(&fleet, &per_request);
        let jetstream = Bus::jetstream(&fleet, &per_request);
        let limits = advice::limits(&fleet, &server, &hub, &jetstream);
        let advice = advice::advice(&fleet, &server, &limits);
        Self {
            fleet,
            per_request,
            server,
            hub,
            jetstream,
            limits,
            advice,
        }
    }
}

#[cfg(test)]
mod tests;
