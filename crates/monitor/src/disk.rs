//! Where a monitor keeps its state, and who waits for that.

use std::io;
use std::path::Path;
use std::sync::Arc;

use selvedge_journal::{DiskStorage, File, Storage};

/// Work that waits for files.
pub type Aside = Box<dyn FnOnce() + Send>;

/// A monitor's files, and how it writes them while it goes on.
#[derive(Clone)]
pub struct Disk {
    /// The files.
    pub storage: Arc<dyn Storage>,
    /// Does such work beside the caller, which goes on at once. Default: on the runtime's threads
    /// that may block.
    pub aside: Arc<dyn Fn(Aside) + Send + Sync>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            storage: Arc::new(DiskStorage),
            aside: Arc::new(|work| drop(tokio::task::spawn_blocking(work))),
        }
    }
}

/// An empty file of this name, in place of what was there.
pub(crate) fn create(storage: &dyn Storage, path: &Path) -> io::Result<Arc<dyn File>> {
    match storage.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = storage.open_writable(path)?;
            file.truncate(0)?;
            Ok(file)
        }
        created => created,
    }
}

/// A file's bytes, of a long one the first `bytes_max` and one more; `None` if there is no file.
pub(crate) fn read(
    storage: &dyn Storage,
    path: &Path,
    bytes_max: u64,
) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.bytes()?.min(bytes_max.saturating_add(1));
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes all of it from `at` on, and makes that survive a crash of the host.
pub(crate) fn write_durably(file: &dyn File, mut at: u64, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        file.write_at(at, part)?;
        at += part.len() as u64;
    }
    file.sync_data()
}
