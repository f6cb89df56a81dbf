//! The bus over TCP: links between a hub and programs of their own (`docs/formats/bus.md`).
//!
//! One connection carries everything of one program: its announcements, its subscriptions, and
//! the hub's questions to its journals. Everything on it is bounded: announcements by a window
//! that the hub opens again as it takes them, deliveries by the reader's credit, reads by their
//! number. Both sides have proven that they hold the fleet's key.

pub(crate) mod asking;
mod client;
pub(crate) mod client_link;
mod following;
pub(crate) mod frame;
pub(crate) mod handshake;
mod hub_link;
mod listener;
pub(crate) mod message;
mod outbox;
mod publisher;
mod remote;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use client::{TcpBus, TcpBusMetrics};
pub(crate) use listener::{listen, serve};
pub use stream::{Dial, LinkStream};

/// How links behave; both sides should agree.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// A side that has nothing to send says so this often.
    pub heartbeat: Duration,
    /// A side that hears nothing for so long takes the other for dead.
    pub idle_max: Duration,
    /// A side whose bytes are not taken for so long takes the other for dead.
    pub stalled_max: Duration,
    /// The handshake takes at most this.
    pub handshake_max: Duration,
    /// The longest wait for an owner to answer a read.
    pub read_max: Duration,
    /// The hub takes so many links.
    pub links_max: usize,
    /// Links that have not proven themselves yet, of these.
    pub handshakes_max: usize,
    /// Bytes announced and not yet taken, per journal; bytes delivered and not yet read, per
    /// subscription.
    pub window_bytes: usize,
    /// The first wait before connecting again; doubled up to `reconnect_max`, with jitter.
    pub reconnect_min: Duration,
    /// The longest wait before connecting again.
    pub reconnect_max: Duration,
    /// Seeds the jitter; drawn from the system where not given.
    pub seed: Option<u64>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            idle_max: Duration::from_secs(2),
            stalled_max: Duration::from_secs(5),
            handshake_max: Duration::from_secs(2),
            read_max: Duration::from_secs(5),
            links_max: 1024,
            handshakes_max: 64,
            window_bytes: 1024 * 1024,
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            seed: None,
        }
    }
}

/// For the fuzz target: whatever parses as a frame must come out the same when written and parsed
/// again.
#[doc(hidden)]
pub fn fuzz_frame(bytes: &[u8]) {
    let Ok(frame) = frame::parse(bytes, frame::BODY_MAX) else {
        return;
    };
    let mut written = Vec::new();
    frame.write(&mut written);
    assert_eq!(written, bytes[..written.len()]);
    if let Ok(message) = message::Message::parse(&frame) {
        let again = message::Message::parse(&message.frame(frame.channel));
        assert_eq!(again.ok(), Some(message));
    }
}

/// As [`fuzz_frame`], of a body whose frame is whole: gets past the checksum.
#[doc(hidden)]
pub fn fuzz_body(kind: u8, body: &[u8]) {
    let frame = frame::Frame::new(kind, 1, body.to_vec());
    let mut written = Vec::new();
    frame.write(&mut written);
    fuzz_frame(&written);
}
