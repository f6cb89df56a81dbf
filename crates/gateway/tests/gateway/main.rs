//! The gateway over real sockets, before content servers that advance sessions.

mod balancing;
mod fleet;
mod identity;
mod tracking;
