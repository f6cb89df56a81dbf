//! A percentile against two levels: decided exactly, shown approximately.
//!
//! The q-quantile of n numbers (the nearest rank) is at least a level if and only if fewer than
//! ⌈q·n⌉ of them lie below the level; so three counts decide, with no error and no sketch. What
//! the percentile is, for people, comes from logarithmic buckets: within 1 % of the true number
//! (DDSketch: Masson, Rim, Lee 2019).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::panes::Panes;

/// How far a shown percentile may be from the true number, as a share of it.
pub(crate) const BUCKET_ERROR: f64 = 0.01;

/// A bucket's upper bound by its lower: within 1 % of its middle.
const GROWTH: f64 = 1.01 / 0.99;

/// A percentile over a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentile {
    all: Panes,
    under_raise: Panes,
    under_clear: Panes,
    buckets: BTreeMap<i64, BTreeMap<i16, u32>>,
}

impl Percentile {
    /// Adds a number; whether it lies under the raise and under the clear level is the caller's to
    /// say (of one that lies on it, for a percentile that is to stay below).
    pub(crate) fn add(&mut self, pane: i64, number: f64, under_raise: bool, under_clear: bool) {
        self.all.add(pane, 1.0);
        if under_raise {
            self.under_raise.add(pane, 1.0);
        }
        if under_clear {
            self.under_clear.add(pane, 1.0);
        }
        let pane = self.buckets.entry(pane).or_default();
        *pane.entry(bucket(number)).or_default() += 1;
    }

    pub(crate) fn expire(&mut self, before: i64) {
        self.all.expire(before);
        self.under_raise.expire(before);
        self.under_clear.expire(before);
        self.buckets = self.buckets.split_off(&before);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether it is over the raise level, and over the clear level.
    pub(crate) fn reaches(&self, percent: f64) -> (bool, bool) {
        let rank = rank(percent, self.all.total());
        (
            self.under_raise.total() < rank,
            self.under_clear.total() < rank,
        )
    }

    /// What it is, within 1 %.
    pub(crate) fn value(&self, percent: f64) -> f64 {
        let mut all: BTreeMap<i16, u64> = BTreeMap::new();
        for (bucket, count) in self.buckets.values().flatten() {
            *all.entry(*bucket).or_default() += u64::from(*count);
        }
        let rank = rank(percent, self.all.total());
        let mut seen = 0;
        for (bucket, count) in all {
            seen += count;
            if seen as f64 >= rank {
                return middle(bucket);
            }
        }
        0.0
    }
}

fn rank(percent: f64, count: f64) -> f64 {
    (percent / 100.0 * count).ceil().max(1.0)
}

/// What is not above zero has the lowest bucket.
fn bucket(number: f64) -> i16 {
    if number > 0.0 {
        let index = (number.ln() / GROWTH.ln()).ceil();
        index.clamp(f64::from(i16::MIN + 1), f64::from(i16::MAX)) as i16
    } else {
        i16::MIN
    }
}

fn middle(bucket: i16) -> f64 {
    if bucket == i16::MIN {
        return 0.0;
    }
    2.0 * GROWTH.powi(bucket.into()) / (GROWTH + 1.0)
}
