//! A file that is replaced as a whole: after a crash it holds the old or the new, never a mixture
//! (docs/formats/monitor.md).

use std::io;
use std::path::{Path, PathBuf};

use selvedge_journal::Storage;

use crate::disk;

/// Before the bytes: what this is, and the version of its form.
const MAGIC: &[u8; 8] = b"svmon\0\0\x02";
/// The magic, the number and the checksum.
const HEAD: usize = MAGIC.len() + 8 + 4;
/// Bytes of the longest state that is read.
const BYTES_MAX: u64 = 1 << 30;

/// A state file.
#[derive(Clone, Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes that were written last, and their number; `None` if none ever were.
    pub(crate) fn read(&self, storage: &dyn Storage) -> io::Result<Option<(u64, Vec<u8>)>> {
        let damaged = |what: &str| {
            let message = format!("{what}; move the file away to begin anew");
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let Some(bytes) = disk::read(storage, &self.path, BYTES_MAX)? else {
            return Ok(None);
        };
        if bytes.len() as u64 > BYTES_MAX {
            return Err(damaged("too large"));
        }
        let Some((head, state)) = bytes.split_first_chunk::<HEAD>() else {
            return Err(damaged("cut off"));
        };
        let (magic, rest) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("not the state of a monitor of this version"));
        }
        let (number, sum) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], rest));
        let number = u64::from_le_bytes(*number);
        if sum != checksum(number, state).to_le_bytes() {
            return Err(damaged("damaged"));
        }
        Ok(Some((number, state.to_vec())))
    }

    /// Replaces the file; when it returns, a crash of the host does not undo it.
    pub(crate) fn write(&self, storage: &dyn Storage, number: u64, state: &[u8]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let new = self.path.with_extension("new");
        let file = disk::create(storage, &new)?;
        let sum = checksum(number, state).to_le_bytes();
        disk::write_durably(&*file, 0, &[MAGIC, &number.to_le_bytes(), &sum, state])?;
        storage.rename(&new, &self.path)?;
        storage.sync_dir(folder)
    }
}

fn checksum(number: u64, state: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), state)
}
