//! Reads query strings by the endpoint table: what is not in it is refused by name.

use std::str::FromStr;

use selvedge_entry::Timestamp;

use super::endpoints::Parameter;
use super::error::ApiError;
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// The parameters of one request, checked against what its endpoint takes.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads a query string.
    ///
    /// # Errors
    /// A parameter that is not in `known`, or stands twice where it may not.
    pub(crate) fn parse(query: Option<&str>, known: &[Parameter]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(parameter) = known.iter().find(|known| known.name == name) else {
                let names: Vec<&str> = known.iter().map(|known| known.name).collect();
                return Err(ApiError::unknown_parameter(&name, &names));
            };
            if !parameter.repeats && pairs.iter().any(|(held, _)| *held == name) {
                return Err(ApiError::repeated_parameter(&name));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs
            .iter()
            .filter(move |(held, _)| held == name)
            .map(|(_, value)| value.as_str())
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.all(name).next().map(str::to_owned)
    }

    /// A value with a text form of its own.
    pub(crate) fn value<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        self.read(name, expected, |text| text.parse().ok())
    }

    /// An instant.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.value(name, "a time like 2026-11-20T19:05:00Z")
    }

    /// A duration in nanoseconds.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.read(
            name,
            "a duration like 10ms, 1.5s or 250000 (nanoseconds)",
            duration,
        )
    }

    /// True or false.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.value(name, "true or false")
    }

    /// `key:value` pairs.
    pub(crate) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, ApiError> {
        self.all(name)
            .map(|text| match text.split_once(':') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(ApiError::bad_parameter(name, "of the form key:value")),
            })
            .collect()
    }

    /// How many rows.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.read(
            "limit",
            &format!("a number from 1 to {LIMIT_MAX}"),
            |text| {
                text.parse()
                    .ok()
                    .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            },
        )?;
        Ok(limit.unwrap_or(LIMIT_DEFAULT))
    }

    /// Where to go on.
    pub(crate) fn cursor<T: FromStr>(&self) -> Result<Option<T>, ApiError> {
        self.value("cursor", "the `next` of an earlier answer")
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.all(name).next() {
            None => Ok(None),
            Some(text) => read(text)
                .map(Some)
                .ok_or_else(|| ApiError::bad_parameter(name, expected)),
        }
    }
}

/// Nanoseconds from `10ms`, `1.5s`, `2m`, `1h`, `7us`, `7µs`, `7ns` or a plain number of them.
/// Exact: no floating point, and what is finer than a nanosecond is refused.
fn duration(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns: u64 = match unit {
        "" | "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
    };
    let whole = number(whole)??.checked_mul(unit_ns)?;
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(number(fraction)??) * u128::from(unit_ns);
    if part % u128::from(scale) != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(part / u128::from(scale)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_read_exactly() {
        for (text, ns) in [
            ("0", 0),
            ("250000", 250_000),
            ("10ms", 10_000_000),
            ("1.5s", 1_500_000_000),
            ("0.000000001s", 1),
            ("7us", 7_000),
            ("7µs", 7_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(duration(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "ms",
            "-1",
            "1.s.",
            "1.2.3s",
            ".5s",
            "1.",
            "0.5",
            "1 s",
            "10MS",
            "1e3",
            "99999999999h",
            "0.0000000001s",
            "1.00000000000000000000000000s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
