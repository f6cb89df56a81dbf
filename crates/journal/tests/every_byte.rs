//! A small journal, cut and damaged at every single byte: nothing before the place is lost,
//! nothing false is read, nothing panics.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::{Records, by_position, commit, drain, open, options, read_all};
use selvedge_journal::testing::FaultyStorage;
use selvedge_journal::{EpochStart, GapCause, JournalError, JournalOptions};

/// A journal of two epochs, the last of two segments, cleanly closed: its files, what was
/// appended, and for each file its records with the offset at which each ends.
struct Sample {
    storage: FaultyStorage,
    records: Records,
    files: Vec<PathBuf>,
}

fn sample() -> Sample {
    let storage = FaultyStorage::new();
    let random = Arc::new(AtomicU64::new(1));
    for life in 0..2 {
        let journal = open(&storage, &random, options()).unwrap();
        for group in 0..7 * (life + 1) {
            for record in 0..3 {
                let text = format!(
                    "life {life} group {group} record {record} {}",
                    "x".repeat(90)
                );
                journal.append(text.as_bytes()).unwrap();
            }
            commit(&journal);
        }
        journal.close();
    }
    let (records, errors) = read_all(&storage);
    assert!(errors.is_empty(), "{errors:?}");
    let files = storage.files();
    assert_eq!(files.len(), 3);
    Sample {
        records: by_position(&records),
        storage,
        files,
    }
}

impl Sample {
    /// The disk with one file changed.
    fn changed(&self, file: usize, change: impl FnOnce(&mut Vec<u8>)) -> FaultyStorage {
        let storage = FaultyStorage::new();
        for (i, path) in self.files.iter().enumerate() {
            let bytes = self.storage.contents(path).unwrap();
            storage.set_contents(path, bytes);
            if i == file {
                let mut bytes = self.storage.contents(path).unwrap();
                change(&mut bytes);
                storage.set_contents(path, bytes);
                return self.with_rest(storage, i + 1);
            }
        }
        storage
    }

    fn with_rest(&self, storage: FaultyStorage, from: usize) -> FaultyStorage {
        for path in &self.files[from..] {
            storage.set_contents(path, self.storage.contents(path).unwrap());
        }
        storage
    }

    /// Where each record lies: its file, its first byte (its frame's) and the byte behind it.
    fn places(&self) -> Vec<((selvedge_identity::Epoch, u64), usize, usize, usize)> {
        let mut places = Vec::new();
        for (position, payload) in &self.records {
            for (file, path) in self.files.iter().enumerate() {
                let bytes = self.storage.contents(path).unwrap();
                if let Some(at) = bytes.windows(payload.len()).position(|w| w == payload) {
                    places.push((*position, file, at - 8, at + payload.len()));
                }
            }
        }
        assert_eq!(places.len(), self.records.len());
        places
    }
}

/// Reads with and without becoming the owner; both must agree and be true.
fn read_twice(storage: &FaultyStorage, sample: &Sample) -> (Records, Vec<JournalError>) {
    let (before, errors) = read_all(storage);
    let before = by_position(&before);
    let random = Arc::new(AtomicU64::new(1000));
    let journal = open(storage, &random, options()).unwrap();
    let (mut owned, gaps) = drain(&mut journal.reader(None));
    owned.retain(|(epoch, _), _| *epoch != journal.epoch());
    assert_eq!(owned, before);
    let told = errors
        .iter()
        .filter(|error| !matches!(error, JournalError::Damaged { from, to, .. } if from == to));
    assert_eq!(gaps.len(), told.count(), "{gaps:?} {errors:?}");
    assert!(
        gaps.iter()
            .all(|gap| matches!(gap.cause, GapCause::Damaged { .. }))
    );
    for (position, payload) in &before {
        assert_eq!(sample.records.get(position), Some(payload), "{position:?}");
    }
    (before, errors)
}

#[test]
fn truncated_at_every_byte_the_last_segment_keeps_all_before() {
    let sample = sample();
    let places = sample.places();
    let last = sample.files.len() - 1;
    let length = sample.storage.contents(&sample.files[last]).unwrap().len();
    for cut in 0..length {
        let storage = sample.changed(last, |bytes| bytes.truncate(cut));
        let (read, errors) = read_twice(&storage, &sample);
        let expected: Records = places
            .iter()
            .filter(|(_, file, _, end)| *file < last || *end <= cut)
            .map(|(position, ..)| (*position, sample.records[position].clone()))
            .collect();
        assert_eq!(read, expected, "cut at {cut}");
        assert!(
            errors.len() <= usize::from(cut < 128),
            "cut at {cut}: {errors:?}"
        );
    }
}

#[test]
fn truncated_at_every_byte_and_zero_filled_it_keeps_all_before() {
    let sample = sample();
    let places = sample.places();
    let last = sample.files.len() - 1;
    let length = sample.storage.contents(&sample.files[last]).unwrap().len();
    for cut in 0..length {
        let storage = sample.changed(last, |bytes| bytes[cut..].fill(0));
        let (read, _) = read_twice(&storage, &sample);
        for (position, file, _, end) in &places {
            assert!(
                *file == last && *end > cut || read.contains_key(position),
                "cut at {cut} lost {position:?}"
            );
        }
    }
}

#[test]
fn damaged_at_every_byte_only_what_lies_there_is_lost_and_it_is_told() {
    let sample = sample();
    let places = sample.places();
    for file in 0..sample.files.len() {
        let length = sample.storage.contents(&sample.files[file]).unwrap().len();
        for at in 0..length {
            let storage = sample.changed(file, |bytes| bytes[at] ^= 0x41);
            let (read, errors) = read_twice(&storage, &sample);
            let lost: Vec<_> = places
                .iter()
                .filter(|(position, ..)| !read.contains_key(position))
                .collect();
            // Nothing before the place, nothing of other files, and of a commit at most its three
            // records.
            assert!(lost.len() <= 3, "at {at}: {lost:?}");
            for (position, of, _, end) in &lost {
                assert!(*of == file && *end > at, "at {at} lost {position:?}");
            }
            let in_record = places
                .iter()
                .any(|(_, of, start, end)| *of == file && (*start..*end).contains(&at));
            let last_commit = places
                .iter()
                .filter(|(_, of, ..)| *of == file)
                .rev()
                .take(3);
            let in_last = file == sample.files.len() - 1
                && last_commit
                    .map(|(_, _, start, _)| start - 24)
                    .any(|start| at >= start);
            // The last commit cannot be told from a torn one; everything else is.
            assert!(
                in_last || !errors.is_empty(),
                "at {at} of {file} nothing was told"
            );
            if in_record && !in_last {
                assert!(
                    !lost.is_empty(),
                    "at {at} of {file} a false record was read"
                );
            }
        }
    }
}

#[test]
fn bytes_of_another_epoch_in_the_tail_are_not_read() {
    let sample = sample();
    let first = sample.storage.contents(&sample.files[0]).unwrap();
    let storage = sample.changed(2, |bytes| bytes.extend_from_slice(&first[128..]));
    let (read, _) = read_twice(&storage, &sample);
    assert_eq!(read, sample.records);
}

#[test]
fn an_earlier_commit_of_the_same_epoch_in_the_tail_is_not_read() {
    let sample = sample();
    let storage = sample.changed(2, |bytes| {
        let copy = bytes[128..].to_vec();
        bytes.extend_from_slice(&copy);
    });
    let (read, _) = read_twice(&storage, &sample);
    assert_eq!(read, sample.records);
}

#[test]
fn a_torn_tail_is_cut_and_the_next_epoch_names_where() {
    let sample = sample();
    let storage = sample.changed(2, |bytes| bytes.truncate(bytes.len() - 5));
    let random = Arc::new(AtomicU64::new(1000));
    let journal = open(&storage, &random, JournalOptions { ..options() }).unwrap();
    let torn = journal.recovered().torn.clone().unwrap();
    assert_eq!(torn.path, sample.files[2]);
    let left = storage.contents(&sample.files[2]).unwrap().len() as u64;
    assert_eq!(left, torn.offset);
    let (epoch, sequence) = *sample.records.keys().last().unwrap();
    assert_eq!(journal.recovered().previous, Some((epoch, sequence)));
    let (records, errors) = read_all(&storage);
    assert!(errors.is_empty());
    let start = EpochStart::decode(&records.last().unwrap().payload).unwrap();
    assert_eq!(start.previous, Some((epoch, sequence)));
}
