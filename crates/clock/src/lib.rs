//! Clocks kept in step (C1): what a host's own clock reads, told as an instant of a common one.
//!
//! A master exchanges four timestamps with each replica, over and over. Every [`Exchange`] bounds
//! the offset between their clocks for certain: the replica cannot have received what was not yet
//! sent, nor can an answer arrive before it left. Where the path is as long in one direction as in
//! the other, the middle of these limits is the offset, and the exchanges that took the shortest
//! way round tell it best. An [`Estimator`] makes of them an [`Estimate`]: offset and rate at a
//! local instant, with two margins:
//!
//! - `noise`: what symmetric paths leave of doubt, by the spread of what was measured. A gap between
//!   two replicas' answers that is smaller is a tie.
//! - `bound`: what holds on any path, as long as no clock drifts faster than [`DRIFT_MAX`] or jumps.
//!   The way there and the way back cannot be told apart by any exchange, so it is never smaller
//!   than half the shortest round trip.
//!
//! A clock that jumps by more than a round trip contradicts what was certain before: the estimator
//! notices, forgets, and starts anew. A smaller jump looks like a path that changed, until the
//! window has passed.
//!
//! Local instants are of a clock that nobody steps (on Linux `CLOCK_MONOTONIC_RAW`), and the host's
//! wall clock is never touched. A host whose clock is already disciplined (PTP, chrony) says so with
//! a margin of its own ([`External`]); that is taken where it is the better one, and where the
//! exchanges do not contradict it.
//!
//! No clock is read here and no random source: times are arguments. [`VirtualClock`] is a clock for
//! tests, with an offset, a drift and jumps.

mod estimate;
mod estimator;
mod exchange;
mod external;
mod fit;
mod instant;
mod virtual_clock;

pub use estimate::Estimate;
pub use estimator::{Added, Estimator, EstimatorOptions};
pub use exchange::{Exchange, ExchangeError, ROUND_TRIP_MAX};
pub use external::{Choice, ChronyAccount, ChronyError, External, choose, chrony_account};
pub use instant::{Common, Local, Nanos};
pub use virtual_clock::VirtualClock;

/// How fast two clocks may drift apart: 200 parts in a million, two bad crystals.
///
/// Every `bound` rests on it.
pub const DRIFT_MAX: f64 = 200e-6;
