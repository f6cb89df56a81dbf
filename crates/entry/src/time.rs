//! Times of a host's clock.
//!
//! Shown as RFC 3339 in UTC with all nine digits, so that texts sort as the times do and nothing
//! is lost on the way through JSON. Written by hand: two dozen lines of calendar are cheaper than
//! a date library, and an entry is printed often. Limits: the 64 bits of nanoseconds span
//! 1677-09-21 to 2262-04-11; a text outside of that is refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Nanoseconds since the Unix epoch, on the clock of the host that wrote it. Shown as RFC 3339
/// with nanoseconds, in UTC. Times of different hosts are never compared for order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// A text that is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimestampError {
    /// Not of the form `2026-11-20T19:05:34.123456789Z`.
    #[error("not a time: write it as RFC 3339, such as 2026-11-20T19:05:34.5Z")]
    Malformed,
    /// Before 1677-09-21 or after 2262-04-11.
    #[error("time out of range: from 1677-09-21 to 2262-04-11")]
    OutOfRange,
}

const NS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// This time and `ns` nanoseconds more; stops at the end of the range.
    #[must_use]
    pub fn saturating_add_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ns))
    }

    /// Nanoseconds from `earlier` to this time of the same clock; 0 if it is not later.
    #[must_use]
    pub fn saturating_ns_since(self, earlier: Self) -> u64 {
        let difference = i128::from(self.0) - i128::from(earlier.0);
        u64::try_from(difference.max(0)).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(NS_PER_SECOND);
        let mut ns = self.0.rem_euclid(NS_PER_SECOND);
        let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut put = |at: usize, value: i64| {
            text[at] = b'0' + (value / 10 % 10) as u8;
            text[at + 1] = b'0' + (value % 10) as u8;
        };
        put(0, year / 100);
        put(2, year % 100);
        put(5, month);
        put(8, day);
        put(11, second_of_day / 3600);
        put(14, second_of_day / 60 % 60);
        put(17, second_of_day % 60);
        for digit in text[20..29].iter_mut().rev() {
            *digit = b'0' + (ns % 10) as u8;
            ns /= 10;
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339: any offset, any number of fractional digits (those past the ninth are cut
    /// off), `T` in either case or a space. Second 60 is the start of the next minute, as Unix
    /// time has it.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let (seconds, ns) = parse(text.as_bytes()).ok_or(TimestampError::Malformed)?;
        i64::try_from(i128::from(seconds) * i128::from(NS_PER_SECOND) + i128::from(ns))
            .map(Self)
            .map_err(|_| TimestampError::OutOfRange)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Seconds since the Unix epoch, and nanoseconds of the second.
fn parse(text: &[u8]) -> Option<(i64, i64)> {
    let number = |from: usize, digits: usize| -> Option<i64> {
        text.get(from..from + digits)?.iter().try_fold(0, |sum, b| {
            b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))
        })
    };
    let literal =
        |at: usize, allowed: &[u8]| -> Option<()> { allowed.contains(text.get(at)?).then_some(()) };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    literal(4, b"-")?;
    literal(7, b"-")?;
    literal(10, b"Tt ")?;
    literal(13, b":")?;
    literal(16, b":")?;
    let days = days_from_civil(year, month, day);
    let valid = (1..=12).contains(&month)
        && day >= 1
        && civil_from_days(days) == (year, month, day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let mut at = 19;
    let mut ns = 0;
    if text.get(at) == Some(&b'.') {
        let digits = text[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(9);
        ns = number(at + 1, kept)? * 10_i64.pow(9 - kept as u32);
        at += 1 + digits;
    }
    let offset = match text.get(at)? {
        b'Z' | b'z' if text.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == at + 6 => {
            literal(at + 3, b":")?;
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    let second_of_day = hour * 3600 + minute * 60 + second;
    Some((days * SECONDS_PER_DAY + second_of_day - offset, ns))
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar. Counts in years that begin
/// in March, so that the leap day comes last, and in eras of 400 years (146,097 days).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ns: i64) -> String {
        Timestamp(ns).to_string()
    }

    #[test]
    fn shows_nine_digits_in_utc() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(
            text(951_782_400 * NS_PER_SECOND + 5),
            "2000-02-29T00:00:00.000000005Z"
        );
        assert_eq!(text(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(text(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn reads_offsets_and_any_precision() {
        let parse = |text: &str| text.parse::<Timestamp>();
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(Timestamp(0)));
        assert_eq!(parse("1970-01-01t00:00:00.5z"), Ok(Timestamp(500_000_000)));
        assert_eq!(
            parse("1970-01-01 00:00:00.1234567899Z"),
            Ok(Timestamp(123_456_789))
        );
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
        assert_eq!(
            parse("9999-01-01T00:00:00Z"),
            Err(TimestampError::OutOfRange)
        );
        for bad in [
            "",
            "1970-01-01",
            "1970-02-30T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00Z ",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+24:00",
            "197\u{e9}-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(bad), Err(TimestampError::Malformed), "{bad}");
        }
    }

    #[test]
    fn every_day_of_the_range_survives_its_text() {
        let day = SECONDS_PER_DAY * NS_PER_SECOND;
        for n in i64::MIN / day..=i64::MAX / day {
            let time = Timestamp(n * day + n.rem_euclid(day));
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn adding_stops_at_the_end_of_the_range() {
        assert_eq!(Timestamp(1).saturating_add_ns(2), Timestamp(3));
        assert_eq!(
            Timestamp(1).saturating_add_ns(u64::MAX),
            Timestamp(i64::MAX)
        );
        assert_eq!(Timestamp(5).saturating_ns_since(Timestamp(2)), 3);
        assert_eq!(Timestamp(2).saturating_ns_since(Timestamp(5)), 0);
    }
}
