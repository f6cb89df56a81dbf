//! Where appenders leave their records for the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_identity::Epoch;

use crate::error::AppendError;
use crate::format::{
    COMMIT_BYTES_MAX, COMMIT_HEADER, CommitHeader, FRAME_HEADER, RECORD_BYTES_MAX, Salt, put_frame,
};
use crate::journal::Appended;
use crate::start::OWN_KIND;

/// Records that are committed together: the bytes of a commit but for its header's values.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) records: u32,
    /// [`COMMIT_HEADER`] bytes left free, then the frames.
    pub(crate) bytes: Vec<u8>,
}

impl Group {
    pub(crate) fn new(epoch: Epoch, first: u64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity.max(COMMIT_HEADER));
        bytes.resize(COMMIT_HEADER, 0);
        Self {
            epoch,
            first,
            records: 0,
            bytes,
        }
    }

    pub(crate) fn push(&mut self, salt: Salt, payload: &[u8]) {
        let sequence = self.end();
        put_frame(&mut self.bytes, salt, sequence, payload);
        self.records += 1;
    }

    /// The sequence behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.records)
    }

    /// Fills in the commit's header.
    pub(crate) fn seal(&mut self, salt: Salt) {
        let header = CommitHeader {
            bytes: (self.bytes.len() - COMMIT_HEADER) as u32,
            first: self.first,
            records: self.records,
        };
        self.bytes[..COMMIT_HEADER].copy_from_slice(&header.encode(salt));
    }
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
}

pub(crate) struct Inner {
    epoch: Epoch,
    salt: Salt,
    next: u64,
    groups: VecDeque<Group>,
    /// As large as the last group was: the next one is likely to be.
    capacity: usize,
    /// Records in all groups.
    queued: u64,
    /// The writer waits until this many records are queued.
    wake_at: Option<u64>,
    /// Somebody waits until what is queued is committed.
    wanted: bool,
    closed: bool,
}

/// How long the writer waits for company of the first record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gather {
    /// Until this many records are queued,
    pub(crate) records: u64,
    /// but not longer than this.
    pub(crate) within: Duration,
}

impl Queue {
    pub(crate) fn new(epoch: Epoch, salt: Salt, next: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                epoch,
                salt,
                next,
                groups: VecDeque::new(),
                capacity: 0,
                queued: 0,
                wake_at: None,
                wanted: false,
                closed: false,
            }),
            work: Condvar::new(),
        }
    }

    /// Appends; with `only_in`, only while that is the epoch, else `None`.
    pub(crate) fn append(
        &self,
        payload: &[u8],
        only_in: Option<Epoch>,
    ) -> Result<Option<Appended>, AppendError> {
        match payload.first() {
            None => return Err(AppendError::Empty),
            Some(&OWN_KIND) => return Err(AppendError::ReservedKind),
            Some(_) => {}
        }
        if payload.len() > RECORD_BYTES_MAX {
            return Err(AppendError::TooLong {
                bytes: payload.len(),
            });
        }
        let mut inner = self.lock();
        if inner.closed {
            return Err(AppendError::Closed);
        }
        let (epoch, salt, sequence) = (inner.epoch, inner.salt, inner.next);
        if only_in.is_some_and(|only| only != epoch) {
            return Ok(None);
        }
        let room = COMMIT_HEADER + COMMIT_BYTES_MAX;
        let frame = FRAME_HEADER + payload.len();
        if inner
            .groups
            .back()
            .is_none_or(|group| group.bytes.len() + frame > room)
        {
            // A full group need not wait for company.
            if !inner.groups.is_empty() {
                inner.wake_at = inner.wake_at.and(Some(0));
            }
            let capacity = inner.capacity;
            inner
                .groups
                .push_back(Group::new(epoch, sequence, capacity));
        }
        if let Some(group) = inner.groups.back_mut() {
            group.push(salt, payload);
        }
        inner.next += 1;
        inner.queued += 1;
        let wake = inner.wake_at.is_some_and(|at| at <= inner.queued);
        if wake {
            inner.wake_at = None;
        }
        drop(inner);
        if wake {
            self.work.notify_one();
        }
        Ok(Some(Appended { epoch, sequence }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest group; waits for one, but not longer than `timeout`, nor once closed. It
    /// lies up to `linger` while nobody wants it committed; and with `gather` a little longer for
    /// company. Answers too whether the company came.
    pub(crate) fn wait(
        &self,
        timeout: Option<Duration>,
        linger: Duration,
        gather: Option<Gather>,
    ) -> (Option<Group>, bool) {
        let mut inner = self.lock();
        if inner.groups.is_empty() && !inner.closed {
            inner.wake_at = Some(1);
            let waiting = |inner: &mut Inner| inner.groups.is_empty() && !inner.closed;
            inner = match timeout {
                None => self
                    .work
                    .wait_while(inner, waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => self.wait_timeout(inner, timeout, waiting),
            };
        }
        let lies = |inner: &mut Inner| inner.groups.len() == 1 && !inner.wanted && !inner.closed;
        if lies(&mut inner) {
            // Only a full group or a wish ends it early.
            inner.wake_at = Some(u64::MAX);
            inner = self.wait_timeout(inner, linger, lies);
        }
        let mut company = false;
        if let Some(gather) = gather
            && inner.groups.len() == 1
            && inner.wanted
        {
            inner.wake_at = Some(gather.records);
            inner = self.wait_timeout(inner, gather.within, |inner| {
                inner.queued < gather.records && inner.groups.len() == 1 && !inner.closed
            });
            company = inner.queued >= gather.records;
        }
        inner.wake_at = None;
        (inner.take(), company)
    }

    fn wait_timeout<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        timeout: Duration,
        waiting: impl FnMut(&mut Inner) -> bool,
    ) -> MutexGuard<'a, Inner> {
        self.work
            .wait_timeout_while(inner, timeout, waiting)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Somebody waits until what is queued is committed.
    pub(crate) fn want(&self) {
        let mut inner = self.lock();
        if !inner.wanted && !inner.groups.is_empty() {
            inner.wanted = true;
            self.work.notify_one();
        }
    }

    /// How many records are queued.
    pub(crate) fn queued(&self) -> u64 {
        self.lock().queued
    }

    /// Takes no more records; wakes the writer.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }
}

impl Inner {
    pub(crate) fn take(&mut self) -> Option<Group> {
        let group = self.groups.pop_front()?;
        self.wanted &= !self.groups.is_empty();
        self.queued -= u64::from(group.records);
        // A quarter more than last time, so that a steady flow does not reallocate.
        self.capacity =
            (group.bytes.len() + group.bytes.len() / 4).min(COMMIT_HEADER + COMMIT_BYTES_MAX);
        Some(group)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.closed && self.groups.is_empty()
    }

    /// The next epoch begins: later records get its positions. Answers what is still queued of
    /// the one before.
    pub(crate) fn switch(&mut self, epoch: Epoch, salt: Salt) -> VecDeque<Group> {
        self.epoch = epoch;
        self.salt = salt;
        self.next = 1;
        self.queued = 0;
        std::mem::take(&mut self.groups)
    }
}
