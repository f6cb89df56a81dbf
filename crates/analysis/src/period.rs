//! The stretches of time over which an audit adds up: hours or days in UTC, or all of it.

use std::fmt;
use std::str::FromStr;

use selvedge_entry::Timestamp;

const HOUR_NS: i64 = 3_600_000_000_000;

/// How long a line's stretch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Period {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight, UTC.
    Day,
    /// Everything that is asked for.
    #[default]
    All,
}

impl Period {
    /// The stretch that a time lies in, `[from, to)`; `None` for all of time. At the ends of what
    /// a time can be it is shorter.
    #[must_use]
    pub fn around(self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let length = match self {
            Self::Hour => HOUR_NS,
            Self::Day => 24 * HOUR_NS,
            Self::All => return None,
        };
        let into = at.0.rem_euclid(length);
        let (from, to) = (
            at.0.saturating_sub(into),
            at.0.saturating_add(length - into),
        );
        Some((Timestamp(from), Timestamp(to)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::All => "all",
        })
    }
}

impl FromStr for Period {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Hour, Self::Day, Self::All];
        let mut named = all.into_iter().filter(|period| period.to_string() == text);
        named.next().ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(period: Period, at: &str) -> Option<(String, String)> {
        let (from, to) = period.around(at.parse().expect("a time"))?;
        Some((from.to_string(), to.to_string()))
    }

    #[test]
    fn hours_and_days_begin_where_clocks_strike() {
        let day = around(Period::Day, "2026-11-20T19:05:34.5Z").expect("a day");
        assert_eq!(day.0, "2026-11-20T00:00:00.000000000Z");
        assert_eq!(day.1, "2026-11-21T00:00:00.000000000Z");
        let hour = around(Period::Hour, "1969-12-31T23:59:59Z").expect("an hour");
        assert_eq!(hour.0, "1969-12-31T23:00:00.000000000Z");
        assert_eq!(hour.1, "1970-01-01T00:00:00.000000000Z");
        assert_eq!(around(Period::All, "2026-11-20T19:05:34.5Z"), None);
    }

    #[test]
    fn a_full_hour_begins_its_own_stretch_and_the_ends_of_time_hold() {
        let hour = Period::Hour.around(Timestamp(HOUR_NS)).expect("an hour");
        assert_eq!(hour, (Timestamp(HOUR_NS), Timestamp(2 * HOUR_NS)));
        for at in [i64::MIN, i64::MAX] {
            let (from, to) = Period::Day.around(Timestamp(at)).expect("a day");
            assert!(from.0 <= at && at <= to.0);
        }
    }
}
