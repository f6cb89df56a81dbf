//! What is known of a replica's clock at one of its instants.

use crate::exchange::clamp;
use crate::{Common, DRIFT_MAX, Local, Nanos};

/// How fast `noise` grows while nothing new comes: a crystal's rate moves by about this within a
/// minute as its temperature does.
const WANDER: f64 = 0.5e-6;

/// The common clock told by a local one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The local instant that the rest is said of.
    pub at: Local,
    /// Common minus local then, in nanoseconds.
    pub offset: Nanos,
    /// How much faster the common clock runs: nanoseconds a nanosecond, positive if the local clock
    /// is slow.
    pub rate: f64,
    /// The error on symmetric paths, in nanoseconds.
    pub noise: Nanos,
    /// The error on any path, in nanoseconds.
    pub bound: Nanos,
}

impl Estimate {
    /// The common instant at a local one.
    #[must_use]
    pub fn common(&self, local: Local) -> Common {
        let since = local - self.at;
        Common(local.0.saturating_add(self.offset)) + gained(since, self.rate)
    }

    /// The local instant at a common one: the inverse of [`Estimate::common`] to a nanosecond.
    #[must_use]
    pub fn local(&self, common: Common) -> Local {
        let since = common
            .0
            .saturating_sub(self.offset)
            .saturating_sub(self.at.0);
        self.at + since - gained(since, self.rate / (1.0 + self.rate))
    }

    /// `noise` at a local instant: it grows away from where it was measured.
    #[must_use]
    pub fn noise_at(&self, local: Local) -> Nanos {
        self.noise
            .saturating_add(gained((local - self.at).saturating_abs(), WANDER))
    }

    /// `bound` at a local instant: truth and estimate may drift apart.
    #[must_use]
    pub fn bound_at(&self, local: Local) -> Nanos {
        let apart = DRIFT_MAX + self.rate.abs();
        self.bound
            .saturating_add(gained((local - self.at).saturating_abs(), apart) + 1)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a rate is below 0.001, so what is lost is below a nanosecond for weeks"
)]
fn gained(since: Nanos, rate: f64) -> Nanos {
    clamp((since as f64 * rate).round() as i128)
}
