//! The bytes of a segment (`docs/formats/journal.md`).
//!
//! A segment is a header, then commits; a commit is a header, then its records' frames. All
//! numbers are little-endian. The checks of commits and frames have the epoch's salt and the
//! sequence mixed in, so neither stale bytes of another life nor a frame in the wrong place ever
//! pass. The salt is not the epoch's public random number: whoever can put bytes into a record
//! (a request's body) must not be able to make them look like a commit.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvedge_identity::{Epoch, ServerName};

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// A commit takes no further record once it holds this many bytes. So at most this much and one
/// record is ever in doubt.
pub(crate) const COMMIT_BYTES_MAX: usize = 4 << 20;

pub(crate) const SEGMENT_HEADER: usize = 128;
pub(crate) const COMMIT_HEADER: usize = 24;
pub(crate) const FRAME_HEADER: usize = 8;

/// The bytes that one commit can span at most.
pub(crate) const COMMIT_SPAN_MAX: u64 =
    (COMMIT_HEADER + COMMIT_BYTES_MAX + FRAME_HEADER + RECORD_BYTES_MAX) as u64;

const SEGMENT_MAGIC: &[u8; 8] = b"SELVJRNL";
pub(crate) const COMMIT_MAGIC: [u8; 4] = *b"SVCM";
const VERSION: u16 = 1;
const CHECK_AT: usize = SEGMENT_HEADER - 4;

/// What a segment's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) server: ServerName,
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) salt: Salt,
    pub(crate) created: SystemTime,
}

/// Mixed into every check of an epoch's segments; drawn at its start, shown nowhere but in the
/// segments and their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u64);

/// Why the first bytes of a file are not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Written by a later program: whole, but not to be read by this one.
    Version(u16),
    /// Torn, damaged or something else altogether.
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let created = self
            .created
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos() as u64;
        let name = self.server.as_str().as_bytes();
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(SEGMENT_HEADER as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.epoch.counter.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.random.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&created.to_le_bytes());
        bytes[40] = name.len() as u8;
        bytes[41..41 + name.len()].copy_from_slice(name);
        bytes[104..112].copy_from_slice(&self.salt.0.to_le_bytes());
        let check = crc32c::crc32c(&bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let bytes = bytes
            .first_chunk::<SEGMENT_HEADER>()
            .ok_or(HeaderFault::Damaged)?;
        if &bytes[..8] != SEGMENT_MAGIC
            || u32_at(bytes, CHECK_AT) != crc32c::crc32c(&bytes[..CHECK_AT])
        {
            return Err(HeaderFault::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let server = bytes
            .get(41..41 + usize::from(bytes[40]).min(ServerName::LENGTH_MAX))
            .and_then(|name| std::str::from_utf8(name).ok())
            .and_then(|name| ServerName::new(name).ok())
            .ok_or(HeaderFault::Damaged)?;
        Ok(Self {
            server,
            epoch: Epoch {
                counter: u32_at(bytes, 12),
                random: u64_at(bytes, 16),
            },
            first: u64_at(bytes, 24),
            salt: Salt(u64_at(bytes, 104)),
            created: UNIX_EPOCH + Duration::from_nanos(u64_at(bytes, 32)),
        })
    }
}

/// What a commit's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitHeader {
    /// Bytes of the frames that follow.
    pub(crate) bytes: u32,
    /// The first frame's sequence.
    pub(crate) first: u64,
    /// How many frames follow.
    pub(crate) records: u32,
}

impl CommitHeader {
    pub(crate) fn encode(&self, salt: Salt) -> [u8; COMMIT_HEADER] {
        let mut bytes = [0; COMMIT_HEADER];
        bytes[..4].copy_from_slice(&COMMIT_MAGIC);
        bytes[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        let check = Self::check(salt, &bytes[..20]);
        bytes[20..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(salt: Salt, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<COMMIT_HEADER>()?;
        if bytes[..4] != COMMIT_MAGIC || u32_at(bytes, 20) != Self::check(salt, &bytes[..20]) {
            return None;
        }
        let header = Self {
            bytes: u32_at(bytes, 4),
            first: u64_at(bytes, 8),
            records: u32_at(bytes, 16),
        };
        // A right check over values that the writer never writes: not ours.
        let frames_min = u64::from(header.records) * (FRAME_HEADER as u64 + 1);
        let sane = header.records > 0
            && frames_min <= u64::from(header.bytes)
            && u64::from(header.bytes) <= COMMIT_SPAN_MAX
            && header
                .first
                .checked_add(u64::from(header.records))
                .is_some();
        sane.then_some(header)
    }

    fn check(salt: Salt, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&salt.0.to_le_bytes()), bytes)
    }
}

/// Appends a record's frame.
pub(crate) fn put_frame(into: &mut Vec<u8>, salt: Salt, sequence: u64, payload: &[u8]) {
    let length = payload.len() as u32;
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(&frame_check(salt, sequence, payload).to_le_bytes());
    into.extend_from_slice(payload);
}

/// The length and the check of a frame's header.
pub(crate) fn frame_header(bytes: &[u8; FRAME_HEADER]) -> (usize, u32) {
    (u32_at(bytes, 0) as usize, u32_at(bytes, 4))
}

/// The check of a record.
pub(crate) fn frame_check(salt: Salt, sequence: u64, payload: &[u8]) -> u32 {
    let mut seed = [0; 20];
    seed[..8].copy_from_slice(&salt.0.to_le_bytes());
    seed[8..16].copy_from_slice(&sequence.to_le_bytes());
    seed[16..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), payload)
}

/// What a segment's file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) salt: Salt,
}

impl SegmentName {
    /// Reads a file name; `None` if it is no segment's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".journal")?.split('-');
        let epoch = Epoch {
            counter: parts.next()?.parse().ok()?,
            random: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        let parsed = Self {
            epoch,
            first: parts.next()?.parse().ok()?,
            salt: Salt(u64::from_str_radix(parts.next()?, 16).ok()?),
        };
        // Only the one spelling that is written.
        (parsed.to_string() == name).then_some(parsed)
    }

    /// As [`SegmentName::parse`], of a path's last part.
    pub(crate) fn parse_path(path: &Path) -> Option<Self> {
        Self::parse(path.file_name()?.to_str()?)
    }
}

impl fmt::Display for SegmentName {
    /// `<epoch counter>-<epoch random>-<first sequence>-<salt>.journal`, padded, so that names
    /// sort as the records do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Epoch { counter, random } = self.epoch;
        let (first, salt) = (self.first, self.salt.0);
        write!(
            f,
            "{counter:010}-{random:016x}-{first:020}-{salt:016x}.journal"
        )
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch {
        counter: 3,
        random: 0x9f8e_7d6c_5b4a_3f2e,
    };

    #[test]
    fn segment_header_survives_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader {
            server: ServerName::new("content-1").unwrap(),
            epoch: EPOCH,
            first: 77,
            salt: Salt(99),
            created: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Damaged));
        }
    }

    #[test]
    fn commit_header_of_another_salt_is_refused() {
        let header = CommitHeader {
            bytes: 100,
            first: 5,
            records: 2,
        };
        let bytes = header.encode(Salt(1));
        assert_eq!(CommitHeader::decode(Salt(1), &bytes), Some(header));
        assert_eq!(CommitHeader::decode(Salt(2), &bytes), None);
    }

    #[test]
    fn a_frame_holds_only_for_its_salt_sequence_and_length() {
        let check = frame_check(Salt(1), 2, b"payload");
        assert_ne!(check, frame_check(Salt(2), 2, b"payload"));
        assert_ne!(check, frame_check(Salt(1), 3, b"payload"));
        assert_ne!(check, frame_check(Salt(1), 2, b"payloa"));
    }

    #[test]
    fn names_sort_as_records_do_and_only_ours_parse() {
        let names = [(1, 0), (1, 9), (1, 10), (2, 0), (10, 0)].map(|(counter, first)| {
            let epoch = Epoch { counter, random: 7 };
            let name = SegmentName {
                epoch,
                first,
                salt: Salt(u64::MAX),
            };
            assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
            name.to_string()
        });
        assert!(names.is_sorted());
        for name in ["lock", "x.journal", "1-2-3-4.journal", ""] {
            assert_eq!(SegmentName::parse(name), None);
        }
    }
}
