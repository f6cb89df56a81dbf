//! What the tests on the faulty disk share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of it"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use selvedge_identity::{Epoch, ServerName};
use selvedge_journal::testing::FaultyStorage;
use selvedge_journal::{
    Delivery, Driver, Journal, JournalError, JournalOptions, ReadRecord, Reader, read_dir,
};

/// What is read or was appended, by position; record 0 of each epoch included.
pub type Records = BTreeMap<(Epoch, u64), Vec<u8>>;

pub fn dir() -> &'static Path {
    Path::new("/journal")
}

pub fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 4096,
        allocate_bytes: 1000,
        recent_bytes: 1500,
        driver: Driver::Manual,
        clock: Arc::new(|| UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        ..JournalOptions::default()
    }
}

/// Opens with its randomness from a counter that outlives the journal.
pub fn open(
    storage: &FaultyStorage,
    random: &Arc<AtomicU64>,
    options: JournalOptions,
) -> Result<Journal, JournalError> {
    let random = random.clone();
    let server = ServerName::new("content-1").unwrap();
    let draw = move || {
        random
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    Journal::open(
        Arc::new(storage.clone()),
        dir(),
        server,
        Box::new(draw),
        options,
    )
}

/// Commits all that is queued.
pub fn commit(journal: &Journal) {
    while journal.step() {}
}

/// What a stranger reads of the folder, and what it is told of.
pub fn read_all(storage: &FaultyStorage) -> (Vec<ReadRecord>, Vec<JournalError>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    for read in read_dir(Arc::new(storage.clone()), dir()).unwrap() {
        match read {
            Ok(record) => records.push(record),
            Err(error) => errors.push(error),
        }
    }
    (records, errors)
}

pub fn by_position(records: &[ReadRecord]) -> Records {
    records
        .iter()
        .map(|record| ((record.epoch, record.sequence), record.payload.to_vec()))
        .collect()
}

/// What a reader gives without waiting, and the gaps it tells of.
pub fn drain(reader: &mut Reader) -> (Records, Vec<selvedge_journal::Gap>) {
    let (mut records, mut gaps) = (Records::new(), Vec::new());
    let mut last = None;
    while let Some(delivery) = reader.try_next(300).unwrap() {
        match delivery {
            Delivery::Batch(batch) => {
                assert!(!batch.records.is_empty());
                for (sequence, payload) in (batch.first..).zip(batch.records) {
                    let position = (batch.epoch, sequence);
                    assert!(last < Some(position), "{last:?} then {position:?}");
                    last = Some(position);
                    records.insert(position, payload.to_vec());
                }
            }
            Delivery::Gap(gap) => gaps.push(gap),
            Delivery::Closed => break,
        }
    }
    (records, gaps)
}
