//! Streams of lines that are cut and go on, and questions.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, Hub, HubOptions};
use selvedge_entry::{Record, Timestamp};
use selvedge_filter::Needs;
use selvedge_follow::{Begin, Cursor, Form, Lines, Question};
use serde_json::Value;

use crate::{closing, effect, encoded, opening};

/// The records of entries that overlap: each closes a few places after it opened.
fn overlapping(server: usize, entries: usize, spread: usize) -> Vec<Bytes> {
    let mut records = Vec::new();
    let mut open = Vec::new();
    for entry in 0..entries {
        let sequence = 1 + records.len() as u64;
        let name = format!("{server}-{entry}");
        records.push(encoded(&Record::Opening(opening(&name, Timestamp(1)))));
        open.push(sequence);
        if open.len() > spread {
            let opening = open.remove(entry % spread.max(1));
            records.push(encoded(&Record::Effect {
                opening,
                effect: effect(),
            }));
            records.push(encoded(&Record::Closing {
                opening,
                closing: closing(),
            }));
        }
    }
    for opening in open {
        records.push(encoded(&Record::Closing {
            opening,
            closing: closing(),
        }));
    }
    records
}

async fn read(bus: &Hub, question: &Question, lines: usize) -> (Vec<String>, Cursor) {
    let mut stream = Lines::begin(bus, question.clone()).await.unwrap();
    let mut names = Vec::new();
    let mut cursor = Cursor::default();
    while names.len() < lines {
        let line = stream.next().await.unwrap();
        let line: Value = serde_json::from_slice(&line).unwrap();
        let name = line["entry"]["attributes"]["choice"].as_str().unwrap();
        names.push(name.to_owned());
        cursor = line["cursor"].as_str().unwrap().parse().unwrap();
    }
    (names, cursor)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_stream_that_is_cut_anywhere_tells_each_entry_once(
        entries in 1..30_usize, spread in 0..6_usize,
        cuts in prop::collection::vec(1..9_usize, 0..8),
        when in prop::sample::select(vec!["opening", "effect", "closing"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hub = Hub::new(HubOptions::default());
            let mut publishers = Vec::new();
            for server in 0..3 {
                let journal = Arc::new(MemoryJournal::new(&format!("content-{server}")));
                let publisher = hub.join(journal.clone()).await.unwrap();
                for part in overlapping(server, entries, spread).chunks(4) {
                    publisher.announce(journal.append(part.iter().cloned())).await.unwrap();
                }
                publishers.push(publisher);
            }
            let query = format!("from=oldest&when={when}");
            let mut question = Question::parse(&query, None, None).unwrap();
            let mut told: BTreeMap<String, usize> = BTreeMap::new();
            let mut left = 3 * entries;
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (names, cursor) = read(&hub, &question, cut.min(left)).await;
                left -= names.len();
                for name in names {
                    *told.entry(name).or_default() += 1;
                }
                if left == 0 {
                    break;
                }
                question.begin = Begin::At(cursor);
            }
            assert_eq!(told.len(), 3 * entries);
            assert!(told.values().all(|times| *times == 1), "{told:?}");
        });
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written(text in "[a-c0-9/,-]{0,60}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            let again: Cursor = cursor.to_string().parse().unwrap();
            prop_assert_eq!(again, cursor);
        }
    }
}

#[tokio::test]
async fn only_what_was_asked_for_is_told_and_gaps_are() {
    let hub = Hub::new(HubOptions::default());
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let batch = journal.append(overlapping(1, 5, 0));
    publisher.announce(batch).await.unwrap();
    let query = "from=oldest&form=events&filter=attribute.choice+in+(1-1,1-4)";
    let question = Question::parse(query, None, None).unwrap();
    let mut stream = Lines::begin(&hub, question).await.unwrap();
    for name in ["1-1", "1-4"] {
        let event = stream.next().await.unwrap();
        let event = std::str::from_utf8(&event).unwrap();
        let lines: Vec<&str> = event.lines().collect();
        assert!(lines[0].starts_with("id: content-1/1-"), "{event}");
        assert_eq!(lines[1], "event: entry");
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["attributes"]["choice"], name);
        assert_eq!(lines[3], "");
    }
    // Retention takes what a reader has not had.
    let cursor = "content-1/1-000000005e1e0001/0-0";
    let question = Question::parse(&format!("cursor={cursor}"), None, None);
    assert!(matches!(question.unwrap().begin, Begin::At(_)));
}

#[test]
fn a_question_says_what_is_wrong_with_it() {
    for (query, message) in [
        ("filtre=x", "no parameter filtre: there are filter, when"),
        ("filter=service+x", "filter, at byte 8: expected ="),
        (
            "when=later",
            "when=later: write when=opening, effect or closing",
        ),
        ("from=yesterday", "from=yesterday: write from=now or oldest"),
        ("form=xml", "form=xml: write form=lines or events"),
        ("cursor=x", "not a cursor"),
    ] {
        let error = Question::parse(query, None, None).unwrap_err().to_string();
        assert!(error.starts_with(message), "{query}: {error}");
    }
    let browser = Question::parse(
        "when=opening&filter=status%3D200",
        Some("text/event-stream"),
        Some(""),
    );
    let browser = browser.unwrap();
    assert_eq!(browser.form, Form::Events);
    assert_eq!(browser.when, Needs::Effect, "what the filter needs");
    let again = Question::parse("from=now", None, Some("a/1-0000000000000001/3-4"));
    assert!(matches!(again.unwrap().begin, Begin::At(_)), "it goes on");
}
