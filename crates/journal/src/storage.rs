//! The few things a journal, and whoever else keeps files, asks of a disk.
//!
//! Behind a trait, so that tests and the simulation can put a disk there that forgets what was
//! not synced, tears writes and fills up ([`FaultyStorage`](crate::testing::FaultyStorage)).

use std::io;
use std::path::Path;
use std::sync::Arc;

/// A place for files.
pub trait Storage: Send + Sync + 'static {
    /// Creates the folder and its parents; fine if it is there.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of this path (creating the file), until the answer is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while someone else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// The names of the files in the folder, in no order.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates an empty file, open for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if it is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the operating system says.
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name within its folder, in place of the file that has it: whenever a
    /// crash comes, that name is the old file's or the new one's.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the folder's list of files durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Many may read while one writes.
pub trait File: Send + Sync {
    /// Reads up to `into.len()` bytes from `offset`; fewer than asked only at the end of the
    /// file.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at `offset`, growing the file where needed. After an error any part of
    /// them may have been written.
    ///
    /// # Errors
    /// What the operating system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Takes space up to `end` and grows the file to it; new bytes read as zero.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`]; [`io::ErrorKind::Unsupported`] where the file system
    /// cannot.
    fn allocate(&self, end: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the operating system says; what had been written is then in doubt for good.
    fn sync_data(&self) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn bytes(&self) -> io::Result<u64>;
}

/// A held lock; dropping it releases it.
pub trait Lock: Send + Sync {}
