//! What keeps a sidecar from starting.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// Why a sidecar did not start.
#[derive(Debug, Error)]
pub enum SidecarError {
    /// An address is taken, or not this host's.
    #[error(
        "cannot listen on {address} for {purpose}: {source}; choose another port, or end what holds it"
    )]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// `requests` or `calls`.
        purpose: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A URL of the settings is not one it can send to.
    #[error("{what} is {url:?}: {reason}; give a URL like http://127.0.0.1:9100")]
    Url {
        /// Which setting.
        what: String,
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The egress address would serve strangers: whoever reaches it can call anything through it.
    #[error("the egress address {0} is not a loopback address; use one like 127.0.0.1:7610")]
    EgressOpen(SocketAddr),
}
