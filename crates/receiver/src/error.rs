//! What stops a browse.

use std::path::PathBuf;

use thiserror::Error;

/// Why a browse could not start or go on. Requests that fail do not stop it: they are reported
/// and counted in [`crate::Summary`].
#[derive(Debug, Error)]
pub enum BrowseError {
    /// The gateway's URL is not one this program can call.
    #[error("{url} is no gateway: {reason}; give a URL like http://127.0.0.1:8080")]
    Gateway {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// The state file cannot be read or written.
    #[error("cannot {doing} the state file {path}: {source}")]
    StateFile {
        /// `read` or `write`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state file holds something else.
    #[error("the state file {path} is damaged ({reason}); delete it to begin a new visit")]
    StateDamaged {
        /// Which file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// A step of the walk is not known.
    #[error(
        "unknown step {0:?}: use page, channel, orders, order[:item[:quantity]], vote[:choice] \
         or broadcast:content"
    )]
    Step(String),
    /// Broadcasts cannot be listened to.
    #[error("cannot listen to broadcasts on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Broadcasts can be listened to no longer.
    #[error("cannot listen to broadcasts any longer: {source}")]
    Heard {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The stream cannot be watched.
    #[error("cannot watch {0}")]
    Watch(String),
    /// What was done could not be written out.
    #[error("cannot write the report: {0}")]
    Output(#[source] std::io::Error),
}
