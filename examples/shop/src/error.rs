//! What keeps a server of the shop from starting.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// Why a server of the shop did not start.
#[derive(Debug, Error)]
pub enum ShopError {
    /// The address is taken, or not this host's.
    #[error("cannot listen on {address}: {source}; choose another port, or end what holds it")]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The HTTP client for calls to other services could not be made.
    #[error(transparent)]
    Client(#[from] selvedge::CallError),
}
