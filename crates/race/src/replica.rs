//! A replica: takes forwarded requests, makes its own answers, and sends each to its client at the
//! instant that all share (C6).

mod core;
mod shell;

pub(crate) use self::core::HANDICAP_MAX;
pub use self::core::{Refusal, ReplicaCounts};
pub use shell::{Replica, ReplicaOptions, RunningReplica};
