//! Any journals, delivered in any pieces, in any order, twice, over restarts and crashes: the
//! answers are those of a plain list of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_entry::{Direction, Entry, Outcome, Timestamp, fold_all};
use selvedge_identity::{Epoch, Position, ServerName, SessionId};
use selvedge_journal::testing::{Crash, FaultyStorage};

use crate::fixture::{self, Written, specs};
use crate::query::{Cursor, RequestQuery, SessionQuery};
use crate::store::{SessionView, Store, StoreOptions};

/// One epoch's records.
#[derive(Clone, Debug)]
struct Journal {
    server: ServerName,
    epoch: Epoch,
    records: Vec<Written>,
}

/// What happens to the store.
#[derive(Clone, Debug)]
enum Step {
    /// A piece of a journal arrives: which, from where, how much (all modulo what there is).
    Deliver(usize, usize, usize),
    Sync,
    Restart,
    Crash(u64),
    /// The next writes fail.
    FailWrites(u32),
}

fn journals() -> impl Strategy<Value = Vec<Journal>> {
    let epoch = prop::collection::vec(specs(), 0..14);
    let server = prop::collection::vec(epoch, 1..3);
    prop::collection::vec(server, 1..4).prop_map(|servers| {
        let mut journals = Vec::new();
        for (n, epochs) in servers.into_iter().enumerate() {
            let mut previous = None;
            for (counter, specs) in epochs.into_iter().enumerate() {
                let epoch = fixture::epoch(n, counter);
                let records = fixture::records(epoch, previous, &specs);
                previous = Some((epoch, records.len() as u64));
                let server = fixture::server(n);
                journals.push(Journal {
                    server,
                    epoch,
                    records,
                });
            }
        }
        journals
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0usize..8, 0usize..40, 1usize..12).prop_map(|(j, from, n)| Step::Deliver(j, from, n)),
        2 => Just(Step::Sync),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::Crash),
        1 => (1u32..3).prop_map(Step::FailWrites),
    ];
    prop::collection::vec(step, 0..40)
}

fn query() -> impl Strategy<Value = RequestQuery> {
    let name = |pool: fn(u8) -> String| prop::option::weighted(0.2, (1u8..5).prop_map(pool));
    let entry = (
        name(fixture::service),
        name(fixture::action),
        prop::option::weighted(0.2, 0u64..60),
        prop::option::weighted(0.2, 40u64..100),
        prop::option::weighted(0.2, any::<bool>()),
        prop::bool::weighted(0.1),
    );
    let request = (
        prop::option::weighted(0.2, (1u8..5).prop_map(fixture::session)),
        prop::option::weighted(0.2, (1u8..4).prop_map(fixture::client)),
        prop::option::weighted(0.2, (0i64..600).prop_map(Timestamp)),
        prop::option::weighted(0.2, (400i64..1000).prop_map(Timestamp)),
        1usize..6,
    );
    (entry, request).prop_map(|(entry, request)| RequestQuery {
        service: entry.0,
        operation: entry.1,
        min_duration: entry.2,
        max_duration: entry.3,
        error: entry.4,
        attributes: if entry.5 {
            vec![("colour".into(), "1".into())]
        } else {
            Vec::new()
        },
        flags: Vec::new(),
        session: request.0,
        client: request.1,
        from: request.2,
        to: request.3,
        limit: request.4,
        cursor: None,
    })
}

fn open(disk: &FaultyStorage) -> Store {
    // Small files, so that there are several.
    let options = StoreOptions { segment_bytes: 700 };
    Store::open(Arc::new(disk.clone()), Path::new("/repository"), options).expect("opens")
}

fn deliver(store: &Store, journal: &Journal, from: usize, count: usize) {
    let from = from.min(journal.records.len());
    let to = (from + count).min(journal.records.len());
    let records: Vec<Bytes> = journal.records[from..to]
        .iter()
        .map(Written::bytes)
        .collect();
    // A refused write is the disk's; the bus delivers again.
    _ = store.append(&journal.server, journal.epoch, from as u64, &records);
}

/// Delivers as the bus does: each journal once from where the store says, epoch after epoch.
fn catch_up(store: &Store, journals: &[Journal]) {
    deliver_from(&store.positions(), store, journals);
}

fn deliver_from(positions: &[Position], store: &Store, journals: &[Journal]) {
    for journal in journals {
        let from = match positions
            .iter()
            .find(|position| position.server == journal.server)
        {
            Some(position) if journal.epoch < position.epoch => continue,
            Some(position) if journal.epoch == position.epoch => position.sequence as usize,
            _ => 0,
        };
        deliver(store, journal, from, usize::MAX / 2);
    }
}

/// The model: a plain list.
struct Model {
    entries: Vec<Entry>,
}

impl Model {
    fn new(journals: &[Journal]) -> Self {
        let records = journals.iter().flat_map(|journal| {
            journal
                .records
                .iter()
                .enumerate()
                .filter_map(|(at, record)| {
                    let position = Position {
                        server: journal.server.clone(),
                        epoch: journal.epoch,
                        sequence: at as u64,
                    };
                    match record {
                        Written::Start(_) => None,
                        Written::Entry(record) => Some((position, record.clone())),
                    }
                })
        });
        Self {
            entries: fold_all(records),
        }
    }

    /// The rows of a query without its limit: start, origin, service, operation, duration.
    fn requests(&self, query: &RequestQuery) -> Vec<Row> {
        let mut rows = Vec::new();
        for n in 1..5 {
            let origin = fixture::origin(n);
            let of: Vec<&Entry> = self
                .entries
                .iter()
                .filter(|entry| origin_of(entry) == Some(origin))
                .collect();
            let Some(top) = of.iter().min_by_key(|entry| rank(entry)) else {
                continue;
            };
            let start = top.opening.at;
            let named = query.service.is_some()
                || query.operation.is_some()
                || !query.attributes.is_empty();
            let subject = if named {
                of.iter()
                    .filter(|entry| {
                        let opening = &entry.opening;
                        opening.direction != Direction::Outbound
                            && query
                                .service
                                .as_ref()
                                .is_none_or(|name| **name == *opening.service)
                            && query
                                .operation
                                .as_ref()
                                .is_none_or(|name| **name == *opening.action)
                            && query.attributes.iter().all(|(name, value)| {
                                entry.attributes().get(name.as_str()) == Some(&value.as_str())
                            })
                            && fits(query, entry)
                    })
                    .min_by_key(|entry| rank(entry))
            } else {
                Some(top).filter(|entry| fits(query, entry))
            };
            let any = |is: &dyn Fn(&Entry) -> bool| of.iter().any(|entry| is(entry));
            let whole = query
                .session
                .is_none_or(|id| any(&|e| e.opening.session == Some(id)))
                && query
                    .client
                    .is_none_or(|id| any(&|e| e.opening.client == Some(id)))
                && query.from.is_none_or(|from| start >= from)
                && query.to.is_none_or(|to| start < to);
            if let Some(subject) = subject.filter(|_| whole) {
                rows.push((
                    start.0,
                    origin,
                    subject.opening.service.to_string(),
                    subject.opening.action.to_string(),
                    subject.closing.as_ref().map(|closing| closing.duration_ns),
                ));
            }
        }
        rows.sort();
        rows.reverse();
        rows
    }

    fn sessions(&self) -> Vec<SessionView> {
        let mut visits: BTreeMap<SessionId, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            if let Some(session) = entry.opening.session {
                visits.entry(session).or_default().push(entry);
            }
        }
        let mut rows: Vec<SessionView> = visits
            .into_iter()
            .filter_map(|(session, entries)| {
                let actions: Vec<Timestamp> = entries
                    .iter()
                    .filter(|entry| entry.opening.counter.is_some())
                    .map(|entry| entry.opening.at)
                    .collect();
                let clients = entries
                    .iter()
                    .filter_map(|entry| Some((entry.opening.at, entry.opening.client?)));
                Some(SessionView {
                    session,
                    client: clients.min().map(|(_, client)| client),
                    first: *actions.iter().min()?,
                    last: *actions.iter().max()?,
                    entries: actions.len() as u64,
                })
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.last, row.session)));
        rows
    }
}

type Row = (i64, selvedge_identity::Origin, String, String, Option<u64>);

fn origin_of(entry: &Entry) -> Option<selvedge_identity::Origin> {
    entry
        .opening
        .call
        .as_ref()
        .map(|call| call.identifier.origin())
}

fn rank(entry: &Entry) -> (u32, u8, i64, Position) {
    let depth = entry
        .opening
        .call
        .as_ref()
        .map_or(0, |call| call.identifier.depth());
    let side = match entry.opening.direction {
        Direction::Inbound => 0,
        Direction::Internal => 1,
        Direction::Outbound => 2,
    };
    (depth, side, entry.opening.at.0, entry.position.clone())
}

fn fits(query: &RequestQuery, entry: &Entry) -> bool {
    let duration = entry.closing.as_ref().map(|closing| closing.duration_ns);
    query
        .min_duration
        .is_none_or(|min| duration.is_some_and(|d| d >= min))
        && query
            .max_duration
            .is_none_or(|max| duration.is_some_and(|d| d <= max))
        && query
            .error
            .is_none_or(|error| error == (entry.outcome() == Outcome::Error))
}

/// All rows of a query, page by page.
fn pages(store: &Store, query: &RequestQuery) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut query = query.clone();
    loop {
        let (page, next) = store
            .search(&query, |found| {
                let subject = found.subject;
                Some((
                    found.start,
                    found.origin,
                    subject.service.to_string(),
                    subject.operation.to_string(),
                    subject.duration,
                ))
            })
            .expect("reads");
        assert!(page.len() <= query.limit);
        rows.extend(page);
        match next {
            None => return rows,
            // As a client would hand it back.
            Some(next) => query.cursor = Some(next.to_string().parse().expect("a cursor")),
        }
    }
}

fn session_pages(store: &Store, mut query: SessionQuery) -> Vec<SessionView> {
    let mut rows = Vec::new();
    loop {
        let (page, next) = store.sessions(&query);
        rows.extend(page);
        match next {
            None => return rows,
            next => query.cursor = next,
        }
    }
}

fn check(store: &Store, model: &Model, queries: &[RequestQuery]) {
    for n in 1..5 {
        let origin = fixture::origin(n);
        let expected: Vec<Entry> = model
            .entries
            .iter()
            .filter(|entry| origin_of(entry) == Some(origin))
            .cloned()
            .collect();
        let request = store.request(origin).unwrap();
        let entries = request.map(|request| request.entries);
        assert_eq!(entries.unwrap_or_default(), expected);
        let session = fixture::session(n);
        let expected: Vec<Entry> = model
            .entries
            .iter()
            .filter(|entry| entry.opening.session == Some(session))
            .cloned()
            .collect();
        assert_eq!(
            store.session(session).unwrap().unwrap_or_default(),
            expected
        );
    }
    for query in queries {
        assert_eq!(pages(store, query), model.requests(query), "{query:?}");
    }
    let rows = model.sessions();
    let all = SessionQuery {
        limit: 2,
        ..SessionQuery::default()
    };
    assert_eq!(session_pages(store, all.clone()), rows);
    let client = fixture::client(1);
    let with: BTreeSet<SessionId> = model
        .entries
        .iter()
        .filter(|entry| entry.opening.client == Some(client))
        .filter_map(|entry| entry.opening.session)
        .collect();
    let (from, to) = (Timestamp(300), Timestamp(700));
    let some = SessionQuery {
        client: Some(client),
        from: Some(from),
        to: Some(to),
        ..all
    };
    let expected: Vec<SessionView> = rows
        .into_iter()
        .filter(|row| with.contains(&row.session) && row.last >= from && row.first < to)
        .collect();
    assert_eq!(session_pages(store, some), expected);
    let errors = model
        .entries
        .iter()
        .filter(|entry| entry.outcome() == Outcome::Error)
        .count() as u64;
    let services = store.services();
    assert_eq!(
        services.iter().map(|row| row.entries).sum::<u64>(),
        model.entries.len() as u64
    );
    assert_eq!(services.iter().map(|row| row.errors).sum::<u64>(), errors);
    assert_eq!(store.counts().unreadable + store.counts().damaged, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_delivery_over_restarts_and_crashes_ends_in_the_same_answers(
        journals in journals(),
        steps in steps(),
        queries in prop::collection::vec(query(), 8),
    ) {
        let disk = FaultyStorage::new();
        let mut store = open(&disk);
        for step in steps {
            match step {
                Step::Deliver(journal, from, count) => {
                    let journal = &journals[journal % journals.len()];
                    deliver(&store, journal, from % journal.records.len(), count);
                }
                Step::Sync => _ = store.sync(),
                Step::FailWrites(count) => disk.fail_writes(count),
                Step::Restart => {
                    drop(store);
                    disk.fail_writes(0);
                    store = open(&disk);
                }
                Step::Crash(seed) => {
                    drop(store);
                    disk.fail_writes(0);
                    disk.crash(Crash::Torn { seed });
                    store = open(&disk);
                }
            }
        }
        disk.fail_writes(0);
        catch_up(&store, &journals);
        let model = Model::new(&journals);
        check(&store, &model, &queries);
        // Nothing is missing, so nothing is asked for again, and nothing is stored twice.
        for position in store.positions() {
            let last = journals.iter().rfind(|journal| journal.server == position.server);
            let last = last.map(|journal| (journal.epoch, journal.records.len() as u64));
            prop_assert_eq!(Some((position.epoch, position.sequence)), last);
        }
        drop(store);
        let store = open(&disk);
        check(&store, &model, &queries);
        let records: usize = journals.iter().map(|journal| journal.records.len()).sum();
        prop_assert_eq!(store.counts().records, records as u64);
    }
}

#[test]
fn cursors_survive_their_text_form() {
    let cursor = Cursor {
        at: -5,
        id: fixture::origin(3),
    };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for text in ["", ".", "5", "5.", "x.00", "5.ABC"] {
        assert!(
            text.parse::<Cursor<selvedge_identity::Origin>>().is_err(),
            "{text}"
        );
    }
}
