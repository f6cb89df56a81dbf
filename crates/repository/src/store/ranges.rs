//! Which sequences of an epoch are there.
//!
//! Records come late, twice and out of order. What was received is a set of half-open ranges of
//! sequences, kept sorted, disjoint and merged: in practice one range, so every operation is a
//! short binary search.

/// A set of sequences as half-open ranges `[from, to)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    ranges: Vec<(u64, u64)>,
}

impl Ranges {
    /// Adds `[from, to)`. An empty range adds nothing.
    pub(crate) fn insert(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        // The ranges that touch or overlap the new one: [low, high).
        let low = self.ranges.partition_point(|&(_, end)| end < from);
        let high = low + self.ranges[low..].partition_point(|&(start, _)| start <= to);
        if low == high {
            self.ranges.insert(low, (from, to));
            return;
        }
        let merged = (
            from.min(self.ranges[low].0),
            to.max(self.ranges[high - 1].1),
        );
        self.ranges[low] = merged;
        self.ranges.drain(low + 1..high);
    }

    /// The parts of `[from, to)` that are not in the set, ascending.
    pub(crate) fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut at = from;
        let first = self.ranges.partition_point(|&(_, end)| end <= from);
        for &(start, end) in &self.ranges[first..] {
            if start >= to {
                break;
            }
            if start > at {
                missing.push((at, start));
            }
            at = at.max(end);
        }
        if at < to {
            missing.push((at, to));
        }
        missing
    }

    /// Whether all of `[from, to)` is in the set.
    pub(crate) fn holds(&self, from: u64, to: u64) -> bool {
        from >= to || self.missing(from, to).is_empty()
    }

    /// The smallest sequence that is not in the set.
    pub(crate) fn contiguous(&self) -> u64 {
        match self.ranges.first() {
            Some(&(0, end)) => end,
            _ => 0,
        }
    }

    /// One past the greatest sequence; 0 for an empty set.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |&(_, end)| end)
    }

    /// How many sequences there are.
    pub(crate) fn count(&self) -> u64 {
        self.ranges.iter().map(|&(from, to)| to - from).sum()
    }

    /// The ranges, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn ranges_equal_a_plain_set(inserts in prop::collection::vec((0u64..60, 0u64..12), 0..30), probe in (0u64..60, 0u64..20)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for (from, length) in inserts {
                ranges.insert(from, from + length);
                set.extend(from..from + length);
            }
            let listed: BTreeSet<u64> = ranges.iter().flat_map(|(from, to)| from..to).collect();
            prop_assert_eq!(&listed, &set);
            prop_assert!(ranges.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert_eq!(ranges.count(), set.len() as u64);
            prop_assert_eq!(ranges.end(), set.last().map_or(0, |last| last + 1));
            let first_missing = (0..).find(|sequence| !set.contains(sequence)).unwrap();
            prop_assert_eq!(ranges.contiguous(), first_missing);
            let (from, to) = (probe.0, probe.0 + probe.1);
            let missing: Vec<u64> = ranges.missing(from, to).into_iter().flat_map(|(from, to)| from..to).collect();
            let expected: Vec<u64> = (from..to).filter(|sequence| !set.contains(sequence)).collect();
            prop_assert_eq!(ranges.holds(from, to), expected.is_empty());
            prop_assert_eq!(missing, expected);
        }
    }
}
