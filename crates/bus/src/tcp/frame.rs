//! One frame of a link: twelve bytes of header, then the body (`docs/formats/bus.md`).
//!
//! The checksum covers the body first and the header's other fields after it, so that a batch's
//! body, checksummed once, goes out on any number of links and channels.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The format's version: a link whose sides differ is refused.
pub(crate) const VERSION: u8 = 3;
/// Bytes of a header.
pub(crate) const HEADER: usize = 12;
/// The longest body.
pub(crate) const BODY_MAX: usize = 16 * 1024 * 1024;
/// The longest body before both sides have proven themselves.
pub(crate) const HANDSHAKE_BODY_MAX: usize = 256;

/// A frame, ready to be sent or as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    /// Which publisher or subscription of the link it is about; 0 for the link itself.
    pub(crate) channel: u16,
    pub(crate) body: Bytes,
    /// CRC-32C of the body alone.
    pub(crate) body_crc: u32,
}

/// Why a frame could not be read.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("frame of {0} bytes")]
    Length(usize),
    #[error("protocol version {0}, here it is {VERSION}")]
    Version(u8),
    #[error("checksum does not hold")]
    Checksum,
    #[error("{0}")]
    Content(&'static str),
    #[error("silent for too long")]
    Idle,
    #[error("connection ended")]
    Ended,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl FrameError {
    /// Whether the other side sent something wrong (and did not merely go away).
    pub(crate) fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Length(_) | Self::Version(_) | Self::Checksum | Self::Content(_)
        )
    }
}

impl Frame {
    pub(crate) fn new(kind: u8, channel: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let body_crc = crc32c::crc32c(&body);
        Self {
            kind,
            channel,
            body,
            body_crc,
        }
    }

    /// What it takes on the wire.
    pub(crate) fn cost(&self) -> usize {
        HEADER + self.body.len()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut header = [0; 8];
        header[..4].copy_from_slice(&(self.body.len() as u32).to_le_bytes());
        header[4] = VERSION;
        header[5] = self.kind;
        header[6..].copy_from_slice(&self.channel.to_le_bytes());
        out.put_slice(&header);
        out.put_u32_le(crc32c::crc32c_append(self.body_crc, &header));
        out.put_slice(&self.body);
    }
}

/// Reads one frame with a body of at most `body_max` bytes; `idle` bounds every wait for bytes.
pub(crate) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    body_max: usize,
    idle: Duration,
) -> Result<Frame, FrameError> {
    let mut header = [0; HEADER];
    fill(from, &mut header, idle).await?;
    let parsed = Header::parse(&header, body_max)?;
    let mut body = vec![0; parsed.length];
    fill(from, &mut body, idle).await?;
    parsed.check(body.into())
}

/// Reads one frame at the start of `bytes`, for tests and fuzzing.
pub(crate) fn parse(bytes: &[u8], body_max: usize) -> Result<Frame, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(FrameError::Ended);
    };
    let parsed = Header::parse(header, body_max)?;
    let body = rest.get(..parsed.length).ok_or(FrameError::Ended)?;
    parsed.check(Bytes::copy_from_slice(body))
}

struct Header {
    length: usize,
    kind: u8,
    channel: u16,
    checked: [u8; 8],
    crc: u32,
}

impl Header {
    fn parse(bytes: &[u8; HEADER], body_max: usize) -> Result<Self, FrameError> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let length = u32::from_le_bytes(word(0)) as usize;
        if bytes[4] != VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        if length > body_max {
            return Err(FrameError::Length(length));
        }
        let mut checked = [0; 8];
        checked.copy_from_slice(&bytes[..8]);
        Ok(Self {
            length,
            kind: bytes[5],
            channel: u16::from_le_bytes([bytes[6], bytes[7]]),
            checked,
            crc: u32::from_le_bytes(word(8)),
        })
    }

    fn check(&self, body: Bytes) -> Result<Frame, FrameError> {
        let body_crc = crc32c::crc32c(&body);
        if crc32c::crc32c_append(body_crc, &self.checked) != self.crc {
            return Err(FrameError::Checksum);
        }
        Ok(Frame {
            kind: self.kind,
            channel: self.channel,
            body,
            body_crc,
        })
    }
}

async fn fill(
    from: &mut (impl AsyncRead + Unpin),
    mut into: &mut [u8],
    idle: Duration,
) -> Result<(), FrameError> {
    while !into.is_empty() {
        let read = tokio::time::timeout(idle, from.read(into))
            .await
            .map_err(|_| FrameError::Idle)??;
        if read == 0 {
            return Err(FrameError::Ended);
        }
        into = &mut into[read..];
    }
    Ok(())
}
