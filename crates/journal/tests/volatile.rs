//! What happens when the disk fails and when it works again.

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::{commit, drain, open, options, read_all};
use selvedge_journal::testing::{Crash, FaultyStorage};
use selvedge_journal::{
    Delivery, Driver, EpochStart, GapCause, Journal, JournalError, JournalOptions, JournalState,
    Kept,
};

fn random() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(1))
}

fn is_volatile(journal: &Journal) -> bool {
    matches!(journal.state(), JournalState::Volatile { .. })
}

#[test]
fn a_failed_sync_ends_the_epoch_at_the_watermark_and_keeps_the_positions_in_memory() {
    let storage = FaultyStorage::new();
    let journal = open(&storage, &random(), options()).unwrap();
    let durable_epoch = journal.epoch();
    let acknowledged = journal.append(b"acknowledged").unwrap();
    commit(&journal);
    let in_doubt = journal.append(b"in doubt").unwrap();
    storage.fail_syncs(1);
    journal.step();

    assert_eq!(journal.kept(acknowledged), Some(Kept::Durable));
    assert_eq!(journal.kept(in_doubt), Some(Kept::Volatile));
    assert!(is_volatile(&journal));
    let volatile_epoch = journal.epoch();
    assert!(volatile_epoch > durable_epoch);
    let later = journal.append(b"later").unwrap();
    assert_eq!((later.epoch, later.sequence), (volatile_epoch, 1));

    // The disk works again: the next step begins a durable epoch, which names the first one.
    commit(&journal);
    assert_eq!(journal.kept(later), Some(Kept::Volatile));
    assert_eq!(journal.state(), JournalState::Durable);
    let third = journal.append(b"third").unwrap();
    commit(&journal);
    assert_eq!(journal.kept(third), Some(Kept::Durable));
    assert!(third.epoch > volatile_epoch);

    let (read, gaps) = drain(&mut journal.reader(None));
    assert!(gaps.is_empty());
    let order: Vec<_> = read.keys().copied().collect();
    assert_eq!(
        order,
        [
            (durable_epoch, 0),
            (durable_epoch, 1),
            (durable_epoch, 2),
            (volatile_epoch, 0),
            (volatile_epoch, 1),
            (third.epoch, 0),
            (third.epoch, 1),
        ]
    );
    let start = |epoch| EpochStart::decode(&read[&(epoch, 0)]).unwrap();
    assert!(start(volatile_epoch).volatile && !start(third.epoch).volatile);
    assert_eq!(start(volatile_epoch).previous, Some((durable_epoch, 2)));
    assert_eq!(start(third.epoch).previous, Some((durable_epoch, 2)));

    // On disk: what was acknowledged, and nothing of what was not.
    storage.crash(Crash::Forget);
    let (records, errors) = read_all(&storage);
    assert!(errors.is_empty());
    let positions: Vec<_> = records.iter().map(|r| (r.epoch, r.sequence)).collect();
    assert_eq!(
        positions,
        [
            (durable_epoch, 0),
            (durable_epoch, 1),
            (third.epoch, 0),
            (third.epoch, 1)
        ]
    );
}

#[test]
fn what_is_read_back_after_a_failed_sync_and_a_kill_is_made_durable() {
    let storage = FaultyStorage::new();
    let random = random();
    let journal = open(&storage, &random, options()).unwrap();
    journal.append(b"in doubt").unwrap();
    storage.fail_syncs(1);
    storage.fail_truncates(1);
    journal.step();
    storage.crash(Crash::Process);
    let next = open(&storage, &random, options()).unwrap();
    let previous = next.recovered().previous.unwrap();
    assert_eq!(previous.1, 2, "the bytes still read back");
    storage.crash(Crash::Forget);
    let (records, errors) = read_all(&storage);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(records[1].payload, &b"in doubt"[..]);
}

#[test]
fn memory_is_bounded_while_the_disk_is_full_and_what_fell_out_is_counted_and_told() {
    let storage = FaultyStorage::new();
    let options = JournalOptions {
        volatile_bytes: 5000,
        ..options()
    };
    let journal = open(&storage, &random(), options).unwrap();
    commit(&journal);
    storage.set_full(true);
    for i in 0..200 {
        journal
            .append(format!("{i:04} {}", "x".repeat(95)).as_bytes())
            .unwrap();
        journal.step();
    }
    assert!(is_volatile(&journal));
    let counters = journal.counters();
    assert!(counters.volatile_lost > 100, "{counters:?}");
    assert!(counters.failures > 0);
    let (read, gaps) = drain(&mut journal.reader(None));
    let lost: u64 = gaps.iter().map(|gap| gap.to - gap.from).sum();
    assert!(gaps.iter().all(|gap| gap.cause == GapCause::Volatile));
    assert_eq!(lost, counters.volatile_lost);
    let newest = read.values().last().unwrap();
    assert!(newest.starts_with(b"0199"));
}

#[test]
fn a_full_disk_refuses_the_opening_with_a_sentence() {
    let storage = FaultyStorage::new();
    storage.set_capacity(Some(10));
    let Err(error) = open(&storage, &random(), options()) else {
        panic!("opened on a full disk");
    };
    assert!(matches!(error, JournalError::Storage { .. }));
    assert!(
        error
            .to_string()
            .starts_with("cannot begin a segment in /journal: ")
    );
    // And leaves nothing behind that would hinder the next try.
    storage.set_full(false);
    open(&storage, &random(), options()).unwrap();
}

#[test]
fn a_crash_while_volatile_forgets_that_epoch_but_never_gives_its_place_to_another() {
    let storage = FaultyStorage::new();
    let random = random();
    let journal = open(&storage, &random, options()).unwrap();
    let durable = journal.epoch();
    storage.set_full(true);
    while !is_volatile(&journal) {
        journal.append(&[1; 500]).unwrap();
        journal.step();
    }
    let volatile = journal.epoch();
    storage.crash(Crash::Process);
    storage.set_full(false);
    let next = open(&storage, &random, options()).unwrap();
    assert!(durable < volatile && volatile < next.epoch());
    assert_eq!(next.recovered().previous.unwrap().0, durable);
    // A reader that stood in the forgotten epoch is told, and goes on with the next one.
    let mut reader = next.reader(Some((volatile, 1)));
    assert!(matches!(reader.try_next(1), Ok(Some(Delivery::Gap(gap))) if gap.epoch == volatile));
    assert!(
        matches!(reader.try_next(1), Ok(Some(Delivery::Batch(batch)))
        if batch.epoch == next.epoch() && batch.first == 0)
    );
}

#[tokio::test]
async fn the_writer_thread_recovers_by_itself() {
    let storage = FaultyStorage::new();
    let options = JournalOptions {
        driver: Driver::Thread,
        retry_after: Duration::from_millis(1),
        ..options()
    };
    let journal = open(&storage, &random(), options).unwrap();
    storage.set_full(true);
    let mut at;
    loop {
        at = journal.append(&[1; 100]).unwrap();
        if journal.durable(at).await == Kept::Volatile {
            break;
        }
    }
    let mut reader = journal.reader(Some((at.epoch, at.sequence)));
    storage.set_full(false);
    loop {
        let Delivery::Batch(batch) = reader.next_batch(1).await.unwrap() else {
            panic!("nothing is missing");
        };
        let start = EpochStart::decode(&batch.records[0]);
        if start.is_some_and(|start| !start.volatile) {
            assert_eq!(start.unwrap().previous.unwrap().0, at.epoch);
            break;
        }
    }
    assert_eq!(journal.state(), JournalState::Durable);
    let at = journal.append(b"x").unwrap();
    assert_eq!(journal.durable(at).await, Kept::Durable);
}
