//! What can go wrong for a user of the bus.

use std::net::SocketAddr;

use selvedge_identity::ServerName;
use thiserror::Error;

/// Why the bus refused or failed.
#[derive(Debug, Error)]
pub enum BusError {
    /// Another live owner announces this journal. Two servers must not share a name.
    #[error(
        "server name {server} is already on the bus, owned by {owner}; give this server another name"
    )]
    NameTaken {
        /// The name.
        server: ServerName,
        /// Who has it: the link's name and address.
        owner: String,
    },
    /// A batch of another journal than the publisher's own.
    #[error("a publisher of {owned} cannot announce records of {announced}")]
    WrongServer {
        /// The publisher's journal.
        owned: ServerName,
        /// The batch's journal.
        announced: ServerName,
    },
    /// This publisher is no longer the owner: another link of the same program took over.
    #[error("server {server} is no longer announced from here")]
    NotOwner {
        /// The journal.
        server: ServerName,
    },
    /// The hub refused this link or request; trying the same again will not help.
    #[error("the bus hub at {address} refused: {reason}")]
    Refused {
        /// The hub.
        address: String,
        /// Its words.
        reason: String,
    },
    /// The hub could not be reached; trying again later may help.
    #[error("cannot reach the bus hub at {address}: {reason}")]
    Unreachable {
        /// The hub.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// An address could not be listened on.
    #[error("the bus cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A bound was reached: journals, subscriptions, links.
    #[error("the bus is full: at most {limit} {what}")]
    Full {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Nobody on the bus owns this journal now.
    #[error("server {server} is not on the bus")]
    Absent {
        /// The server.
        server: ServerName,
    },
    /// The owner of a journal did not answer a question; trying again later may help.
    #[error("server {server} did not answer: {reason}")]
    Unanswered {
        /// The server.
        server: ServerName,
        /// What went wrong.
        reason: String,
    },
    /// The bus was stopped.
    #[error("the bus is stopped")]
    Closed,
}

/// A source could not read its journal just now; the bus asks again.
#[derive(Clone, Debug, Error)]
#[error("journal not readable: {0}")]
pub struct SourceError(pub String);
