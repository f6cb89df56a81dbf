//! The format holds: journals of every version ever written are read, and what is written today
//! is, byte for byte, what the fixture of the current version shows.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::{commit, open, options};
use selvedge_identity::ServerName;
use selvedge_journal::testing::{Crash, FaultyStorage};
use selvedge_journal::{
    DiskStorage, EpochStart, Journal, JournalError, JournalOptions, read_dir, read_file,
};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/content-1")
}

/// Two epochs; the second ended by a kill, so its file has an empty tail.
fn written_today() -> Vec<(String, Vec<u8>)> {
    let storage = FaultyStorage::new();
    let random = Arc::new(AtomicU64::new(1));
    for life in 1..=2 {
        let journal = open(&storage, &random, options()).unwrap();
        for group in 1..=2 {
            for record in 1..=life {
                let text = format!("\x01life {life} group {group} record {record}");
                journal.append(text.as_bytes()).unwrap();
            }
            commit(&journal);
        }
        if life == 1 {
            journal.close();
        } else {
            storage.crash(Crash::Process);
        }
    }
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    storage
        .files()
        .iter()
        .map(|path| (name(path), storage.contents(path).unwrap()))
        .collect()
}

#[test]
fn what_is_written_today_is_the_fixture_byte_for_byte() {
    let mut expected = Vec::new();
    for file in std::fs::read_dir(fixture()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        expected.push((name, std::fs::read(file.path()).unwrap()));
    }
    expected.sort();
    assert_eq!(written_today(), expected);
}

#[test]
fn the_documented_example_is_the_fixture() {
    let page = include_str!("../../../docs/formats/journal.md");
    let dump = page.split("## Example").nth(1).unwrap();
    let dump = dump.split("```").nth(1).unwrap();
    let shown: Vec<u8> = dump
        .lines()
        .skip(1)
        .flat_map(|line| line[6..].split("  ").next().unwrap().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    assert_eq!(shown, written_today()[0].1);
}

#[test]
#[ignore = "writes the fixture: once for each new version of the format"]
fn write_the_fixture() {
    std::fs::create_dir_all(fixture()).unwrap();
    for (name, bytes) in written_today() {
        std::fs::write(fixture().join(name), bytes).unwrap();
    }
}

#[test]
fn a_journal_of_version_1_is_read() {
    let records: Vec<_> = read_dir(Arc::new(DiskStorage), &fixture())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let shown: Vec<String> = records
        .iter()
        .map(|record| {
            let text = EpochStart::decode(&record.payload).map_or_else(
                || String::from_utf8(record.payload[1..].to_vec()).unwrap(),
                |start| match start.previous {
                    None => "begins".into(),
                    Some((epoch, records)) => format!("follows {records} of {epoch}"),
                },
            );
            let (server, epoch) = (record.server.as_str(), record.epoch);
            format!("{server}/{epoch}/{} {text}", record.sequence)
        })
        .collect();
    let (first, second) = ("1-1e3779b97f4a7c15", "2-5aa66d2c7ddf743f");
    assert_eq!(
        shown,
        [
            format!("content-1/{first}/0 begins"),
            format!("content-1/{first}/1 life 1 group 1 record 1"),
            format!("content-1/{first}/2 life 1 group 2 record 1"),
            format!("content-1/{second}/0 follows 3 of {first}"),
            format!("content-1/{second}/1 life 2 group 1 record 1"),
            format!("content-1/{second}/2 life 2 group 1 record 2"),
            format!("content-1/{second}/3 life 2 group 2 record 1"),
            format!("content-1/{second}/4 life 2 group 2 record 2"),
        ]
    );
}

#[test]
fn a_journal_of_version_1_is_recovered_and_written_on() {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let journal = Journal::open(
        Arc::new(DiskStorage),
        dir.path(),
        ServerName::new("content-1").unwrap(),
        Box::new(|| 7),
        JournalOptions::default(),
    )
    .unwrap();
    let (epoch, records) = journal.recovered().previous.unwrap();
    assert_eq!((epoch.counter, records), (2, 5));
    assert_eq!(journal.epoch().counter, 3);
}

#[test]
fn one_file_is_read_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("saved.bin");
    let (_, bytes) = written_today().remove(1);
    std::fs::write(&copy, bytes).unwrap();
    let records = read_file(Arc::new(DiskStorage), &copy).unwrap();
    assert_eq!(records.map(Result::unwrap).count(), 5);
    std::fs::write(&copy, "something else").unwrap();
    let refused = read_file(Arc::new(DiskStorage), &copy);
    assert!(matches!(refused, Err(JournalError::NotASegment { .. })));
}

#[test]
fn a_segment_of_a_later_version_is_refused_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (name, mut bytes) = written_today().remove(1);
    bytes[8] = 2;
    let check = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&check.to_le_bytes());
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let refused = read_dir(Arc::new(DiskStorage), dir.path());
    assert!(matches!(
        refused,
        Err(JournalError::UnsupportedVersion { version: 2, .. })
    ));
}
