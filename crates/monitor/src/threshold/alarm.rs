//! When a standing becomes a crossing: `for`, hysteresis, `keep_firing_for`.

use std::time::Duration;

use selvedge_entry::Timestamp;
use serde::{Deserialize, Serialize};

use super::count::Standing;
use super::rule::Rule;

/// Which way a level was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It fires.
    Raised,
    /// It no longer does.
    Cleared,
}

/// The state of a group's alarm. Instants are nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Alarm {
    #[default]
    Quiet,
    /// On the level's side, not yet long enough.
    Pending { since: i64 },
    /// It fires, by this crossing.
    Firing { number: u64 },
    /// The level was left; it keeps firing for a while.
    Keeping { number: u64, since: i64 },
}

impl Alarm {
    /// The crossing that fires.
    pub(crate) fn firing(self) -> Option<u64> {
        match self {
            Self::Firing { number } | Self::Keeping { number, .. } => Some(number),
            _ => None,
        }
    }

    /// Goes on to `now`; a crossing that raises takes the number `next`. At most one change: what
    /// is left and reached again at one instant is one crossing.
    pub(crate) fn step(
        &mut self,
        rule: &Rule,
        standing: Standing,
        now: Timestamp,
        next: u64,
    ) -> Option<(Change, u64)> {
        match *self {
            Self::Quiet | Self::Pending { .. } if !standing.raises => {
                *self = Self::Quiet;
                None
            }
            Self::Quiet if rule.hold.is_zero() => self.raise(next),
            Self::Quiet => {
                *self = Self::Pending { since: now.0 };
                None
            }
            Self::Pending { since } if passed(since, rule.hold, now) => self.raise(next),
            Self::Pending { .. } => None,
            Self::Firing { number } | Self::Keeping { number, .. } if standing.holds => {
                *self = Self::Firing { number };
                None
            }
            Self::Firing { number } if !rule.keep_firing_for.is_zero() => {
                *self = Self::Keeping {
                    number,
                    since: now.0,
                };
                None
            }
            Self::Keeping { since, .. } if !passed(since, rule.keep_firing_for, now) => None,
            Self::Firing { number } | Self::Keeping { number, .. } => {
                *self = Self::Quiet;
                Some((Change::Cleared, number))
            }
        }
    }

    fn raise(&mut self, number: u64) -> Option<(Change, u64)> {
        *self = Self::Firing { number };
        Some((Change::Raised, number))
    }

    /// When time alone may change it next.
    pub(crate) fn due(self, rule: &Rule) -> Option<i64> {
        match self {
            Self::Quiet | Self::Firing { .. } => None,
            Self::Pending { since } => Some(since.saturating_add(nanoseconds(rule.hold))),
            Self::Keeping { since, .. } => {
                Some(since.saturating_add(nanoseconds(rule.keep_firing_for)))
            }
        }
    }
}

pub(crate) fn nanoseconds(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

fn passed(since: i64, length: Duration, now: Timestamp) -> bool {
    now.0.saturating_sub(since) >= nanoseconds(length)
}
