//! Durations of many calls in little memory: count, mean and percentiles.
//!
//! Exact while there are few ([`EXACT_MAX`]); beyond, counts in buckets, 32 for each power of two,
//! so that a percentile is within one part in 64 of a value of its rank. Which form is used
//! depends on how many there are and on nothing else, so order and splits never show.
//!
//! Why not `hdrhistogram`: there is one of these for every call path, ten thousand of them. Its
//! arrays are dense, 30 KiB and more each at this precision; ours holds the buckets that are used,
//! a few dozen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Up to so many values are kept as they are.
const EXACT_MAX: usize = 64;

/// Values below this have a bucket each; larger ones go by their six highest bits.
const PLAIN: u64 = 64;

/// Durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    values: Values,
    count: u64,
    sum: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    /// Ascending.
    Exact(Vec<u64>),
    Buckets(BTreeMap<u16, u64>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

/// What is shown of durations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyJson {
    /// How many ended.
    pub count: u64,
    /// Nanoseconds on average; exact, rounded down.
    pub mean: Option<u64>,
    /// Nanoseconds that half of them took at most.
    pub p50: Option<u64>,
    /// Nanoseconds that 9 of 10 took at most.
    pub p90: Option<u64>,
    /// Nanoseconds that 99 of 100 took at most.
    pub p99: Option<u64>,
    /// The share of its value that a percentile may be off; 0: none is.
    pub error: f64,
}

impl Latency {
    /// The share of its value that a percentile may be off where there are many.
    pub const ERROR: f64 = 1.0 / 64.0;

    /// Adds a duration.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum += u128::from(ns);
        match &mut self.values {
            Values::Exact(values) => {
                let at = values.partition_point(|value| *value < ns);
                values.insert(at, ns);
                self.settle();
            }
            Values::Buckets(buckets) => *buckets.entry(bucket(ns)).or_default() += 1,
        }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        match (&mut self.values, &other.values) {
            (Values::Exact(values), Values::Exact(others)) => {
                values.extend(others);
                values.sort_unstable();
                self.settle();
            }
            (_, others) => {
                let mut all = std::mem::take(&mut self.values).into_buckets();
                for (bucket, count) in others.clone().into_buckets() {
                    *all.entry(bucket).or_default() += count;
                }
                self.values = Values::Buckets(all);
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that this percentage of all does not exceed, by nearest rank; `None` of none.
    #[must_use]
    pub fn at_most(&self, percent: u64) -> Option<u64> {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100);
        match &self.values {
            Values::Exact(values) => values.get((rank as usize).saturating_sub(1)).copied(),
            Values::Buckets(buckets) => {
                let mut seen = 0;
                let found = buckets.iter().find(|(_, count)| {
                    seen += u128::from(**count);
                    seen >= rank
                });
                found.map(|(bucket, _)| middle(*bucket))
            }
        }
    }

    /// What is shown of it.
    #[must_use]
    pub fn to_json(&self) -> LatencyJson {
        let mean = self.sum.checked_div(u128::from(self.count));
        LatencyJson {
            count: self.count,
            mean: mean.map(|mean| mean as u64),
            p50: self.at_most(50),
            p90: self.at_most(90),
            p99: self.at_most(99),
            error: match self.values {
                Values::Exact(_) => 0.0,
                Values::Buckets(_) => Self::ERROR,
            },
        }
    }

    fn settle(&mut self) {
        if self.count > EXACT_MAX as u64 {
            self.values = Values::Buckets(std::mem::take(&mut self.values).into_buckets());
        }
    }
}

impl Values {
    fn into_buckets(self) -> BTreeMap<u16, u64> {
        match self {
            Self::Buckets(buckets) => buckets,
            Self::Exact(values) => {
                let mut buckets = BTreeMap::new();
                for value in values {
                    *buckets.entry(bucket(value)).or_default() += 1;
                }
                buckets
            }
        }
    }
}

fn bucket(value: u64) -> u16 {
    if value < PLAIN {
        return value as u16;
    }
    let shift = value.ilog2() - 5;
    (32 * shift) as u16 + (value >> shift) as u16
}

fn middle(bucket: u16) -> u64 {
    if u64::from(bucket) < PLAIN {
        return u64::from(bucket);
    }
    let shift = bucket / 32 - 1;
    let high = u64::from(bucket % 32 + 32);
    (high << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Latency {
        let mut latency = Latency::default();
        values.iter().for_each(|value| latency.add(*value));
        latency
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = prop_oneof![0u64..100, 0..=u64::MAX, Just(u64::MAX)];
        prop::collection::vec(value, 0..200)
    }

    #[test]
    fn no_durations_have_no_percentile_and_no_mean() {
        let json = Latency::default().to_json();
        assert_eq!((json.count, json.mean, json.p99), (0, None, None));
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_its_error_of_the_value_of_its_rank(mut values in values(), percent in 1u64..=100) {
            prop_assume!(!values.is_empty());
            let latency = of(&values);
            values.sort_unstable();
            let rank = (values.len() as u64 * percent).div_ceil(100) as usize - 1;
            let (said, exact) = (latency.at_most(percent).unwrap(), values[rank]);
            let off = if values.len() <= EXACT_MAX { 0 } else { exact / 64 };
            prop_assert!(said.abs_diff(exact) <= off, "{} for {}", said, exact);
            let sum: u128 = values.iter().map(|v| u128::from(*v)).sum();
            prop_assert_eq!(latency.to_json().mean, Some((sum / values.len() as u128) as u64));
        }

        #[test]
        fn order_and_splits_never_show(values in values(), at in 0usize..200) {
            let whole = of(&values);
            let (left, right) = values.split_at(at.min(values.len()));
            let mut merged = of(right);
            merged.merge(&of(left));
            prop_assert_eq!(&merged, &whole);
            let turned: Vec<u64> = values.iter().rev().copied().collect();
            prop_assert_eq!(of(&turned), whole);
        }
    }
}
