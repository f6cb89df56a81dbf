//! Arbitrary bytes as a segment: reading, recovering and tailing it never panics and always ends,
//! what is read has growing sequences, and owner and stranger read the same.
//!
//! libFuzzer finds no check by itself, so the input is a list of pieces: raw bytes, commit headers
//! and frames with the check that they should have.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use selvedge_identity::ServerName;
use selvedge_journal::testing::FaultyStorage;
use selvedge_journal::{
    Delivery, Driver, Gap, Journal, JournalOptions, ReadRecord, read_dir, read_file,
};

const NAME: &str = "/j/0000000001-1e3779b97f4a7c15-00000000000000000000-3c6ef372fe94f82a.journal";
const SALT: u64 = 0x3c6e_f372_fe94_f82a;
const WHOLE: &[u8] = include_bytes!(
    "../../crates/journal/tests/fixtures/v1/content-1/0000000001-1e3779b97f4a7c15-00000000000000000000-3c6ef372fe94f82a.journal"
);

fuzz_target!(|input: &[u8]| {
    check(input.to_vec());
    let mut segment = WHOLE[..128].to_vec();
    put_pieces(&mut segment, input);
    check(segment);
    let mut segment = WHOLE.to_vec();
    for change in input.chunks_exact(2) {
        let at = usize::from(change[0]) % segment.len();
        segment[at] ^= change[1];
    }
    check(segment);
});

fn check(segment: Vec<u8>) {
    let path = Path::new(NAME);
    let storage = FaultyStorage::new();
    storage.set_contents(path, segment);
    let shared = Arc::new(storage.clone());
    if let Ok(records) = read_file(shared.clone(), path) {
        collect(records);
    }
    let Ok(records) = read_dir(shared.clone(), Path::new("/j")) else {
        return;
    };
    let by_stranger = collect(records);

    let options = JournalOptions {
        driver: Driver::Manual,
        allocate_bytes: 0,
        ..JournalOptions::default()
    };
    let server = ServerName::new("content-1").unwrap();
    let random = Box::new(|| 7);
    let Ok(journal) = Journal::open(shared, Path::new("/j"), server, random, options) else {
        return;
    };
    let mut by_owner = Vec::new();
    let mut reader = journal.reader(None);
    while let Some(delivery) = reader.try_next(100).unwrap() {
        match delivery {
            Delivery::Batch(batch) if batch.epoch != journal.epoch() => {
                by_owner.extend((batch.first..).zip(batch.records));
            }
            Delivery::Gap(gap) => assert!(gap.from < gap.to && gap.to < Gap::UNKNOWN_END),
            _ => {}
        }
    }
    let by_stranger: Vec<_> = by_stranger
        .into_iter()
        .map(|record| (record.sequence, record.payload))
        .collect();
    assert_eq!(by_owner, by_stranger);
}

fn collect<E>(records: impl Iterator<Item = Result<ReadRecord, E>>) -> Vec<ReadRecord> {
    let records: Vec<ReadRecord> = records.filter_map(Result::ok).collect();
    assert!(records.is_sorted_by(|a, b| (a.epoch, a.sequence) < (b.epoch, b.sequence)));
    records
}

/// Pieces: kind and length, then so many bytes.
fn put_pieces(segment: &mut Vec<u8>, mut input: &[u8]) {
    let mut sequence = 0u64;
    while let [kind, length, rest @ ..] = input {
        let length = usize::from(*length).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        input = rest;
        match (kind % 4, piece) {
            // A commit header: its frames' bytes, their number, and how far its sequence is off.
            (0, [bytes, records, off, ..]) => {
                let mut header = b"SVCM".to_vec();
                header.extend(u32::from(*bytes).to_le_bytes());
                header.extend((sequence + u64::from(off % 4)).to_le_bytes());
                header.extend(u32::from(*records).to_le_bytes());
                let check = crc32c::crc32c(&[&SALT.to_le_bytes()[..], &header].concat());
                segment.extend(header);
                segment.extend(check.to_le_bytes());
            }
            // A frame with the next sequence.
            (1 | 2, payload) => {
                let length = (payload.len() as u32).to_le_bytes();
                let seed = [&SALT.to_le_bytes()[..], &sequence.to_le_bytes(), &length].concat();
                let check = crc32c::crc32c(&[&seed, payload].concat());
                segment.extend(length);
                segment.extend(check.to_le_bytes());
                segment.extend(payload);
                sequence += 1;
            }
            (_, raw) => segment.extend(raw),
        }
    }
}
