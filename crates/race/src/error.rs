//! What stops a master, a replica or a client's race.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// Why a part of the race does not run.
#[derive(Debug, Error)]
pub enum RaceError {
    /// The address for the race's datagrams cannot be had.
    #[error("cannot listen on {0}/udp for the race: {1}; race.listen says where")]
    Listen(SocketAddr, #[source] io::Error),
    /// The service's address cannot be sent from. The message holds the remedy.
    #[error("{0}")]
    Service(#[source] io::Error),
    /// No thread.
    #[error("the system gives no thread: {0}")]
    Thread(#[source] io::Error),
    /// No random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(getrandom::Error),
    /// The options do not fit together.
    #[error("race: {0}")]
    Options(String),
}

/// A number that nobody foresees.
pub(crate) fn random() -> Result<u64, RaceError> {
    getrandom::u64().map_err(RaceError::Random)
}
