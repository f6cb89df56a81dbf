//! The response race (C1-C7, E5): every server answers a client at the same instant, and whose answer
//! arrives first is the fastest server for that client.
//!
//! [`contest`] is what others see of it: a name server starts races and has its answers rebuilt at
//! the replicas.

pub mod client;
pub mod contest;
mod error;
mod external;
mod host;
mod identifier;
mod master;
pub mod net;
mod pacer;
mod replica;
mod serving;
mod window;
pub mod wire;

pub use contest::{Answers, Asked, Call, Evidence, Kind, RaceId, RaceIdError, Races, Refused};
pub use error::RaceError;
pub use external::Source;
pub use host::HostClock;
pub use identifier::{Chosen, DELAY_MAX, Delay, Short, Stamp, Timing, TransmitIdentifier};
pub use master::{
    Counts, Event, Master, MasterOptions, RaceStatus, ReplicaAddress, ReplicaStatus, RunningMaster,
    SentStatus, Status,
};
pub use net::Outlets;
pub use pacer::{Pacer, SPIN};
pub use replica::{Refusal, Replica, ReplicaCounts, ReplicaOptions, RunningReplica};
pub use serving::{ByKind, Serving};
