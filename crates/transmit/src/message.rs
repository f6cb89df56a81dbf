//! A broadcast with its place in its server's journal, which names it: what is sent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use selvedge_identity::{Epoch, Position, ServerName};

use crate::Broadcast;
use crate::read::{array, take};

/// A broadcast as it is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Where its record stands: a name that no other broadcast has.
    pub position: Position,
    /// What is said.
    pub broadcast: Broadcast,
}

impl Message {
    /// The longest, in bytes.
    pub const BYTES_MAX: usize = 1 + ServerName::LENGTH_MAX + 4 + 8 + 8 + Broadcast::BYTES_MAX;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Position {
            server,
            epoch,
            sequence,
        } = &self.position;
        let mut out = Vec::with_capacity(256 + self.broadcast.content().len());
        out.push(server.as_str().len() as u8);
        out.extend_from_slice(server.as_str().as_bytes());
        out.extend_from_slice(&epoch.counter.to_be_bytes());
        out.extend_from_slice(&epoch.random.to_be_bytes());
        out.extend_from_slice(&sequence.to_be_bytes());
        self.broadcast.encode(&mut out);
        out.into()
    }

    /// Its bytes in base64, for where text is carried.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.encode())
    }

    /// Reads what [`Message::to_base64`] wrote.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Self::decode(&STANDARD.decode(text).ok()?.into())
    }

    /// Reads bytes that are a message and nothing more.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let mut rest = &bytes[..];
        let [length] = array(&mut rest)?;
        let server = std::str::from_utf8(take(&mut rest, length.into())?).ok()?;
        let position = Position {
            server: ServerName::new(server).ok()?,
            epoch: Epoch {
                counter: u32::from_be_bytes(array(&mut rest)?),
                random: u64::from_be_bytes(array(&mut rest)?),
            },
            sequence: u64::from_be_bytes(array(&mut rest)?),
        };
        let broadcast = Broadcast::decode(&bytes.slice_ref(rest))?;
        Some(Self {
            position,
            broadcast,
        })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broadcast = &self.broadcast;
        write!(
            f,
            "Message({}, {}, {} bytes, {} addressed)",
            self.position,
            broadcast.content_type(),
            broadcast.content().len(),
            broadcast.addressed()
        )
    }
}
