//! The monitor's disk: its whole state in one file, and in another what happened since.
//!
//! **Problem.** A crossing is on the disk before it is told, within milliseconds; the whole state
//! may be a hundred megabytes.
//!
//! **Idea.** What happens is appended to a log, and a crossing waits for one fdatasync of that.
//! Now and then the state is written as a whole; the log then begins anew. Both bear the number of
//! that writing, so a log is never taken for that of another state.
//!
//! **Limits.** One monitor a folder: it holds a lock. Whoever reads has both files in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_journal::{Lock, Storage};

use crate::log::LogFile;
use crate::state_file::StateFile;

/// A log that is shorter is never worth writing the whole state for.
const LOG_BYTES_MIN: u64 = 8 << 20;

/// What a folder held.
pub(crate) struct Found {
    pub(crate) state: Vec<u8>,
    /// What happened since, in order.
    pub(crate) since: Vec<Vec<u8>>,
}

/// What is to be written.
pub(crate) enum Write {
    /// Frames of the log; `durable`: so that a crash of the host does not undo them.
    More { frames: Vec<u8>, durable: bool },
    /// The whole state, in place of all before.
    Whole { number: u64, state: Vec<u8> },
}

/// A monitor's folder, of which it is the only writer.
pub(crate) struct Store {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    file: StateFile,
    log: Option<LogFile>,
    state_bytes: u64,
    /// Held for as long as this lives.
    _lock: Box<dyn Lock>,
}

impl Store {
    /// Takes the folder; `None` while another monitor has it.
    pub(crate) fn open(storage: Arc<dyn Storage>, folder: &Path) -> io::Result<Option<Self>> {
        storage.create_dir(folder)?;
        let lock = match storage.lock(&folder.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            storage,
            folder: folder.to_owned(),
            file: StateFile::new(folder.join("thresholds")),
            log: None,
            state_bytes: 0,
            _lock: lock,
        }))
    }

    /// Where the whole state is.
    pub(crate) fn state_path(&self) -> &Path {
        self.file.path()
    }

    /// What was written last, and its number; `None` if nothing ever was.
    pub(crate) fn read(&self) -> io::Result<Option<(u64, Found)>> {
        let Some((number, state)) = self.file.read(&*self.storage)? else {
            return Ok(None);
        };
        let since = LogFile::read(&*self.storage, &self.log_path(), number)?;
        Ok(Some((number, Found { state, since })))
    }

    /// Writes. After an error only [`Write::Whole`] may follow: how the log ends is not known.
    pub(crate) fn write(&mut self, write: &Write) -> io::Result<()> {
        match write {
            Write::More { frames, durable } => match &mut self.log {
                Some(log) => log.append(frames, *durable),
                None => Err(io::Error::other("no state that the log could follow")),
            },
            Write::Whole { number, state } => {
                self.log = None;
                let storage = &*self.storage;
                self.file.write(storage, *number, state)?;
                let log = LogFile::create(storage, &self.log_path(), *number)?;
                // The log's name, too, survives a crash of the host.
                storage.sync_dir(&self.folder)?;
                self.log = Some(log);
                self.state_bytes = state.len() as u64;
                Ok(())
            }
        }
    }

    /// Whether the log has become so long that the whole state is worth writing.
    pub(crate) fn is_long(&self) -> bool {
        let long = LOG_BYTES_MIN.max(2 * self.state_bytes);
        self.log.as_ref().is_none_or(|log| log.bytes() > long)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("thresholds.log")
    }
}
