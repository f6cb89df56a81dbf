//! The bus over NATS JetStream, for fleets (`docs/formats/bus-jetstream.md`).
//!
//! A message is a batch of one journal, on that journal's own subject. One message of a journal is
//! under way at a time and names the subject's last one, so that no two owners of one name can
//! interleave; what is announced meanwhile goes into the next, so that one fsync of JetStream
//! covers it all. Each process pictures the streams in a hub of its own (`hub/mirror.rs`), from
//! which its subscribers are served as from any other; what they need beyond its rings is read
//! from what JetStream keeps, and past that from the owner's journal, by request and reply.
//!
//! Limits: presence is told by heartbeats, so an owner that died without a word is missed only
//! after a while; whoever may write to NATS can withhold and repeat messages, but not forge them.

mod asking;
mod client;
mod feed;
mod kept;
mod message;
mod options;
mod owner;
mod picture;
mod publisher;
mod streams;
mod subjects;
#[cfg(test)]
mod tests;

pub use client::{JetStreamBus, JetStreamMetrics};
pub use options::JetStreamOptions;

/// For the fuzz target: whatever is sealed right must be read or refused, and what is read must
/// come out the same when written and read again.
#[doc(hidden)]
pub fn fuzz_sealed(kind: u8, body: &[u8]) {
    message::fuzz(kind, body);
}
