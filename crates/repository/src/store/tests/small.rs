//! Single behaviours of the store.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_journal::testing::{Crash, FaultyStorage};

use crate::fixture::{self, Spec, Written};
use crate::store::{GapView, Store, StoreError, StoreOptions, Stored};

fn open(disk: &FaultyStorage) -> Store {
    let options = StoreOptions::default();
    Store::open(Arc::new(disk.clone()), Path::new("/r"), options).expect("opens")
}

fn records(counter: usize, previous: Option<usize>, entries: usize) -> Vec<Bytes> {
    let previous = previous.map(|records| (fixture::epoch(1, counter - 1), records as u64));
    let specs = vec![Spec::default(); entries];
    let written = fixture::records(fixture::epoch(1, counter), previous, &specs);
    written.iter().map(Written::bytes).collect()
}

#[test]
fn a_second_delivery_is_counted_and_changes_nothing() {
    let store = open(&FaultyStorage::new());
    let (server, epoch, records) = (
        fixture::server(1),
        fixture::epoch(1, 0),
        records(0, None, 2),
    );
    assert_eq!(records.len(), 7);
    let stored = store.append(&server, epoch, 0, &records[..4]).unwrap();
    assert_eq!(
        stored,
        Stored {
            new: 4,
            repeated: 0
        }
    );
    let stored = store.append(&server, epoch, 2, &records[2..]).unwrap();
    assert_eq!(
        stored,
        Stored {
            new: 3,
            repeated: 2
        }
    );
    assert_eq!(store.counts().entries, 2);
    assert_eq!(store.counts().repeated, 2);
}

#[test]
fn gaps_are_shown_until_they_are_filled_and_lost_ones_stay() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let (server, epoch, records) = (
        fixture::server(1),
        fixture::epoch(1, 0),
        records(0, None, 3),
    );
    store.append(&server, epoch, 0, &records[..2]).unwrap();
    store.append(&server, epoch, 5, &records[5..6]).unwrap();
    store.append(&server, epoch, 9, &records[9..]).unwrap();
    let gap = |from, to, lost| GapView {
        from,
        to: Some(to),
        lost,
    };
    let gaps = |store: &Store| store.journals()[0].epochs[0].gaps.clone();
    assert_eq!(gaps(&store), [gap(2, 5, false), gap(6, 9, false)]);
    assert_eq!(store.positions()[0].sequence, 2);
    store.append(&server, epoch, 2, &records[2..5]).unwrap();
    store.lose(&server, epoch, 6, 8).unwrap();
    assert_eq!(gaps(&store), [gap(6, 8, true), gap(8, 9, false)]);
    assert_eq!(store.positions()[0].sequence, 8);
    drop(store);
    assert_eq!(gaps(&open(&disk)), [gap(6, 8, true), gap(8, 9, false)]);
}

#[test]
fn an_epoch_lost_without_a_known_end_is_not_asked_for_again() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let server = fixture::server(1);
    let first = records(0, None, 1);
    store
        .append(&server, fixture::epoch(1, 0), 0, &first[..2])
        .unwrap();
    let second = records(1, Some(first.len()), 1);
    store
        .append(&server, fixture::epoch(1, 1), 0, &second)
        .unwrap();
    // The later epoch says that the earlier held more.
    assert_eq!(store.positions()[0].epoch, fixture::epoch(1, 0));
    let unknown = selvedge_bus::Event::UNKNOWN_END;
    store
        .lose(&server, fixture::epoch(1, 0), 2, unknown)
        .unwrap();
    let length = |disk: &FaultyStorage| disk.contents(&disk.files()[0]).unwrap().len();
    store.sync().unwrap();
    let before = length(&disk);
    store
        .lose(&server, fixture::epoch(1, 0), 2, unknown)
        .unwrap();
    assert_eq!(length(&disk), before, "said once, kept once");
    let position = &store.positions()[0];
    assert_eq!(
        (position.epoch, position.sequence),
        (fixture::epoch(1, 1), second.len() as u64)
    );
    let epochs = store.journals()[0].epochs.clone();
    assert_eq!(epochs[0].next, 2);
    assert_eq!(
        epochs[0]
            .gaps
            .last()
            .map(|gap| (gap.from, gap.to, gap.lost)),
        Some((2, None, true))
    );
}

#[test]
fn an_epoch_that_is_only_heard_of_is_asked_for() {
    let store = open(&FaultyStorage::new());
    let second = records(1, Some(4), 1);
    store
        .append(&fixture::server(1), fixture::epoch(1, 1), 0, &second)
        .unwrap();
    // What that epoch followed is not known: all is asked for.
    assert_eq!(store.positions(), []);
    let epochs = store.journals()[0].epochs.clone();
    assert_eq!(
        epochs[0].gaps,
        [GapView {
            from: 0,
            to: Some(4),
            lost: false
        }]
    );
}

/// Found by the seeded simulation: the disk forgot an epoch's last record and the next epoch's only
/// one, which names the first one's end. A third epoch named the second's, so that was asked for
/// and came, and what was missing before it was not asked for until the next start.
#[test]
fn an_epoch_whose_end_nobody_tells_is_asked_for_from_its_last_record_on() {
    let store = open(&FaultyStorage::new());
    let append = |counter: usize, records: &[Bytes]| {
        let (server, epoch) = (fixture::server(1), fixture::epoch(1, counter));
        store.append(&server, epoch, 0, records).unwrap();
    };
    let first = records(0, None, 1);
    append(0, &first[..3]);
    append(2, &records(2, Some(1), 1));
    let position = store.positions().remove(0);
    assert_eq!(
        (position.epoch, position.sequence),
        (fixture::epoch(1, 0), 3)
    );
    append(0, &first);
    append(1, &records(1, Some(first.len()), 0));
    let position = store.positions().remove(0);
    assert_eq!(position.epoch, fixture::epoch(1, 2));
}

#[test]
fn a_refused_write_can_be_made_again_and_a_refused_sync_loses_no_answer() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let (server, epoch, records) = (
        fixture::server(1),
        fixture::epoch(1, 0),
        records(0, None, 4),
    );
    disk.set_full(true);
    let refused = store.append(&server, epoch, 0, &records).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("cannot write /r/0000000000.seg"),
        "{refused}"
    );
    assert_eq!(store.counts().entries, 0);
    disk.set_full(false);
    store.append(&server, epoch, 0, &records[..6]).unwrap();
    disk.fail_syncs(1);
    store.sync().unwrap_err();
    store.append(&server, epoch, 6, &records[6..]).unwrap();
    store.sync().unwrap();
    assert_eq!(store.counts().entries, 4);
    drop(store);
    disk.crash(Crash::Forget);
    // The doubtful file is gone with the crash, the next one is there: the first part is fetched
    // again.
    let store = open(&disk);
    assert_eq!(store.positions(), []);
    store.append(&server, epoch, 0, &records).unwrap();
    assert_eq!(
        store
            .request(fixture::origin(1))
            .unwrap()
            .unwrap()
            .entries
            .len(),
        4
    );
}

#[test]
fn a_folder_has_one_repository_at_a_time() {
    let disk = FaultyStorage::new();
    let _held = open(&disk);
    let second = Store::open(
        Arc::new(disk.clone()),
        Path::new("/r"),
        StoreOptions::default(),
    );
    assert!(matches!(second, Err(StoreError::InUse(_))));
}

#[test]
fn records_of_a_later_version_are_kept_and_counted() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let strange = [Bytes::from_static(b"\xfesomething new"), Bytes::new()];
    store
        .append(&fixture::server(1), fixture::epoch(1, 0), 0, &strange)
        .unwrap();
    assert_eq!(store.counts().unreadable, 2);
    assert_eq!(store.positions()[0].sequence, 2);
    drop(store);
    assert_eq!(open(&disk).counts().unreadable, 2);
}

#[test]
fn an_entry_and_a_span_cost_little_memory() {
    use crate::store::index::EntryRow;
    use crate::store::origins::OriginRow;
    use crate::store::spans::SpanRow;
    assert!(size_of::<EntryRow>() <= 136, "{}", size_of::<EntryRow>());
    assert!(size_of::<SpanRow>() <= 48, "{}", size_of::<SpanRow>());
    assert!(size_of::<OriginRow>() <= 64, "{}", size_of::<OriginRow>());
}
