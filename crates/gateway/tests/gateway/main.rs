//! The gateway over real sockets, before content servers that advance sessions.

mod balancing;
mod broadcast;
mod fleet;
mod identity;
mod tracking;
