//! What happened in a run: lines for people, and a hash that tells two runs apart.

use std::fmt::Arguments;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

pub(crate) struct Trace {
    begin: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    hash: u64,
    events: u64,
    /// Kept where asked for.
    lines: Option<Vec<String>>,
    violations: Vec<String>,
}

/// More would say no more.
const VIOLATIONS_MAX: usize = 20;

impl Trace {
    pub(crate) fn new(begin: Instant, keep: bool) -> Self {
        Self {
            begin,
            inner: Mutex::new(Inner {
                hash: 0xcbf2_9ce4_8422_2325,
                events: 0,
                lines: keep.then(Vec::new),
                violations: Vec::new(),
            }),
        }
    }

    /// Notes an event. Returns its number.
    pub(crate) fn event(&self, who: &str, what: Arguments<'_>) -> u64 {
        let us = self.begin.elapsed().as_micros();
        let line = format!("{:>6}.{:03} ms  {who:<10} {what}", us / 1000, us % 1000);
        let mut inner = self.lock();
        for byte in line.bytes() {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.events += 1;
        let number = inner.events;
        if let Some(lines) = &mut inner.lines {
            lines.push(line);
        }
        number
    }

    /// Notes that an invariant was broken.
    pub(crate) fn violation(&self, what: String) {
        self.event("VIOLATION", format_args!("{what}"));
        let mut inner = self.lock();
        if inner.violations.len() < VIOLATIONS_MAX {
            inner.violations.push(what);
        }
    }

    /// Hash, events, lines, violations.
    pub(crate) fn take(&self) -> (u64, u64, Vec<String>, Vec<String>) {
        let mut inner = self.lock();
        let lines = inner.lines.take().unwrap_or_default();
        let violations = std::mem::take(&mut inner.violations);
        (inner.hash, inner.events, lines, violations)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
