//! A clock for tests: the true time seen through an offset, a drift and jumps.

use crate::{Local, Nanos};

/// Tells what a bad clock would read at a true time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualClock {
    /// What it reads at true time 0.
    pub offset: Nanos,
    /// How much faster than true it runs: `30e-6` gains 30 microseconds a second.
    pub drift: f64,
    /// From a true time on it reads so much more, each beside the others.
    pub jumps: Vec<(Nanos, Nanos)>,
}

impl VirtualClock {
    /// What it reads.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the gain of days is exact to a nanosecond"
    )]
    pub fn read(&self, truth: Nanos) -> Local {
        let gain = (truth as f64 * self.drift).round() as Nanos;
        let jumped: Nanos = self
            .jumps
            .iter()
            .filter(|(from, _)| truth >= *from)
            .map(|(_, by)| by)
            .sum();
        Local(truth + self.offset + gain + jumped)
    }
}
