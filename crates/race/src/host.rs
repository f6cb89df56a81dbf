//! This machine's clock: the one that nobody steps, read raw.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use selvedge_clock::{Local, Nanos};

/// `CLOCK_MONOTONIC_RAW`, seen through an offset and a drift in tests.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    offset: Nanos,
    drift: f64,
    started: Nanos,
}

impl Default for HostClock {
    fn default() -> Self {
        Self::skewed(0, 0.0)
    }
}

impl HostClock {
    /// For tests: reads `offset` more, and gains `drift` from now on.
    #[must_use]
    pub fn skewed(offset: Nanos, drift: f64) -> Self {
        Self {
            offset,
            drift,
            started: raw(),
        }
    }

    /// What it reads now.
    #[must_use]
    pub fn now(&self) -> Local {
        self.skew(raw())
    }

    /// What it read when the wall clock read `stamp`, a moment ago. None if the wall clock was
    /// stepped since, so that this cannot be told.
    #[must_use]
    pub fn at_wall(&self, stamp: Duration) -> Option<Local> {
        let (raw, wall) = both();
        let ago = wall.checked_sub(i64::try_from(stamp.as_nanos()).ok()?)?;
        (0..MOMENT).contains(&ago).then(|| self.skew(raw - ago))
    }

    /// The wall clock minus this one, now.
    #[must_use]
    pub fn wall_offset(&self) -> Nanos {
        let (raw, wall) = both();
        wall - self.skew(raw).0
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "exact to a nanosecond for months"
    )]
    fn skew(&self, raw: Nanos) -> Local {
        let gain = ((raw - self.started) as f64 * self.drift) as Nanos;
        Local(raw + self.offset + gain)
    }
}

/// A datagram is read within this of its coming, or its stamp is not believed.
const MOMENT: Nanos = 1_000_000_000;

fn raw() -> Nanos {
    read(ClockId::CLOCK_MONOTONIC_RAW)
}

/// Both clocks at one moment, to less than a microsecond: of three tries the quickest.
fn both() -> (Nanos, Nanos) {
    let once = || {
        let before = raw();
        let wall = read(ClockId::CLOCK_REALTIME);
        let after = raw();
        (after - before, before + (after - before) / 2, wall)
    };
    let (_, raw, wall) = [once(), once(), once()]
        .into_iter()
        .min_by_key(|tried| tried.0)
        .unwrap_or_default();
    (raw, wall)
}

#[expect(
    clippy::expect_used,
    reason = "Linux has had these clocks since 2.6.28"
)]
fn read(clock: ClockId) -> Nanos {
    let time: TimeSpec = clock_gettime(clock).expect("the kernel has this clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}
