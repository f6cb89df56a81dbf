//! The order of a session's actions: giving it, and reading it back.
//!
//! A server that takes a request gives each of its actions an ordering id by [`Orderer`]. Whoever
//! holds the entries of a session, from whichever journals, gets its [`Timeline`]: the actions in
//! order, and which of them were concurrent. No clock is compared anywhere. Whoever gets what they
//! wrote of the session's state has what is left of it: [`States`]. The crate is pure: no I/O, no
//! clock, no random number.
//!
//! Requirements: A1, A2, A9, B2.

mod graph;
mod json;
mod loss;
mod orderer;
mod state;
mod timeline;

pub use orderer::{COUNTER_MAX, Orderer};
pub use state::{Candidate, States};
pub use timeline::{Relation, Timeline, timeline};
