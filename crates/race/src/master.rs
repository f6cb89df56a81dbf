//! The master: measures its replicas' clocks, hands each race to all of them, and keeps what became
//! of it.

mod asks;
mod options;
mod receive;
mod record;
mod roster;
mod shell;
mod show;
mod state;
mod status;

pub use options::{Event, MasterOptions, ReplicaAddress};
pub use shell::{Master, RunningMaster};
pub use status::{Counts, RaceStatus, ReplicaStatus, SentStatus, Status};
