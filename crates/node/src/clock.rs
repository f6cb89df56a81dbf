//! Where a node's times and random bits come from: arguments, so that tests can own them.

use std::cell::RefCell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use selvedge_entry::Timestamp;

/// A host's clock.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump, and differs between hosts; nothing is ordered by it.
    fn now(&self) -> Timestamp;

    /// Nanoseconds on a clock that never goes back, from an arbitrary zero: for durations.
    fn monotonic_ns(&self) -> u64;
}

/// The operating system's clocks, the wall clock shifted by a fixed skew (which is zero but in
/// tests of clock independence).
#[derive(Debug)]
pub struct SystemClock {
    zero: Instant,
    skew_ns: i64,
}

impl SystemClock {
    /// A clock that shows the true time plus `skew_ns`.
    #[must_use]
    pub fn new(skew_ns: i64) -> Self {
        Self {
            zero: Instant::now(),
            skew_ns,
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
        Timestamp(since.saturating_add(self.skew_ns))
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's random source, read a block at a time for each thread: ids are drawn
/// on the packet path, where a system call for each would show.
#[derive(Debug, Default)]
pub struct SystemEntropy;

const BLOCK: usize = 1024;

thread_local! {
    static POOL: RefCell<([u8; BLOCK], usize)> = const { RefCell::new(([0; BLOCK], BLOCK)) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        debug_assert!(out.len() <= BLOCK);
        POOL.with_borrow_mut(|(block, used)| {
            if BLOCK - *used < out.len() {
                // Without randomness no id can be made: there is nothing sensible to go on with.
                getrandom::fill(block).expect("the operating system gives random bytes");
                *used = 0;
            }
            out.copy_from_slice(&block[*used..*used + out.len()]);
            block[*used..*used + out.len()].fill(0);
            *used += out.len();
        });
    }
}
