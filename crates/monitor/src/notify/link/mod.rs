//! The threshold link: notifications over a TCP connection of their own, to an encoder.
//!
//! The encoder listens, monitors connect. Both prove that they have the fleet's key: from it and
//! a nonce of each side a key for this connection is made, and every frame bears a code (keyed
//! BLAKE3) over its direction, its number and its body; so nothing can be forged, repeated, turned
//! around or left out. The link is not encrypted. Drawn in `docs/formats/threshold-link.md`:
//!
//! ```text
//! monitor → encoder   "SVTL" version 1, nonce (16)
//! encoder → monitor   nonce (16)
//! monitor → encoder   frame: the monitor's instance id     (and back: an empty frame)
//! monitor → encoder   frame: a notification as JSON
//! encoder → monitor   frame: its id, once it is taken
//! frame: length of the body (4, little-endian), code (16), body
//! ```
//!
//! A monitor whose acknowledgement does not come connects anew and repeats; so the receiver keeps
//! the ids that it has acted on.

mod frames;
mod listener;
mod sender;

use std::io;
use std::time::Duration;

use thiserror::Error;

#[doc(hidden)]
pub use listener::fuzz_link;
pub use listener::{Arrived, LinkListener};
pub use sender::LinkSender;

/// Bytes of the longest body.
pub const BODY_MAX: usize = 64 << 10;
/// How long connecting and proving may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Why a link ended.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The connection failed.
    #[error("threshold link: {0}")]
    Io(#[from] io::Error),
    /// Not a link, or another version of it.
    #[error("threshold link: the other side speaks another protocol")]
    Protocol,
    /// A code that does not hold: another key, or bytes that were changed.
    #[error("threshold link: wrong key; give both sides the same key file")]
    Forged,
    /// Over [`BODY_MAX`].
    #[error("threshold link: frame of {0} bytes")]
    TooLong(usize),
    /// Too slow.
    #[error("threshold link: not in time")]
    Late,
    /// No random bytes.
    #[error("threshold link: no random bytes: {0}")]
    Random(String),
}
