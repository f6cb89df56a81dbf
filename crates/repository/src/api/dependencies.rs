//! Which service calls which, how often, how well and how fast: a fold over call trees.
//!
//! One row a caller, callee and operation. A call counts once, whether one side logged it or
//! both, and however many hosts received it; where the caller was lost, the tree tells it from
//! what is left. Durations are the caller's where it logged them: what it waited for.
//!
//! Limits: a call whose caller or callee nobody names is left out, and so is what clients ask of
//! the first service. Percentiles are exact to one part in 32.

use std::collections::BTreeMap;

use selvedge_calltree::{NodeView, Tree};
use selvedge_entry::{Outcome, Text};
use serde::Serialize;

/// What one service asked of another, in a list.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct DependencyRow {
    caller: Text,
    callee: Text,
    operation: Text,
    calls: u64,
    /// Those of them that failed.
    errors: u64,
    /// Nanoseconds that half of the calls took at most; none where no call's end is known.
    p50: Option<u64>,
    /// Nanoseconds that 99 of 100 calls took at most.
    p99: Option<u64>,
}

/// The calls of any number of trees.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    by_edge: BTreeMap<(Text, Text, Text), Edge>,
}

#[derive(Debug, Default)]
struct Edge {
    calls: u64,
    errors: u64,
    durations: Sketch,
}

impl Dependencies {
    /// Adds a tree's calls.
    pub(super) fn add(&mut self, tree: &Tree<'_>) {
        for node in tree.nodes() {
            let Some(edge) = edge(&node) else {
                continue;
            };
            let edge = self.by_edge.entry(edge).or_default();
            edge.calls += 1;
            edge.errors += u64::from(node.outcome() == Outcome::Error);
            let waited = node.outbound().and_then(|sent| sent.duration_ns);
            if let Some(duration) = waited.or(node.duration_ns()) {
                edge.durations.add(duration);
            }
        }
    }

    /// The rows, by caller, callee and operation.
    pub(super) fn rows(self) -> Vec<DependencyRow> {
        let row = |((caller, callee, operation), edge): (_, Edge)| DependencyRow {
            caller,
            callee,
            operation,
            calls: edge.calls,
            errors: edge.errors,
            p50: edge.durations.at_most(50),
            p99: edge.durations.at_most(99),
        };
        self.by_edge.into_iter().map(row).collect()
    }
}

fn edge(node: &NodeView<'_>) -> Option<(Text, Text, Text)> {
    let said = node.outbound().map(|sent| &sent.service);
    let caller = said
        .or_else(|| node.parent()?.service())
        .or_else(|| node.inbound()?.peer.as_ref())?;
    Some((
        caller.clone(),
        node.service()?.clone(),
        node.operation()?.clone(),
    ))
}

/// Counts of values in buckets: 16 for each power of two.
#[derive(Debug, Default)]
struct Sketch {
    buckets: BTreeMap<u16, u64>,
    count: u64,
}

/// Values below this have a bucket each.
const EXACT: u64 = 32;

impl Sketch {
    fn add(&mut self, value: u64) {
        *self.buckets.entry(bucket(value)).or_default() += 1;
        self.count += 1;
    }

    /// The value that this percentage of all values does not exceed.
    fn at_most(&self, percent: u64) -> Option<u64> {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen >= wanted
        });
        found.map(|(bucket, _)| middle(*bucket))
    }
}

/// Large values by their five highest bits.
fn bucket(value: u64) -> u16 {
    if value < EXACT {
        return value as u16;
    }
    let shift = value.ilog2() - 4;
    (16 * shift) as u16 + (value >> shift) as u16
}

fn middle(bucket: u16) -> u64 {
    if u64::from(bucket) < EXACT {
        return u64::from(bucket);
    }
    let shift = bucket / 16 - 1;
    let high = u64::from(bucket % 16 + 16);
    (high << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use selvedge_journal::testing::FaultyStorage;

    use super::*;
    use crate::api::answers;
    use crate::fixture::{self, Spec, Written};
    use crate::query::RequestQuery;
    use crate::store::{Store, StoreOptions};

    #[test]
    fn answers_that_go_on_count_every_request_once() {
        let disk = Arc::new(FaultyStorage::new());
        let store = Store::open(disk, Path::new("/r"), StoreOptions::default()).expect("opens");
        let calls = (1..=7).flat_map(|n| {
            let root = Spec {
                origin: Some(n),
                stack: vec![n],
                at: i64::from(n),
                ..Spec::default()
            };
            let call = Spec {
                depth: 1,
                stack: vec![n, n + 10],
                service: 2,
                ..root.clone()
            };
            [root, call]
        });
        let specs: Vec<Spec> = calls.collect();
        let epoch = fixture::epoch(1, 0);
        let records = fixture::records(epoch, None, &specs);
        let records: Vec<_> = records.iter().map(Written::bytes).collect();
        let stored = store.append(&fixture::server(1), epoch, 0, &records);
        stored.expect("stored");

        let mut query = RequestQuery {
            limit: 3,
            ..RequestQuery::default()
        };
        let mut calls = Vec::new();
        loop {
            let (rows, next) = answers::dependencies(&store, &query).expect("answers");
            calls.push(rows.iter().map(|row| row.calls).sum::<u64>());
            query.cursor = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(calls, [3, 3, 1]);
    }

    #[test]
    fn no_values_have_no_percentile() {
        assert_eq!(Sketch::default().at_most(50), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn a_percentile_is_near_the_value_of_its_rank(
            mut values in prop::collection::vec(prop_oneof![0u64..100, 0..=u64::MAX, Just(u64::MAX)], 1..200),
            percent in 1u64..=100,
        ) {
            let mut sketch = Sketch::default();
            values.iter().for_each(|value| sketch.add(*value));
            values.sort_unstable();
            let rank = (values.len() as u64 * percent).div_ceil(100) as usize - 1;
            let (said, exact) = (sketch.at_most(percent).unwrap(), values[rank]);
            prop_assert!(said.abs_diff(exact) <= exact / 32, "{} for {}", said, exact);
        }
    }
}
