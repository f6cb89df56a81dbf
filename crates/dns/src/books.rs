//! What is remembered of askers: who won for which network, who has proven their address, which
//! races are open, who asked the same a moment ago.
//!
//! Everything is bounded in number. Times are seconds of the wall clock where they outlive the
//! program, else milliseconds of any steady clock.

mod open;
mod sources;
mod winners;

pub(crate) use open::OpenRaces;
pub use sources::{Recent, Sources};
pub use winners::{Change, Network, Winner, WinnerKey, Winners};
