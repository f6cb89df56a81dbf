//! The journal: durable records a second, beside plain sequential writes with fdatasync of the
//! same bytes on the same disk in the same run.
//!
//! Two loads of 250-byte records. *Answers*: 64 tasks, each appending one record and waiting until
//! it is durable, as servers do before an answer's first byte. Beside it a loop that knows all 64
//! records beforehand, writes them with one write and syncs. *Bulk*: one thread appends without
//! waiting, until the last record is durable. Beside it a loop that writes 4 MiB at a time and
//! syncs each. Rounds alternate between both sides; medians are shown.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_identity::ServerName;
use selvedge_journal::{DiskStorage, Journal, JournalOptions};

const RECORD: usize = 250;
const TASKS: usize = 64;
const ROUNDS: usize = 5;
/// Records a task appends.
const EACH: usize = 1000;
const BULK: usize = 800_000;
const BULK_WRITE: usize = 4 << 20;

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("scratch folder");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    println!("durable {RECORD}-byte records (median of {ROUNDS})");

    let (mut ours, mut plain, mut single, mut groups) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let journal = Arc::new(open(dir.path(), round));
        let before = journal.counters();
        ours.push(time(|| runtime.block_on(answers(&journal))));
        let counters = journal.counters();
        groups.push((counters.records - before.records) / (counters.commits - before.commits));
        journal.close();
        plain.push(time(|| plain_writes(dir.path(), TASKS * RECORD, EACH)));
        single.push(time(|| plain_writes(dir.path(), RECORD, EACH)));
    }
    let records = TASKS * EACH;
    let (ours, plain) = (rate(records, ours), rate(records, plain));
    let single = rate(EACH, single);
    println!("64 tasks: {} records a commit", groups[ROUNDS / 2]);
    println!("a plain loop that syncs each record: {single:.0}/s");
    row(
        "journal append, 64 tasks that wait",
        ours,
        "64 records a write + fdatasync",
        plain,
    );

    let (mut ours, mut plain) = (vec![], vec![]);
    for round in 0..ROUNDS {
        let journal = open(dir.path(), ROUNDS + round);
        ours.push(time(|| bulk(&journal)));
        journal.close();
        let writes = (BULK * RECORD).div_ceil(BULK_WRITE);
        plain.push(time(|| plain_writes(dir.path(), BULK_WRITE, writes)));
    }
    let (ours, plain) = (rate(BULK, ours), rate(BULK, plain));
    row(
        "journal append, bulk",
        ours,
        "4 MiB a write + fdatasync",
        plain,
    );
}

fn open(dir: &Path, round: usize) -> Journal {
    let random = move || round as u64;
    Journal::open(
        Arc::new(DiskStorage),
        &dir.join(round.to_string()),
        ServerName::new("bench").expect("valid name"),
        Box::new(random),
        JournalOptions::default(),
    )
    .expect("journal")
}

async fn answers(journal: &Arc<Journal>) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    let at = journal.append(&[7; RECORD]).expect("taken");
                    journal.durable(at).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
}

fn bulk(journal: &Journal) {
    let mut last = None;
    for _ in 0..BULK {
        last = Some(journal.append(&[7; RECORD]).expect("taken"));
    }
    journal.wait_durable(last.expect("some records"));
}

fn plain_writes(dir: &Path, bytes: usize, writes: usize) {
    let path = dir.join("plain");
    let mut file = File::create(&path).expect("file");
    let bytes = vec![7; bytes];
    for _ in 0..writes {
        file.write_all(&bytes).expect("write");
        file.sync_data().expect("sync");
    }
    std::fs::remove_file(path).expect("remove");
}

fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// Records a second in the median round.
fn rate(records: usize, mut rounds: Vec<Duration>) -> f64 {
    rounds.sort();
    records as f64 / rounds[rounds.len() / 2].as_secs_f64()
}

fn row(what: &str, ours: f64, beside: &str, plain: f64) {
    let per_second = |rate: f64| format!("{:.0}k/s", rate / 1e3);
    println!(
        "| {what} | {} | {beside}: {} | {:.2} |",
        per_second(ours),
        per_second(plain),
        ours / plain
    );
}
