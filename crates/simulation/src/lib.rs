//! A whole fleet in one process, with a seeded network, clock and disk.
//!
//! **Problem.** What the fabric promises must hold when a server dies between any two
//! instructions, the network cuts out, a disk forgets or fills and clocks jump, all at once; no
//! hand-written test thinks of those cases, and no test on real machines repeats them.
//!
//! **Idea.** The real node, journal, ordering rule, tokens, hub and link protocol, repository,
//! transaction processor and threshold monitor run on one thread under a paused clock. Everything
//! that is not theirs (bytes on their way, the disks below them, the time, random bits, viewers,
//! faults) is drawn from the seed. A model sees only what a client could log: when it sent, when it
//! received. At the end the journals, the peers' memories, the repository, what was carried out and
//! what was told are compared with it. The same seed gives the same run, event by event: a hash
//! over all of them says so.
//!
//! **Limits.** No HTTP: requests reach gateways and nodes as calls, and of the log server only what
//! it knows of cookie jars is there. Interleavings are those of tasks, not of instructions of
//! several cores. See `docs/guide/simulation.md`.

mod check;
mod client;
mod clock;
mod faults;
mod gateway;
mod keepers;
mod leak;
mod ledger;
mod network;
mod options;
mod random;
mod repository;
mod server;
mod service;
mod thresholds;
mod trace;
mod transactions;
mod witness;
mod world;

pub use options::{Counts, Options, Outcome, Plant};

/// Simulates a fleet's life from a seed.
///
/// # Panics
/// If called inside an async runtime.
#[must_use]
pub fn simulate(seed: u64, options: Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads and sockets");
    runtime.block_on(world::run(seed, options))
}
