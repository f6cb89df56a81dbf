//! The response race (C1-C7, E5): every server answers a client at the same instant, and whose answer
//! arrives first is the fastest server for that client.
//!
//! [`contest`] is what others see of it: a name server starts races and has its answers rebuilt at
//! the replicas.

pub mod contest;

pub use contest::{Answers, Asked, Call, Evidence, Kind, RaceId, Races, Refused};
