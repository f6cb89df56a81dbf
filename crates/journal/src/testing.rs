//! A disk in memory that fails the way real ones do, and always the same way for the same seed.
//!
//! It keeps what was synced apart from what was only written. A crash forgets the rest, all of it
//! or a random part, by sectors and torn inside of them. It can be full, and it can fail a sync;
//! after a failed sync, as on Linux, the bytes still read back but no later sync brings them to
//! the disk unless they are written again. Files that were made or removed without a sync of
//! their folder may be gone or back after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{File, Lock, Storage};

/// The unit in which unsynced bytes survive a crash.
const SECTOR: usize = 512;

/// What a crash does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed; the operating system lives: nothing is forgotten.
    Process,
    /// The machine stopped before anything unsynced reached the disk.
    Forget,
    /// The machine stopped while it was writing: of each unsynced sector all, none or a part is
    /// there, as the seed says; the same for lengths and names.
    Torn {
        /// Chooses.
        seed: u64,
    },
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    /// Counts crashes: handles of an earlier life are dead.
    life: u64,
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    locks: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    failing_writes: u32,
    failing_syncs: u32,
    failing_truncates: u32,
    lying: bool,
    syncs: u64,
}

#[derive(Default)]
struct Node {
    /// What reads see.
    written: Vec<u8>,
    /// What is on the disk.
    synced: Vec<u8>,
    /// Sectors that the next sync brings to the disk.
    dirty: BTreeSet<usize>,
}

impl FaultyStorage {
    /// An empty disk without limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everyone who uses the disk is gone: their handles fail from now on, their locks are free.
    pub fn crash(&self, crash: Crash) {
        let mut disk = self.lock_disk();
        disk.life += 1;
        disk.locks.clear();
        disk.failing_writes = 0;
        disk.failing_syncs = 0;
        disk.failing_truncates = 0;
        match crash {
            Crash::Process => {}
            Crash::Forget => disk.lose(&mut |_| 0),
            Crash::Torn { seed } => {
                let mut random = Random(seed);
                disk.lose(&mut |choices| random.below(choices));
            }
        }
    }

    /// Limits the sum of all files' lengths, in bytes; `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock_disk().capacity = bytes;
    }

    /// The disk takes no further byte (`true`), or is without limit again.
    pub fn set_full(&self, full: bool) {
        let mut disk = self.lock_disk();
        disk.capacity = full.then(|| disk.used());
    }

    /// The next `count` writes fail after half of their bytes.
    pub fn fail_writes(&self, count: u32) {
        self.lock_disk().failing_writes = count;
    }

    /// The next `count` syncs of files fail and leave their bytes in doubt.
    pub fn fail_syncs(&self, count: u32) {
        self.lock_disk().failing_syncs = count;
    }

    /// The next `count` truncations fail.
    pub fn fail_truncates(&self, count: u32) {
        self.lock_disk().failing_truncates = count;
    }

    /// From now on no sync does anything, and each says that it went well.
    pub fn lie_about_syncs(&self) {
        self.lock_disk().lying = true;
    }

    /// How many syncs of files went well so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock_disk().syncs
    }

    /// What a file reads as; `None` if there is none.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.lock_disk();
        let node = disk.names.get(path)?;
        Some(disk.nodes.get(node)?.written.clone())
    }

    /// Puts a file there, durably.
    pub fn set_contents(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.lock_disk();
        let node = disk.add_node(Node {
            synced: bytes.clone(),
            written: bytes,
            dirty: BTreeSet::new(),
        });
        disk.names.insert(path.to_path_buf(), node);
        disk.synced_names.insert(path.to_path_buf(), node);
    }

    /// All files, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock_disk().names.keys().cloned().collect()
    }

    fn lock_disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.lock_disk();
        let node = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultyFile {
            storage: self.clone(),
            node,
            life: disk.life,
        }))
    }
}

impl Disk {
    fn add_node(&mut self, node: Node) -> u64 {
        self.next_node += 1;
        self.nodes.insert(self.next_node, node);
        self.next_node
    }

    fn used(&self) -> u64 {
        let lengths = self.names.values().filter_map(|node| self.nodes.get(node));
        lengths.map(|node| node.written.len() as u64).sum()
    }

    /// How many more bytes there is room for.
    fn room(&self) -> u64 {
        self.capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Back to what was synced, and of the rest what `choose` keeps: it answers a number below
    /// its argument, 0 for the old state.
    fn lose(&mut self, choose: &mut dyn FnMut(usize) -> usize) {
        let paths: BTreeSet<PathBuf> = self
            .names
            .keys()
            .chain(self.synced_names.keys())
            .cloned()
            .collect();
        let mut names = BTreeMap::new();
        for path in paths {
            let (old, new) = (self.synced_names.get(&path), self.names.get(&path));
            let kept = if old == new || choose(2) == 0 {
                old
            } else {
                new
            };
            if let Some(node) = kept {
                names.insert(path, *node);
            }
        }
        // A file that was renamed has one of its names, not both.
        for (path, node) in &self.names {
            if names.get(path) == Some(node) {
                names.retain(|other, same| same != node || other == path);
            }
        }
        for node in self.nodes.values_mut() {
            node.lose(choose);
        }
        self.synced_names.clone_from(&names);
        self.names = names;
    }
}

impl Node {
    fn resize(&mut self, bytes: usize) {
        let (shorter, longer) = (bytes.min(self.written.len()), bytes.max(self.written.len()));
        self.written.resize(bytes, 0);
        self.touch(shorter, longer);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.written.len() < end {
            self.resize(end);
        }
        self.written[offset..end].copy_from_slice(bytes);
        self.touch(offset, end);
    }

    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.synced.resize(self.written.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = sector_range(sector, self.written.len());
            self.synced[start..end].copy_from_slice(&self.written[start..end]);
        }
    }

    fn lose(&mut self, choose: &mut dyn FnMut(usize) -> usize) {
        let length_changed = self.synced.len() != self.written.len();
        let mut left = self.synced.clone();
        if length_changed && choose(2) != 0 {
            left.resize(self.written.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = sector_range(sector, left.len().min(self.written.len()));
            // None, all, or the first bytes of it.
            let kept = match choose(4) {
                0 | 1 => 0,
                2 => end - start,
                _ => choose(end - start + 1),
            };
            left[start..start + kept].copy_from_slice(&self.written[start..start + kept]);
        }
        self.written.clone_from(&left);
        self.synced = left;
    }
}

fn sector_range(sector: usize, bytes: usize) -> (usize, usize) {
    let start = (sector * SECTOR).min(bytes);
    (start, (start + SECTOR).min(bytes))
}

impl Storage for FaultyStorage {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.lock_disk();
        if !disk.locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultyLock {
            storage: self.clone(),
            path: path.to_path_buf(),
            life: disk.life,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.lock_disk();
        let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.lock_disk();
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = disk.add_node(Node::default());
        disk.names.insert(path.to_path_buf(), node);
        drop(disk);
        self.handle(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.handle(path)
    }

    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.handle(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.lock_disk().names.remove(path);
        removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock_disk();
        let node = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_path_buf(), node);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.lock_disk();
        let disk = &mut *disk;
        if disk.lying {
            return Ok(());
        }
        disk.synced_names
            .retain(|path, _| path.parent() != Some(dir));
        for (path, node) in &disk.names {
            if path.parent() == Some(dir) {
                disk.synced_names.insert(path.clone(), *node);
            }
        }
        Ok(())
    }
}

struct FaultyFile {
    storage: FaultyStorage,
    node: u64,
    life: u64,
}

impl FaultyFile {
    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.storage.lock_disk();
        if disk.life != self.life {
            return Err(io::Error::other("handle of an earlier life"));
        }
        act(&mut disk)
    }

    fn with_node<T>(&self, act: impl FnOnce(&mut Node) -> io::Result<T>) -> io::Result<T> {
        self.with(|disk| act(disk.node(self.node)?))
    }
}

impl Disk {
    fn node(&mut self, node: u64) -> io::Result<&mut Node> {
        self.nodes
            .get_mut(&node)
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with_node(|node| {
            let from = node.written.get(offset as usize..).unwrap_or_default();
            let read = from.len().min(into.len());
            into[..read].copy_from_slice(&from[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|disk| {
            let (room, failing) = (disk.room(), disk.failing_writes > 0);
            disk.failing_writes = disk.failing_writes.saturating_sub(1);
            let node = disk.node(self.node)?;
            let room = room.saturating_add(node.written.len() as u64);
            let fits = room.saturating_sub(offset).min(bytes.len() as u64) as usize;
            if failing {
                node.write(offset as usize, &bytes[..fits.min(bytes.len() / 2)]);
                return Err(io::Error::other("write failed by the test"));
            }
            node.write(offset as usize, &bytes[..fits]);
            if fits < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn allocate(&self, end: u64) -> io::Result<()> {
        self.with(|disk| {
            let room = disk.room();
            let node = disk.node(self.node)?;
            let more = end.saturating_sub(node.written.len() as u64);
            if more > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if more > 0 {
                node.resize(end as usize);
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| {
            if disk.lying {
                return Ok(());
            }
            let failing = disk.failing_syncs > 0;
            disk.failing_syncs = disk.failing_syncs.saturating_sub(1);
            let node = disk.node(self.node)?;
            if failing {
                node.dirty.clear();
                return Err(io::Error::other("sync failed by the test"));
            }
            node.sync();
            disk.syncs += 1;
            Ok(())
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(|disk| {
            let failing = disk.failing_truncates > 0;
            disk.failing_truncates = disk.failing_truncates.saturating_sub(1);
            if failing {
                return Err(io::Error::other("truncation failed by the test"));
            }
            disk.node(self.node)?.resize(bytes as usize);
            Ok(())
        })
    }

    fn bytes(&self) -> io::Result<u64> {
        self.with_node(|node| Ok(node.written.len() as u64))
    }
}

struct FaultyLock {
    storage: FaultyStorage,
    path: PathBuf,
    life: u64,
}

impl Lock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut disk = self.storage.lock_disk();
        if disk.life == self.life {
            disk.locks.remove(&self.path);
        }
    }
}

/// SplitMix64: small, seeded, good enough to choose faults by.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests;
