//! One exchange of four timestamps, and what it says for certain.

use thiserror::Error;

use crate::{Common, Local, Nanos};

/// A longer way round than this says nothing of use: two seconds.
pub const ROUND_TRIP_MAX: Nanos = 2_000_000_000;

/// Sent by the master, received and answered by the replica, returned to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the master sent, by its clock: at or before the datagram left.
    pub sent: Common,
    /// When the replica received, by its own.
    pub received: Local,
    /// When the replica answered, by its own: at or before the datagram left.
    pub answered: Local,
    /// When the master had the answer.
    pub returned: Common,
}

/// Why an exchange is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The answer was there before the question left, or it left before the question was there.
    #[error("time runs backwards in the exchange: a clock was stepped under it")]
    Backwards,
    /// The replica says that it held the question longer than the whole exchange took.
    #[error("the replica held the exchange longer than it took: its clock jumped or runs wild")]
    Held,
    /// It took longer than [`ROUND_TRIP_MAX`].
    #[error("the exchange took more than two seconds")]
    Long,
}

impl Exchange {
    /// Whether the four stamps can be what they claim to be.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self) -> Result<(), ExchangeError> {
        let whole = self.returned - self.sent;
        let held = self.answered - self.received;
        if whole < 0 || held < 0 {
            Err(ExchangeError::Backwards)
        } else if whole > ROUND_TRIP_MAX {
            Err(ExchangeError::Long)
        } else if held > whole + whole / 1_000 + 1_000 {
            Err(ExchangeError::Held)
        } else {
            Ok(())
        }
    }

    /// The way there and back, without the time at the replica.
    #[must_use]
    pub fn round_trip(&self) -> Nanos {
        ((self.returned - self.sent) - (self.answered - self.received)).max(0)
    }

    /// Common minus local, if both ways took equally long. Exact to a nanosecond.
    #[must_use]
    pub fn offset(&self) -> Nanos {
        let there = i128::from(self.sent.0) - i128::from(self.received.0);
        let back = i128::from(self.returned.0) - i128::from(self.answered.0);
        clamp((there + back).div_euclid(2))
    }

    /// Common minus local is at least this when the replica received: it was sent before.
    #[must_use]
    pub fn at_least(&self) -> Nanos {
        self.sent.0.saturating_sub(self.received.0)
    }

    /// Common minus local is at most this when the replica answered: it was returned after.
    #[must_use]
    pub fn at_most(&self) -> Nanos {
        self.returned.0.saturating_sub(self.answered.0)
    }
}

/// Into what 64 bits hold.
pub(crate) fn clamp(value: i128) -> Nanos {
    Nanos::try_from(value).unwrap_or(if value < 0 { Nanos::MIN } else { Nanos::MAX })
}
