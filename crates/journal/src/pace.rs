//! When the next commit begins.
//!
//! Servers answer, and their clients ask again: whoever a commit sets free is soon back with the
//! next record. A writer that begins the next commit at once takes only those who had queued
//! meanwhile, and the others wait for two syncs, so that each sync carries half of what it could.
//! So after a commit the writer waits for as many records as that commit held and were queued
//! behind it, for half a sync at most. Where they do not come (nobody waits for answers, or the
//! rush is over) the wait is in vain, and is tried ever more seldom.

use std::time::Duration;

use crate::queue::Gather;

/// Longer waits are not worth it, however slow the disk is.
const WITHIN_MAX: Duration = Duration::from_millis(1);
/// Shorter ones are not worth the timer.
const WITHIN_MIN: Duration = Duration::from_micros(20);
/// The most commits without a try.
const PAUSE_MAX: u32 = 64;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    expected: u64,
    within: Duration,
    /// Commits until the next try.
    pause: u32,
    /// The pause after the next vain wait.
    penalty: u32,
}

impl Pace {
    /// A commit took this long; this many records were in it or queued when it ended.
    pub(crate) fn committed(&mut self, records: u64, took: Duration) {
        self.expected = records;
        self.within = (took / 2).min(WITHIN_MAX);
        self.pause = self.pause.saturating_sub(1);
    }

    /// How to wait now.
    pub(crate) fn gather(&self) -> Option<Gather> {
        let worth = self.pause == 0 && self.within >= WITHIN_MIN && self.expected > 1;
        worth.then_some(Gather {
            records: self.expected,
            within: self.within,
        })
    }

    /// What came of it.
    pub(crate) fn waited(&mut self, gather: Option<Gather>, company: bool) {
        if gather.is_none() {
            return;
        }
        if company {
            self.penalty = 0;
        } else {
            self.penalty = (self.penalty * 2).clamp(1, PAUSE_MAX);
            self.pause = self.penalty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_appender_is_never_kept_waiting() {
        let mut pace = Pace::default();
        assert!(pace.gather().is_none());
        pace.committed(1, Duration::from_millis(1));
        assert!(pace.gather().is_none());
    }

    #[test]
    fn vain_waits_become_seldom_and_company_brings_them_back() {
        let mut pace = Pace::default();
        let mut tries = 0;
        for _ in 0..1000 {
            pace.committed(64, Duration::from_millis(1));
            let gather = pace.gather();
            tries += u32::from(gather.is_some());
            pace.waited(gather, false);
        }
        assert!(tries < 30, "{tries}");
        while pace.gather().is_none() {
            pace.committed(64, Duration::from_millis(1));
        }
        pace.waited(pace.gather(), true);
        pace.committed(64, Duration::from_millis(1));
        assert!(pace.gather().is_some());
    }
}
