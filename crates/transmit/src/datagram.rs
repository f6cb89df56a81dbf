//! A message cut into datagrams.
//!
//! Every datagram names the whole that it is a part of by a digest, so that parts of different
//! messages never mix, whoever sent them, and a whole that is put together wrongly is noticed. The
//! checksum spares a receiver the work on what was damaged on its way; it proves nothing.

use thiserror::Error;

use crate::Message;
use crate::read::{array, take};

/// The longest datagram that UDP over IPv4 carries.
pub const DATAGRAM_MAX: usize = 65_507;
/// The shortest that a message may be cut for, header and all.
pub const DATAGRAM_MIN: usize = HEADER + PART_MIN;

/// `SVB` and the version.
const MAGIC: [u8; 4] = *b"SVB\x01";
const HEADER: usize = 4 + 4 + 8 + 8 + 16 + 4 + 2 + 2;
/// Parts may not be smaller, so that nobody makes a receiver keep a list of very many.
const PART_MIN: usize = 256;

/// What a part is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Whole {
    /// The first 16 bytes of the BLAKE3 hash of the message.
    pub digest: [u8; 16],
    /// Bytes of the message.
    pub length: u32,
    /// Bytes of every part but the last.
    pub part: u16,
}

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// One run of a sender, by chance.
    pub sender: u64,
    /// The message's number among those of its sender, from 0, with none left out: so a receiver
    /// knows what it missed.
    pub number: u64,
    /// What it is a part of.
    pub whole: Whole,
    /// Which part, from 0.
    pub index: u16,
    /// The part.
    pub bytes: &'a [u8],
}

/// What is no datagram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DatagramError {
    /// Too short, or not of our form or version.
    #[error("not a datagram of a broadcast")]
    Foreign,
    /// The checksum does not hold.
    #[error("damaged datagram")]
    Damaged,
    /// Sizes that do not fit together, or a message that is too long.
    #[error("datagram with sizes that cannot be")]
    Sizes,
}

impl Whole {
    /// How many parts it has.
    #[must_use]
    pub fn parts(&self) -> usize {
        (self.length as usize).div_ceil(self.part.into())
    }

    /// Where a part lies in it; `None` if it has no such part.
    pub(crate) fn range(&self, index: u16) -> Option<std::ops::Range<usize>> {
        let (length, part) = (self.length as usize, usize::from(self.part));
        let start = usize::from(index) * part;
        (start < length).then(|| start..length.min(start + part))
    }

    /// The digest of a message.
    pub(crate) fn digest(message: &[u8]) -> [u8; 16] {
        let hash = blake3::hash(message);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.as_bytes()[..16]);
        digest
    }
}

/// Cuts a message into datagrams of at most `size` bytes each ([`DATAGRAM_MIN`] to
/// [`DATAGRAM_MAX`]).
#[must_use]
pub fn cut(sender: u64, number: u64, message: &[u8], size: usize) -> Vec<Vec<u8>> {
    let size = size.clamp(DATAGRAM_MIN, DATAGRAM_MAX);
    let whole = Whole {
        digest: Whole::digest(message),
        length: message.len() as u32,
        part: (size - HEADER) as u16,
    };
    let parts = message.chunks(whole.part.into());
    let datagrams = (0..).zip(parts).map(|(index, bytes)| Datagram {
        sender,
        number,
        whole,
        index,
        bytes,
    });
    datagrams.map(|datagram| datagram.encode()).collect()
}

impl<'a> Datagram<'a> {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.bytes.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.sender.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.whole.digest);
        out.extend_from_slice(&self.whole.length.to_be_bytes());
        out.extend_from_slice(&self.whole.part.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(self.bytes);
        let check = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&check.to_be_bytes());
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let mut rest = bytes;
        if take(&mut rest, MAGIC.len()) != Some(&MAGIC) || bytes.len() < HEADER {
            return Err(DatagramError::Foreign);
        }
        let check = array(&mut rest).map(u32::from_be_bytes);
        if check != Some(crc32c::crc32c(rest)) {
            return Err(DatagramError::Damaged);
        }
        let datagram = Self::fields(rest).ok_or(DatagramError::Foreign)?;
        let Whole { length, part, .. } = datagram.whole;
        let room = length as usize <= Message::BYTES_MAX && usize::from(part) >= PART_MIN;
        let range = datagram.whole.range(datagram.index).filter(|_| room);
        match range {
            Some(range) if range.len() == datagram.bytes.len() => Ok(datagram),
            _ => Err(DatagramError::Sizes),
        }
    }

    fn fields(mut rest: &'a [u8]) -> Option<Self> {
        Some(Self {
            sender: u64::from_be_bytes(array(&mut rest)?),
            number: u64::from_be_bytes(array(&mut rest)?),
            whole: Whole {
                digest: array(&mut rest)?,
                length: u32::from_be_bytes(array(&mut rest)?),
                part: u16::from_be_bytes(array(&mut rest)?),
            },
            index: u16::from_be_bytes(array(&mut rest)?),
            bytes: rest,
        })
    }
}
