//! The journal on a real disk: the everyday path, with its thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_identity::ServerName;
use selvedge_journal::{
    AppendError, Batch, Delivery, DiskStorage, Durability, EpochStart, Journal, JournalError,
    JournalOptions, JournalState, Kept, Retain, read_dir,
};

fn server() -> ServerName {
    ServerName::new("content-1").unwrap()
}

fn open_with(dir: &Path, options: JournalOptions) -> Result<Journal, JournalError> {
    static RANDOM: AtomicU64 = AtomicU64::new(1);
    let random = || RANDOM.fetch_add(1, Ordering::Relaxed);
    Journal::open(
        Arc::new(DiskStorage),
        dir,
        server(),
        Box::new(random),
        options,
    )
}

fn open(dir: &Path) -> Journal {
    open_with(dir, JournalOptions::default()).unwrap()
}

fn small() -> JournalOptions {
    JournalOptions {
        segment_bytes: 4096,
        recent_bytes: 2048,
        ..JournalOptions::default()
    }
}

fn payloads(dir: &Path) -> Vec<Vec<u8>> {
    read_dir(Arc::new(DiskStorage), dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|record| record.sequence > 0)
        .map(|record| record.payload.to_vec())
        .collect()
}

fn record(i: usize) -> Vec<u8> {
    format!("record {i:08}").into_bytes()
}

#[test]
fn records_survive_reopening_and_epochs_chain() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    assert_eq!(first.append(&record(0)).unwrap().sequence, 1);
    let at = first.append(&record(1)).unwrap();
    assert_eq!(first.wait_durable(at), Kept::Durable);
    assert_eq!(first.durable_watermark(), (first.epoch(), 3));
    assert_eq!(first.state(), JournalState::Durable);
    first.close();
    assert_eq!(first.append(b"late"), Err(AppendError::Closed));

    let second = open(dir.path());
    second.append(&record(2)).unwrap();
    second.close();
    assert_eq!(second.recovered().previous, Some((first.epoch(), 3)));
    assert_eq!(payloads(dir.path()), [record(0), record(1), record(2)]);

    let starts: Vec<_> = read_dir(Arc::new(DiskStorage), dir.path())
        .unwrap()
        .filter_map(|record| EpochStart::decode(&record.unwrap().payload))
        .map(|start| (start.epoch, start.previous))
        .collect();
    assert_eq!(
        starts,
        [
            (first.epoch(), None),
            (second.epoch(), Some((first.epoch(), 3)))
        ]
    );
    assert_eq!((first.epoch().counter, second.epoch().counter), (1, 2));
}

#[test]
fn a_second_writer_is_refused_until_the_first_closes() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let refused = open_with(dir.path(), JournalOptions::default());
    assert!(matches!(refused, Err(JournalError::InUse { .. })));
    first.close();
    open(dir.path());
}

#[test]
fn the_journal_of_another_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close();
    let other = ServerName::new("content-2").unwrap();
    let refused = Journal::open(
        Arc::new(DiskStorage),
        dir.path(),
        other,
        Box::new(|| 1),
        JournalOptions::default(),
    );
    assert!(matches!(refused, Err(JournalError::ForeignServer { .. })));
}

#[test]
fn payloads_that_break_the_contract_are_refused_and_use_no_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert_eq!(journal.append(b""), Err(AppendError::Empty));
    assert_eq!(journal.append(b"\0x"), Err(AppendError::ReservedKind));
    let long = vec![1; selvedge_journal::RECORD_BYTES_MAX + 1];
    assert!(matches!(
        journal.append(&long),
        Err(AppendError::TooLong { .. })
    ));
    assert_eq!(journal.append(&long[1..]).unwrap().sequence, 1);
    assert_eq!(journal.append(b"x").unwrap().sequence, 2);
    journal.close();
    assert_eq!(payloads(dir.path())[0].len(), long.len() - 1);
}

/// Reads `count` records beyond the epoch's start.
async fn read(journal: &Journal, from_start: bool, count: usize) -> Vec<Vec<u8>> {
    let from = (!from_start).then(|| (journal.epoch(), 1));
    let mut reader = journal.reader(from);
    let mut records = Vec::new();
    while records.len() < count {
        match reader.next_batch(100).await.unwrap() {
            Delivery::Batch(Batch {
                first,
                records: batch,
                ..
            }) => records.extend(
                batch
                    .into_iter()
                    .skip(usize::from(first == 0))
                    .map(|record| record.to_vec()),
            ),
            other => panic!("{other:?}"),
        }
    }
    records
}

#[tokio::test]
async fn readers_get_everything_in_order_from_files_and_then_live() {
    let dir = tempfile::tempdir().unwrap();
    let old = open_with(dir.path(), small()).unwrap();
    for i in 0..500 {
        let at = old.append(&record(i)).unwrap();
        if i % 7 == 0 {
            old.durable(at).await;
        }
    }
    old.close();
    let journal = Arc::new(open_with(dir.path(), small()).unwrap());
    assert!(journal.counters().segments > 3, "{:?}", journal.counters());
    let readers: Vec<_> = [true, false]
        .into_iter()
        .map(|all| {
            let journal = journal.clone();
            tokio::spawn(async move { read(&journal, all, if all { 1000 } else { 500 }).await })
        })
        .collect();
    for i in 500..1000 {
        let at = journal.append(&record(i)).unwrap();
        if i % 11 == 0 {
            journal.durable(at).await;
        }
    }
    for (reader, start) in readers.into_iter().zip([0, 500]) {
        let expected: Vec<_> = (start..1000).map(record).collect();
        assert_eq!(reader.await.unwrap(), expected);
    }
    journal.close();
    let mut reader = journal.reader(Some(journal.durable_watermark()));
    assert_eq!(reader.next_batch(1).await.unwrap(), Delivery::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appenders_share_commits_and_positions_are_dense() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let tasks: Vec<_> = (0..64u64)
        .map(|task| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for i in 0..20u64 {
                    let payload = format!("{task} {i}");
                    let at = journal.append(payload.as_bytes()).unwrap();
                    assert_eq!(journal.durable(at).await, Kept::Durable);
                    assert!(journal.durable_watermark().1 > at.sequence);
                    mine.push((at.sequence, payload.into_bytes()));
                }
                mine
            })
        })
        .collect();
    let mut appended = Vec::new();
    for task in tasks {
        appended.extend(task.await.unwrap());
    }
    appended.sort();
    let counters = journal.counters();
    journal.close();
    let sequences: Vec<u64> = appended.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=64 * 20).collect::<Vec<_>>());
    let expected: Vec<_> = appended.into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads(dir.path()), expected);
    assert!(counters.commits < counters.records, "{counters:?}");
}

#[tokio::test]
async fn retention_removes_old_segments_and_readers_are_told_the_gap() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        retain: Retain {
            bytes: Some(10_000),
            age: None,
        },
        ..small()
    };
    let journal = open_with(dir.path(), options).unwrap();
    for i in 0..2000 {
        let at = journal.append(&record(i)).unwrap();
        if i % 10 == 0 {
            journal.durable(at).await;
        }
    }
    journal.durable(journal.append(b"last").unwrap()).await;
    let counters = journal.counters();
    assert!(counters.segments_removed > 0 && counters.segments <= 4);
    let range = journal.epochs()[0];
    assert_eq!(range.first, counters.records_removed);

    let mut reader = journal.reader(Some((journal.epoch(), 5)));
    let Delivery::Gap(gap) = reader.next_batch(1 << 20).await.unwrap() else {
        panic!("no gap");
    };
    assert_eq!((gap.from, gap.to), (5, range.first));
    let Delivery::Batch(batch) = reader.next_batch(1 << 20).await.unwrap() else {
        panic!("no batch");
    };
    assert_eq!(batch.first, range.first);
    assert_eq!(batch.records[0], record(range.first as usize - 1));
}

#[tokio::test]
async fn a_position_of_an_unknown_epoch_is_a_gap_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut unknown = journal.epoch();
    unknown.counter += 7;
    let mut reader = journal.reader(Some((unknown, 3)));
    assert!(matches!(reader.next_batch(1).await.unwrap(), Delivery::Gap(gap) if gap.from == 3));
    assert!(matches!(reader.next_batch(1).await.unwrap(),
        Delivery::Batch(batch) if batch.first == 0 && batch.epoch == journal.epoch()));
}

#[tokio::test]
async fn kept_in_memory_only_nothing_touches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let options = JournalOptions {
        durability: Durability::Memory,
        ..JournalOptions::default()
    };
    let journal = open_with(&nowhere, options).unwrap();
    let at = journal.append(b"x").unwrap();
    assert_eq!(journal.durable(at).await, Kept::Volatile);
    assert!(matches!(journal.state(), JournalState::Volatile { .. }));
    assert_eq!(read(&journal, true, 1).await, [b"x"]);
    assert!(!nowhere.exists());
}
