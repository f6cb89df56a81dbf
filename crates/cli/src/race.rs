//! The response race in this process: the master, replicas, or both (C1-C7).

mod client;
mod master;
mod replica;
mod section;

pub(crate) use client::{Summary, race};
pub(crate) use master::{Beside, Racing};
pub(crate) use replica::{LoneReplica, replica};
pub(crate) use section::{RaceSection, TestClock};
