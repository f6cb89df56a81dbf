//! Instants: of one host's own clock, and of the clock that all share. One is not the other.

use std::ops::{Add, Sub};

/// A length of time in nanoseconds; may be negative.
pub type Nanos = i64;

/// An instant of one host's clock that nobody steps, in nanoseconds since some start of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local(pub Nanos);

/// An instant of the clock that master and replicas share: the master's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Common(pub Nanos);

macro_rules! arithmetic {
    ($instant:ident) => {
        impl Add<Nanos> for $instant {
            type Output = Self;

            /// Stays at the ends of what can be told rather than wrapping round.
            fn add(self, by: Nanos) -> Self {
                Self(self.0.saturating_add(by))
            }
        }

        impl Sub<Nanos> for $instant {
            type Output = Self;

            fn sub(self, by: Nanos) -> Self {
                Self(self.0.saturating_sub(by))
            }
        }

        impl Sub for $instant {
            type Output = Nanos;

            fn sub(self, earlier: Self) -> Nanos {
                self.0.saturating_sub(earlier.0)
            }
        }
    };
}

arithmetic!(Local);
arithmetic!(Common);
