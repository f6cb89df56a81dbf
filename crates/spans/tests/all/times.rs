//! What spans say of clocks, and what they do not (E3).

use selvedge_calltree::TreeBuilder;
use selvedge_entry::Timestamp;
use selvedge_spans::{Kind, Span, observe};

use crate::observe::span;

/// In the midst of an hour, so that minutes tell the whole difference.
const BEGAN: i64 = 1_795_177_800_000_000_000;

/// A span of a host of its service's name; times in microseconds.
fn timed(service: &str, kind: Kind, id: u64, parent: u64, start: i64, duration: u64) -> Span {
    Span {
        start: Some(Timestamp(BEGAN + start * 1000)),
        duration_ns: Some(duration * 1000),
        host: service.into(),
        ..span(service, kind, id, parent)
    }
}

/// By service: how far its node's start is shown moved, in microseconds; and whether some clock is
/// said to be off.
fn moved(spans: &[Span]) -> (Vec<(String, i64)>, bool) {
    let observed = observe(spans);
    let (origin, observations) = observed.requests.into_iter().next().expect("a trace");
    let builder = TreeBuilder::batch(origin, observations);
    let tree = builder.tree();
    let json = serde_json::to_value(tree.to_json()).expect("JSON");
    let nodes = json["nodes"].as_array().expect("nodes");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let mut moved: Vec<(String, i64)> = nodes
        .iter()
        .filter_map(|node| {
            let (start, raw) = (text(&node["start"])?, text(&node["start_raw"])?);
            Some((text(&node["service"])?, micros(&start) - micros(&raw)))
        })
        .collect();
    moved.sort();
    let flags = json["flags"].as_array().expect("flags");
    (moved, flags.iter().any(|flag| flag == "skewed"))
}

/// Microseconds within the hour of an RFC 3339 time.
fn micros(text: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    (part(14..16) * 60 + part(17..19)) * 1_000_000 + part(20..26)
}

#[test]
fn a_call_that_seems_answered_before_it_was_sent_shows_the_clocks_difference() {
    let spans = [
        timed("a", Kind::Server, 1, 0, 0, 100),
        timed("a", Kind::Client, 2, 1, 10, 80),
        timed("b", Kind::Server, 3, 2, -980, 60),
    ];
    let (moved, skewed) = moved(&spans);
    assert_eq!(moved, [("a".into(), 0), ("b".into(), 1000)]);
    assert!(skewed);
}

#[test]
fn a_message_taken_long_after_it_was_sent_says_nothing_of_clocks() {
    let spans = [
        timed("a", Kind::Server, 1, 0, 0, 100),
        timed("a", Kind::Producer, 2, 1, 10, 5),
        timed("b", Kind::Consumer, 3, 2, 5_000_000, 2),
    ];
    assert_eq!(
        moved(&spans),
        (vec![("a".into(), 0), ("b".into(), 0)], false)
    );
}

#[test]
fn a_callee_that_works_on_after_its_caller_gave_up_says_nothing_of_clocks() {
    let spans = [
        timed("a", Kind::Server, 1, 0, 0, 100),
        timed("a", Kind::Client, 2, 1, 10, 50),
        timed("b", Kind::Server, 3, 2, 15, 900),
    ];
    assert_eq!(
        moved(&spans),
        (vec![("a".into(), 0), ("b".into(), 0)], false)
    );
}

#[test]
fn a_span_without_a_start_says_nothing_of_clocks() {
    let mut spans = vec![
        timed("a", Kind::Server, 1, 0, 0, 100),
        timed("b", Kind::Server, 3, 1, 20, 10),
        timed("c", Kind::Server, 4, 3, 22, 5),
    ];
    spans[1].start = None;
    let (moved, skewed) = moved(&spans);
    assert!(moved.contains(&("c".into(), 0)), "{moved:?}");
    assert!(!skewed);
}

#[test]
fn of_several_receivers_any_may_have_made_the_calls_below() {
    let spans = [
        timed("a", Kind::Server, 1, 0, 0, 100),
        timed("a", Kind::Client, 2, 1, 10, 80),
        timed("b", Kind::Server, 3, 2, 70, 10),
        timed("c", Kind::Server, 4, 2, 20, 30),
        timed("c", Kind::Client, 5, 4, 25, 20),
        timed("d", Kind::Server, 6, 5, 30, 10),
    ];
    let (moved, skewed) = moved(&spans);
    assert!(!skewed, "{moved:?}");
}
