//! A log of frames, each whole or not there (docs/formats/monitor.md).

use std::io;
use std::path::Path;
use std::sync::Arc;

use selvedge_journal::{File, Storage};

use crate::disk;

/// Before the frames: what this is, and the version of its form; then the log's number.
const MAGIC: &[u8; 8] = b"svmlog\0\x01";
const HEAD: usize = MAGIC.len() + 8;
/// Bytes of the longest log that is read; it is begun anew long before.
const BYTES_MAX: u64 = 3 << 30;

/// A log that is being written.
pub(crate) struct LogFile {
    file: Arc<dyn File>,
    bytes: u64,
}

impl LogFile {
    /// Begins a log anew.
    pub(crate) fn create(storage: &dyn Storage, path: &Path, number: u64) -> io::Result<Self> {
        let file = disk::create(storage, path)?;
        disk::write_durably(&*file, 0, &[MAGIC, &number.to_le_bytes()])?;
        Ok(Self {
            file,
            bytes: HEAD as u64,
        })
    }

    pub(crate) fn append(&mut self, frames: &[u8], durable: bool) -> io::Result<()> {
        self.file.write_at(self.bytes, frames)?;
        self.bytes += frames.len() as u64;
        if durable {
            self.file.sync_data()?;
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bodies of the log of this number, up to the first frame that is not whole; none if it
    /// is another's.
    pub(crate) fn read(
        storage: &dyn Storage,
        path: &Path,
        number: u64,
    ) -> io::Result<Vec<Vec<u8>>> {
        let bytes = disk::read(storage, path, BYTES_MAX)?;
        Ok(bodies(&bytes.unwrap_or_default(), number))
    }
}

/// Puts a frame behind others.
pub(crate) fn put_frame(frames: &mut Vec<u8>, number: u64, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    frames.extend_from_slice(&length.to_le_bytes());
    frames.extend_from_slice(&checksum(number, body).to_le_bytes());
    frames.extend_from_slice(body);
}

fn bodies(bytes: &[u8], number: u64) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let Some((head, mut rest)) = bytes.split_at_checked(HEAD) else {
        return bodies;
    };
    if head[..MAGIC.len()] != *MAGIC || head[MAGIC.len()..] != number.to_le_bytes() {
        return bodies;
    }
    while let Some((length, after)) = rest.split_first_chunk::<4>()
        && let Some((sum, after)) = after.split_first_chunk::<4>()
        && let Some((body, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize)
        && *sum == checksum(number, body).to_le_bytes()
    {
        bodies.push(body.to_vec());
        rest = after;
    }
    bodies
}

/// Of the number too: a frame of an earlier log is never one of this.
fn checksum(number: u64, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cut_or_changed_anywhere_gives_its_whole_frames_before_that() {
        let mut log = [MAGIC.as_slice(), &7_u64.to_le_bytes()].concat();
        let mut ends = vec![log.len()];
        for body in [b"one".as_slice(), b"", b"three"] {
            put_frame(&mut log, 7, body);
            ends.push(log.len());
        }
        let whole = bodies(&log, 7);
        assert_eq!(whole, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
        assert!(bodies(&log, 8).is_empty(), "another state's log");
        for at in 0..log.len() {
            let frames = ends.iter().filter(|end| **end <= at).count();
            let expected = &whole[..frames.saturating_sub(1)];
            assert_eq!(bodies(&log[..at], 7), expected, "cut at {at}");
            let mut changed = log.clone();
            changed[at] ^= 0x10;
            let found = bodies(&changed, 7);
            assert!(found.len() <= expected.len(), "changed at {at}");
            assert_eq!(found, whole[..found.len()], "changed at {at}");
        }
    }
}
