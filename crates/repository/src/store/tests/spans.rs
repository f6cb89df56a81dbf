//! Spans: taken in any pieces, repeated, over restarts, crashes and a disk that refuses. What
//! [`Store::take_spans`] returned for is never lost, nothing is there twice, and every search
//! answers what a plain list would.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_entry::{Direction, Outcome, Text, Timestamp};
use selvedge_identity::{Interaction, Origin};
use selvedge_journal::testing::{Crash, FaultyStorage};
use selvedge_spans::{Kind, Resource, Scope, Span, StatusCode, Value};

use crate::fixture::{self, Spec, Written};
use crate::query::RequestQuery;
use crate::request::Request;
use crate::store::{Store, StoreOptions, TakenSpans};

/// What happens to the store.
#[derive(Clone, Debug)]
enum Step {
    /// These spans come, in this order.
    Take(Vec<usize>),
    /// An entry of another journal comes, and is not synced.
    Entry,
    Sync,
    Restart,
    Crash(Crash),
    FailWrites(u32),
    FailSyncs(u32),
}

fn spans() -> impl Strategy<Value = Span> {
    let who = (
        1u8..4,
        1u8..6,
        prop::option::weighted(0.7, 6u8..9),
        prop_oneof![
            Just(Kind::Server),
            Just(Kind::Client),
            Just(Kind::Internal),
            Just(Kind::Unspecified),
            Just(Kind::Consumer)
        ],
    );
    let what = (
        0u8..4,
        prop_oneof![
            9 => (1u8..4).prop_map(fixture::action),
            1 => Just("x".repeat(2000)),
        ],
        0i64..1000,
        prop::option::weighted(0.8, 0u64..100),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.4, 1u8..3),
        prop::bool::weighted(0.3),
    );
    (who, what).prop_map(|((origin, id, parent, kind), what)| {
        let (service, name, start, duration, failed, colour, large) = what;
        let mut resource = Resource::default();
        if service > 0 {
            let service: Text = fixture::service(service).into();
            let named = ("service.name".into(), Value::Text(service));
            resource.attributes.push(named);
        }
        resource
            .attributes
            .push(("zone".into(), format!("z{}", id % 2).as_str().into()));
        let id = Interaction::from_random([id; 8]);
        let mut span = Span::new(
            fixture::origin(origin),
            id,
            Arc::new(resource),
            Arc::new(Scope::default()),
        );
        span.parent = parent.map(|id| Interaction::from_random([id; 8]));
        span.kind = kind;
        span.name = name.into();
        span.start = Some(Timestamp(start));
        span.duration_ns = duration;
        if failed {
            span.status.code = StatusCode::Error;
        }
        if let Some(colour) = colour {
            let value = Value::Text(colour.to_string().into());
            span.attributes.push(("colour".into(), value));
        }
        if large {
            let value = Value::Text("y".repeat(600).into());
            span.attributes.push(("large".into(), value));
        }
        span
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crash = prop_oneof![
        Just(Crash::Process),
        Just(Crash::Forget),
        any::<u64>().prop_map(|seed| Crash::Torn { seed }),
    ];
    let step = prop_oneof![
        12 => prop::collection::vec(0usize..16, 0..6).prop_map(Step::Take),
        2 => Just(Step::Entry),
        1 => Just(Step::Sync),
        1 => Just(Step::Restart),
        3 => crash.prop_map(Step::Crash),
        1 => (1u32..3).prop_map(Step::FailWrites),
        2 => (1u32..3).prop_map(Step::FailSyncs),
    ];
    prop::collection::vec(step, 0..40)
}

fn open(disk: &FaultyStorage) -> Store {
    let options = StoreOptions { segment_bytes: 900 };
    Store::open(Arc::new(disk.clone()), Path::new("/repository"), options).expect("opens")
}

/// All spans that are here.
fn held(store: &Store) -> Vec<Span> {
    let mut all = Vec::new();
    for n in 1..5 {
        if let Some(request) = store.request(fixture::origin(n)).expect("reads") {
            all.extend(request.spans);
        }
    }
    all.sort();
    all
}

/// Checks what is here against what was promised and what was ever sent.
fn check_held(store: &Store, promised: &BTreeSet<&Span>, sent: &BTreeSet<&Span>) {
    let held = held(store);
    assert_eq!(store.counts().spans, held.len() as u64);
    assert_eq!(store.counts().damaged, 0);
    let set: BTreeSet<&Span> = held.iter().collect();
    assert_eq!(set.len(), held.len(), "a span is here twice");
    assert!(promised.is_subset(&set), "a span that was taken is lost");
    assert!(set.is_subset(sent), "a span is here that nobody sent");
}

/// An entry of a journal of its own, whose records are not durable before a sync.
fn entry(n: u64) -> Bytes {
    let spec = Spec {
        origin: Some(4),
        at: n as i64,
        form: fixture::Form::Whole,
        ..Spec::default()
    };
    fixture::records_from(n, &[spec])[0].bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_taken_is_kept_once_over_restarts_crashes_and_refusals(
        pool in prop::collection::vec(spans(), 16),
        steps in steps(),
    ) {
        let disk = FaultyStorage::new();
        let mut store = open(&disk);
        let mut promised: BTreeSet<&Span> = BTreeSet::new();
        let mut sent: BTreeSet<&Span> = BTreeSet::new();
        let mut entries = 0;
        for step in steps {
            match step {
                Step::Take(numbers) => {
                    let spans: Vec<Span> = numbers.iter().map(|&n| pool[n].clone()).collect();
                    sent.extend(numbers.iter().map(|&n| &pool[n]));
                    if let Ok(taken) = store.take_spans(&spans) {
                        promised.extend(numbers.iter().map(|&n| &pool[n]));
                        prop_assert_eq!(taken.new + taken.repeated, spans.len() as u64);
                    }
                }
                Step::Entry => {
                    _ = store.append(&fixture::server(1), fixture::epoch(1, 0), entries, &[entry(entries)]);
                    entries += 1;
                }
                Step::Sync => _ = store.sync(),
                Step::FailWrites(count) => disk.fail_writes(count),
                Step::FailSyncs(count) => disk.fail_syncs(count),
                Step::Restart | Step::Crash(_) => {
                    drop(store);
                    disk.fail_writes(0);
                    disk.fail_syncs(0);
                    if let Step::Crash(crash) = step {
                        disk.crash(crash);
                    }
                    store = open(&disk);
                    check_held(&store, &promised, &sent);
                }
            }
        }
        disk.fail_writes(0);
        disk.fail_syncs(0);
        check_held(&store, &promised, &sent);
        // Every exporter tries again until it is told.
        store.take_spans(&pool).expect("a sound disk");
        let before = store.counts().spans;
        let again = store.take_spans(&pool).expect("a sound disk");
        prop_assert_eq!(again, TakenSpans { new: 0, repeated: pool.len() as u64 });
        drop(store);
        disk.crash(Crash::Forget);
        let store = open(&disk);
        let all: BTreeSet<&Span> = pool.iter().collect();
        check_held(&store, &all, &all);
        prop_assert_eq!(before, all.len() as u64);
    }

    #[test]
    fn searches_over_spans_and_entries_answer_what_a_plain_list_does(
        pool in prop::collection::vec(spans(), 0..14),
        specs in prop::collection::vec(fixture::specs(), 0..6),
        queries in prop::collection::vec(query(), 8),
        cut in 0usize..14,
    ) {
        let disk = FaultyStorage::new();
        let mut store = open(&disk);
        let (front, back) = pool.split_at(cut.min(pool.len()));
        store.take_spans(back).expect("taken");
        let records = fixture::records(fixture::epoch(1, 0), None, &specs);
        let records: Vec<Bytes> = records.iter().map(Written::bytes).collect();
        store.append(&fixture::server(1), fixture::epoch(1, 0), 0, &records).expect("taken");
        store.take_spans(front).expect("taken");
        for restart in [false, true] {
            if restart {
                drop(store);
                store = open(&disk);
            }
            let requests: Vec<Request> = (1..5)
                .filter_map(|n| store.request(fixture::origin(n)).expect("reads"))
                .collect();
            let spans: BTreeSet<&Span> = requests.iter().flat_map(|request| &request.spans).collect();
            prop_assert_eq!(spans, pool.iter().collect());
            for judged in [false, true] {
                for query in &queries {
                    prop_assert_eq!(pages(&store, query), model(&requests, query), "{:?}", query);
                }
                if !judged {
                    for (row, _) in store.take_dirty(100) {
                        store.settle(row).expect("judged");
                    }
                }
            }
            check_tally(&store, &requests);
        }
    }
}

fn query() -> impl Strategy<Value = RequestQuery> {
    let name = prop::option::weighted(0.3, (1u8..5).prop_map(fixture::service));
    let operation = prop_oneof![
        4 => Just(None),
        2 => (1u8..5).prop_map(|n| Some(fixture::action(n))),
        1 => Just(Some("x".repeat(2000))),
    ];
    let attribute = prop_oneof![
        4 => Just(None),
        1 => Just(Some(("colour", "1"))),
        1 => Just(Some(("zone", "z1"))),
    ];
    let flag = prop_oneof![
        4 => Just(None),
        1 => Just(Some("missing_root")),
        1 => Just(Some("error")),
        1 => Just(Some("conflicting_twin")),
        1 => Just(Some("inferred")),
    ];
    let range = (
        prop::option::weighted(0.2, 0u64..60),
        prop::option::weighted(0.2, 40u64..100),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.2, (0i64..600).prop_map(Timestamp)),
        prop::option::weighted(0.2, (400i64..1000).prop_map(Timestamp)),
    );
    (name, operation, attribute, flag, range, 1usize..4).prop_map(
        |(service, operation, attribute, flag, range, limit)| RequestQuery {
            service,
            operation,
            attributes: attribute
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            flags: flag.map(str::to_owned).into_iter().collect(),
            min_duration: range.0,
            max_duration: range.1,
            error: range.2,
            from: range.3,
            to: range.4,
            limit,
            ..RequestQuery::default()
        },
    )
}

/// What a list shows of one request.
type Row = (i64, Origin, String, String, Option<u64>, bool);

/// One entry or span as a list sees it: its rank first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    depth: u32,
    side: u8,
    start: i64,
    span: bool,
    /// What breaks ties: an entry's position, a span's names.
    tie: (String, String, String),
    duration: Option<u64>,
    error: bool,
    handles: bool,
    attributes: Vec<(String, String)>,
}

fn items(request: &Request) -> Vec<Item> {
    let entries = request.entries.iter().map(|entry| {
        let opening = &entry.opening;
        let call = opening.call.as_ref();
        let attributes = entry.attributes().into_iter();
        Item {
            depth: call.map_or(0, |call| call.identifier.depth()),
            side: match opening.direction {
                Direction::Inbound => 0,
                Direction::Internal => 1,
                Direction::Outbound => 2,
            },
            start: opening.at.0,
            span: false,
            tie: (
                format!("{:09}", entry.position.sequence),
                opening.service.to_string(),
                opening.action.to_string(),
            ),
            duration: entry.closing.as_ref().map(|closing| closing.duration_ns),
            error: entry.outcome() == Outcome::Error,
            handles: opening.direction != Direction::Outbound,
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    });
    let spans = request.spans.iter().map(|span| {
        let root = span.parent.is_none();
        let sends = matches!(span.kind, Kind::Client | Kind::Producer) && !root;
        let receives = root || matches!(span.kind, Kind::Server | Kind::Consumer);
        let named = span.attributes.iter();
        let named = named.chain(span.resource.attributes.iter());
        Item {
            depth: if root { 0 } else { u32::MAX },
            side: match (receives, sends) {
                (true, _) => 0,
                (false, false) => 1,
                (false, true) => 2,
            },
            start: span.start.unwrap_or_default().0,
            span: true,
            tie: (
                String::new(),
                span.service.to_string(),
                span.name.to_string(),
            ),
            duration: span.duration_ns,
            error: span.outcome() == Outcome::Error,
            handles: !sends,
            attributes: named
                .map(|(name, value)| (name.to_owned(), value.to_text().to_string()))
                .collect(),
        }
    });
    entries.chain(spans).collect()
}

fn model(requests: &[Request], query: &RequestQuery) -> Vec<Row> {
    let mut rows = Vec::new();
    for request in requests {
        let mut items = items(request);
        items.sort();
        let Some(start) = items.first().map(|top| top.start) else {
            continue;
        };
        let fits = |item: &Item| {
            let (min, max) = (query.min_duration, query.max_duration);
            let duration = item.duration;
            min.is_none_or(|min| duration.is_some_and(|duration| duration >= min))
                && max.is_none_or(|max| duration.is_some_and(|duration| duration <= max))
                && query.error.is_none_or(|error| error == item.error)
        };
        let named =
            query.service.is_some() || query.operation.is_some() || !query.attributes.is_empty();
        let is = |asked: &Option<String>, name: &str| {
            asked.as_ref().is_none_or(|asked| asked.as_str() == name)
        };
        let subject = match named {
            false => items.first().filter(|item| fits(item)),
            true => items.iter().find(|item| {
                item.handles
                    && is(&query.service, &item.tie.1)
                    && is(&query.operation, &item.tie.2)
                    && query
                        .attributes
                        .iter()
                        .all(|asked| item.attributes.contains(asked))
                    && fits(item)
            }),
        };
        let flags = flags(request);
        let whole = query.from.is_none_or(|from| start >= from.0)
            && query.to.is_none_or(|to| start < to.0)
            && query.flags.iter().all(|flag| flags.contains(flag));
        if let Some(item) = subject.filter(|_| whole) {
            let (service, operation) = (item.tie.1.clone(), item.tie.2.clone());
            rows.push((
                start,
                request.origin,
                service,
                operation,
                item.duration,
                item.error,
            ));
        }
    }
    rows.sort();
    rows.reverse();
    rows
}

/// What the whole tree says, and what its nodes say was odd.
fn flags(request: &Request) -> BTreeSet<String> {
    let builder = request.builder();
    let tree = builder.tree();
    let mut flags: BTreeSet<String> = tree
        .nodes()
        .flat_map(|node| {
            node.odd()
                .into_iter()
                .map(|odd| odd.to_string())
                .collect::<Vec<_>>()
        })
        .collect();
    flags.extend(tree.flags().iter().map(ToString::to_string));
    flags
}

fn check_tally(store: &Store, requests: &[Request]) {
    let (counts, undecided) = store.flag_counts();
    assert_eq!(undecided, 0);
    let mut expected: Vec<(String, u64)> = Vec::new();
    for flag in requests.iter().flat_map(flags).collect::<BTreeSet<_>>() {
        let with = requests
            .iter()
            .filter(|request| flags(request).contains(&flag));
        let count = with.count() as u64;
        expected.push((flag, count));
    }
    let counts: Vec<(String, u64)> = counts
        .into_iter()
        .map(|(flag, count)| (flag.to_string(), count))
        .collect();
    assert_eq!(counts, expected);
}

fn pages(store: &Store, query: &RequestQuery) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut query = query.clone();
    loop {
        let (page, next) = store.search(&query, Some).expect("reads");
        assert!(page.len() <= query.limit);
        rows.extend(page.into_iter().map(|found| {
            let subject = found.subject;
            (
                found.start,
                found.origin,
                subject.service.to_string(),
                subject.operation.to_string(),
                subject.duration,
                subject.error,
            )
        }));
        match next {
            None => return rows,
            next => query.cursor = next,
        }
    }
}

fn plain(origin: u8, id: u8, parent: Option<u8>) -> Span {
    let mut resource = Resource::default();
    resource
        .attributes
        .push(("service.name".into(), "shop".into()));
    let mut span = Span::new(
        fixture::origin(origin),
        Interaction::from_random([id; 8]),
        Arc::new(resource),
        Arc::default(),
    );
    span.kind = Kind::Server;
    span.parent = parent.map(|id| Interaction::from_random([id; 8]));
    span.start = Some(Timestamp(i64::from(id)));
    span
}

#[test]
fn callers_at_the_same_time_share_their_syncs() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let before = disk.syncs();
    let callers: u8 = 32;
    let rounds: u8 = 5;
    let barrier = Barrier::new(callers.into());
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                for round in 0..rounds {
                    barrier.wait();
                    let span = plain(caller + 1, round + 1, None);
                    assert_eq!(store.take_spans(&[span]).expect("taken").new, 1);
                }
            });
        }
    });
    assert_eq!(store.counts().spans, u64::from(callers) * u64::from(rounds));
    let syncs = disk.syncs() - before;
    let calls = u64::from(callers) * u64::from(rounds);
    // The files are tiny here, and each new one costs a sync of its own besides.
    assert!(syncs <= calls + disk.files().len() as u64, "{syncs} syncs");
    drop(store);
    disk.crash(Crash::Forget);
    assert_eq!(open(&disk).counts().spans, calls);
}

#[test]
fn twins_are_kept_and_exact_repeats_are_counted() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let one = plain(1, 1, None);
    let mut twin = one.clone();
    twin.name = "another".into();
    let taken = store.take_spans(&[one.clone(), one.clone(), twin.clone()]);
    assert_eq!(
        taken.unwrap(),
        TakenSpans {
            new: 2,
            repeated: 1
        }
    );
    // The same resource from another process run: equal, though not the same in memory.
    let taken = store.take_spans(&[plain(1, 1, None), twin]).unwrap();
    assert_eq!(
        taken,
        TakenSpans {
            new: 0,
            repeated: 2
        }
    );
    assert_eq!(store.counts().spans_repeated, 3);
    let verdict = store.verdict(fixture::origin(1)).unwrap().unwrap();
    assert!(verdict.has("conflicting_twin"));
}

#[test]
fn a_span_in_a_file_whose_sync_failed_is_written_again_even_after_a_restart() {
    let disk = FaultyStorage::new();
    let mut store = open(&disk);
    let span = plain(1, 1, None);
    disk.fail_syncs(1);
    store.take_spans(std::slice::from_ref(&span)).unwrap_err();
    // Another span begins the next file, which says what of the last one is in doubt.
    store.take_spans(&[plain(2, 2, None)]).unwrap();
    drop(store);
    disk.crash(Crash::Process);
    store = open(&disk);
    assert_eq!(store.counts().spans, 2, "it still reads back");
    let again = store.take_spans(std::slice::from_ref(&span)).unwrap();
    assert_eq!(
        again,
        TakenSpans {
            new: 1,
            repeated: 0
        }
    );
    assert_eq!(store.counts().spans, 2);
    drop(store);
    disk.crash(Crash::Forget);
    store = open(&disk);
    assert_eq!(held(&store).len(), 2);
    assert_eq!(store.counts().damaged, 0);
}

/// Found by the model: the next file was created, and torn before it said what is in doubt.
#[test]
fn doubt_that_was_not_written_down_is_ended_at_the_next_start() {
    let disk = FaultyStorage::new();
    let mut store = open(&disk);
    let span = plain(1, 1, None);
    disk.fail_syncs(1);
    store.take_spans(std::slice::from_ref(&span)).unwrap_err();
    disk.fail_writes(1);
    store.take_spans(std::slice::from_ref(&span)).unwrap_err();
    drop(store);
    disk.crash(Crash::Process);
    store = open(&disk);
    let again = store.take_spans(std::slice::from_ref(&span)).unwrap();
    let (new, repeated) = (0, 1);
    assert_eq!(again, TakenSpans { new, repeated });
    drop(store);
    disk.crash(Crash::Forget);
    assert_eq!(held(&open(&disk)), [span]);
}

#[test]
fn an_outline_leaves_out_what_the_tree_does_not_need() {
    let store = open(&FaultyStorage::new());
    let mut span = plain(1, 1, None);
    span.attributes.push(("colour".into(), "red".into()));
    store.take_spans(std::slice::from_ref(&span)).unwrap();
    let whole = store.request(span.origin).unwrap().unwrap();
    assert_eq!(whole.spans, [span.clone()]);
    let outline = store.outline(span.origin).unwrap().unwrap();
    assert!(outline.spans[0].attributes.get("colour").is_none());
    assert_eq!(outline.spans[0].service, span.service);
}

#[test]
fn a_request_that_changes_is_judged_anew() {
    let store = open(&FaultyStorage::new());
    let origin = fixture::origin(1);
    store.take_spans(&[plain(1, 2, Some(1))]).unwrap();
    let settle = || {
        for (row, _) in store.take_dirty(10) {
            store.settle(row).unwrap();
        }
    };
    let missing = || {
        let (flags, _) = store.flag_counts();
        flags.iter().any(|(flag, _)| &**flag == "missing_root")
    };
    assert_eq!(store.flag_counts().1, 1);
    settle();
    assert!(missing());
    assert!(store.verdict(origin).unwrap().unwrap().has("missing_root"));
    store.take_spans(&[plain(1, 1, None)]).unwrap();
    assert!(!store.verdict(origin).unwrap().unwrap().has("missing_root"));
    settle();
    assert!(!missing());
    assert!(store.take_dirty(10).is_empty(), "it is at rest");
}
