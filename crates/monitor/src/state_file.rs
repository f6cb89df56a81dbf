//! A file that is replaced as a whole: after a crash it holds the old or the new, never a mixture.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Before the bytes: what this is, and the version of its form.
const MAGIC: &[u8; 8] = b"svmon\0\0\x01";
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

    /// The bytes that were written last; `None` if none ever were.
    pub(crate) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let damaged = |what: &str| {
            let message = format!("{what}; move the file away to begin anew");
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let length = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if length > BYTES_MAX {
            return Err(damaged("too large"));
        }
        let bytes = std::fs::read(&self.path)?;
        let Some((head, state)) = bytes.split_at_checked(MAGIC.len() + 4) else {
            return Err(damaged("cut off"));
        };
        if head[..MAGIC.len()] != *MAGIC {
            return Err(damaged("not the state of a monitor of this version"));
        }
        if head[MAGIC.len()..] != crc32c::crc32c(state).to_le_bytes() {
            return Err(damaged("damaged"));
        }
        Ok(Some(state.to_vec()))
    }

    /// Replaces the file; when it returns, a crash of the host does not undo it.
    pub(crate) fn write(&self, state: &[u8]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(MAGIC)?;
        file.write_all(&crc32c::crc32c(state).to_le_bytes())?;
        file.write_all(state)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}
