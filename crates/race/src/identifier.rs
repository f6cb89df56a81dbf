//! The transmit identifier: the event upon which every server sends its answer (C2, C3, C4).
//!
//! By default it is an instant of the common clock: when the request came (or left the queue) plus a
//! delay. The delay must leave the forward the time to reach the farthest server. Below the longest
//! way, servers that are far from the master send late or not at all, and the race is no longer fair
//! to the clients near them: a choice that [`Timing::instant`] warns of.

use std::fmt;

use selvedge_clock::{Common, Nanos};

/// No race waits longer: the delay counts into resolvers' estimates of how fast the service is.
pub const DELAY_MAX: Nanos = 300_000_000;

/// The event upon which the answers of a race leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransmitIdentifier {
    /// An instant of the common clock.
    At(Common),
    /// The master's signal of this number.
    Signal(u64),
}

/// Which moment a race's instant is counted from (C3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// When the request came. What it waits in the queue is taken from the forward's time.
    #[default]
    Receipt,
    /// When it left the queue.
    Leaving,
}

/// How long after the stamp (C4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Always this.
    Constant(Nanos),
    /// The longest way that was measured to a server, and this on top.
    Longest(Nanos),
    /// The longest way that was measured, but at most this.
    AtMost(Nanos),
}

impl Default for Delay {
    /// Ten milliseconds more than the longest way.
    fn default() -> Self {
        Self::Longest(10_000_000)
    }
}

/// What starts the answers of a race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From when on the delay counts.
    pub stamp: Stamp,
    /// The delay.
    pub delay: Delay,
}

/// A delay, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// How long after the stamp.
    pub delay: Nanos,
    /// Said if the delay is not above the longest way.
    pub warning: Option<Short>,
}

/// A delay that is not above the longest way from master to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The delay.
    pub delay: Nanos,
    /// The longest way.
    pub longest: Nanos,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the delay of {:.3} ms is not above the longest way from master to server, {:.3} ms: \
             servers that far away answer late or not at all, so that clients near them get another \
             one; use race.delay = \"longest\"",
            milliseconds(self.delay),
            milliseconds(self.longest)
        )
    }
}

impl Timing {
    /// The delay, given the longest way from the master to a server that races.
    #[must_use]
    pub fn delay(&self, longest: Nanos) -> Chosen {
        let longest = longest.max(0);
        let delay = match self.delay {
            Delay::Constant(delay) => delay,
            Delay::Longest(margin) => longest.saturating_add(margin.max(0)),
            Delay::AtMost(most) => longest.min(most),
        }
        .clamp(0, DELAY_MAX);
        let warning = (delay <= longest).then_some(Short { delay, longest });
        Chosen { delay, warning }
    }

    /// The instant at which all answer, given when the request came and left the queue.
    #[must_use]
    pub fn instant(
        &self,
        received: Common,
        left: Common,
        longest: Nanos,
    ) -> (TransmitIdentifier, Chosen) {
        let chosen = self.delay(longest);
        let from = match self.stamp {
            Stamp::Receipt => received,
            Stamp::Leaving => left,
        };
        (TransmitIdentifier::At(from + chosen.delay), chosen)
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(crate) fn milliseconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn the_delay_is_above_the_longest_way_or_warned_of() {
        let timing = |delay| Timing {
            delay,
            ..Timing::default()
        };
        let longest = 60 * MS;
        for (delay, expected, warned) in [
            (Delay::Longest(10 * MS), 70 * MS, false),
            (Delay::Longest(0), 60 * MS, true),
            (Delay::Longest(-5), 60 * MS, true),
            (Delay::Constant(100 * MS), 100 * MS, false),
            (Delay::Constant(60 * MS), 60 * MS, true),
            (Delay::Constant(6 * MS), 6 * MS, true),
            (Delay::AtMost(30 * MS), 30 * MS, true),
            (Delay::AtMost(90 * MS), 60 * MS, true),
            (Delay::Constant(Nanos::MAX), DELAY_MAX, false),
            (Delay::Constant(-1), 0, true),
        ] {
            let chosen = timing(delay).delay(longest);
            assert_eq!(chosen.delay, expected, "{delay:?}");
            assert_eq!(chosen.warning.is_some(), warned, "{delay:?}");
        }
        let warning = timing(Delay::Constant(6 * MS))
            .delay(8 * MS)
            .warning
            .expect("warned");
        assert!(
            warning.to_string().contains("6.000 ms is not above"),
            "{warning}"
        );
    }

    #[test]
    fn it_counts_from_the_receipt_or_from_leaving_the_queue() {
        let (received, left) = (Common(1_000), Common(5_000));
        for (stamp, from) in [(Stamp::Receipt, received), (Stamp::Leaving, left)] {
            let timing = Timing {
                stamp,
                delay: Delay::Constant(100),
            };
            let (identifier, _) = timing.instant(received, left, 0);
            assert_eq!(identifier, TransmitIdentifier::At(from + 100));
        }
    }
}
