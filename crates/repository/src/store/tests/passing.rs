//! What an owner was not asked for is told apart from what is missing, also after a start.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_journal::testing::FaultyStorage;

use crate::fixture;
use crate::store::{Store, StoreOptions};

fn open(disk: &FaultyStorage) -> Store {
    let options = StoreOptions::default();
    Store::open(Arc::new(disk.clone()), Path::new("/r"), options).expect("opens")
}

/// What happens to some records of an epoch.
#[derive(Clone, Copy, Debug)]
enum What {
    Come,
    Lost,
    PassedOver,
}

fn step() -> impl Strategy<Value = (What, u64, u64)> {
    let what = prop::sample::select(vec![What::Come, What::Lost, What::PassedOver]);
    (what, 0..60_u64, 1..20_u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_is_here_or_lost_or_unasked_or_missing(steps in prop::collection::vec(step(), 1..20)) {
        let disk = FaultyStorage::new();
        let store = open(&disk);
        let (server, epoch) = (fixture::server(1), fixture::epoch(1, 0));
        let (mut here, mut lost, mut passed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (what, from, count) in steps {
            let range = from..from + count;
            match what {
                What::Come => {
                    let records: Vec<Bytes> = range.clone().map(|_| Bytes::from_static(b"\xffx")).collect();
                    store.append(&server, epoch, from, &records).unwrap();
                    here.extend(range);
                }
                What::Lost => {
                    store.lose(&server, epoch, range.start, range.end).unwrap();
                    lost.extend(range);
                }
                What::PassedOver => {
                    store.pass_over(&server, epoch, range.start, range.end).unwrap();
                    passed.extend(range);
                }
            }
        }
        // Where the epoch ends is known of what came and what was lost.
        let end = here.iter().chain(&lost).max().map_or(0, |last| last + 1);
        let gone: BTreeSet<u64> = lost.difference(&here).copied().collect();
        let unasked: BTreeSet<u64> =
            passed.iter().filter(|s| !here.contains(s) && !gone.contains(s)).copied().collect();
        let missing: BTreeSet<u64> = (0..end)
            .filter(|s| !here.contains(s) && !gone.contains(s) && !unasked.contains(s))
            .collect();
        store.sync().unwrap();
        let first = store.journals();
        drop(store);
        let again = open(&disk).journals();
        for journals in [first, again] {
            // Passing over what is here already says nothing, and may say it of no epoch.
            prop_assert!(journals.len() <= 1);
            let Some(view) = journals.first().and_then(|journal| journal.epochs.first()) else {
                prop_assert!(here.is_empty() && gone.is_empty() && unasked.is_empty());
                continue;
            };
            prop_assert_eq!(view.records, here.len() as u64);
            let shown: BTreeSet<u64> = view.unasked.iter().flat_map(|part| part.from..part.to).collect();
            prop_assert_eq!(&shown, &unasked);
            for (is_lost, expected) in [(true, &gone), (false, &missing)] {
                let gaps = view.gaps.iter().filter(|gap| gap.lost == is_lost);
                let shown: BTreeSet<u64> = gaps.flat_map(|gap| gap.from..gap.to.unwrap()).collect();
                prop_assert_eq!(&shown, expected);
            }
        }
    }
}
