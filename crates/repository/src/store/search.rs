//! Searches for requests.
//!
//! Candidates come newest first: from the shortest list of a visit, a client or a service where
//! one is asked for and is short, else from the order by time. The index decides what it can:
//! everything but attributes, names too long to be held, and flags of requests that changed since
//! they were judged. For those the files are read, and what is read there is decided there. The
//! index is locked for one short step at a time, never while files are read.

use std::collections::HashSet;

use selvedge_entry::{Direction, Entry, Outcome, Text};
use selvedge_identity::{Origin, Position};
use selvedge_spans::{Part, Span};

use super::index::{EntryRow, Index, Row};
use super::loading::{Parts, SpanReading};
use super::names::{LONG, NameId};
use super::origins::{OriginRow, Top};
use super::spans::{Role, SpanRow};
use super::{Store, StoreError};
use crate::query::{Cursor, RequestQuery};

/// Candidates found before the lock is let go.
const STEP_FOUND: usize = 64;
/// Requests looked at in the index before the lock is let go.
const STEP_SEEN: usize = 1 << 16;
/// Entries and spans that one search reads at most before it answers with what it has and a cursor.
const READ_MAX: usize = 200_000;

/// What sorts requests.
type Key = (i64, Origin);

/// A request that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) origin: Origin,
    /// When what stands for the request began.
    pub(crate) start: i64,
    /// What met the query.
    pub(crate) subject: Subject,
}

/// What a row says of an entry or a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) service: Text,
    pub(crate) operation: Text,
    /// Nanoseconds, once it ended.
    pub(crate) duration: Option<u64>,
    pub(crate) error: bool,
}

impl Store {
    /// Looks for requests, newest first. `keep` makes a row of what was found, or leaves it out.
    /// Answers the rows, and where to go on if there is (or may be) more.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(crate) fn search<T>(
        &self,
        query: &RequestQuery,
        mut keep: impl FnMut(Summary) -> Option<T>,
    ) -> Result<(Vec<T>, Option<Cursor<Origin>>), StoreError> {
        let Some(mut walk) = Walk::start(&self.read(), query) else {
            return Ok((Vec::new(), None));
        };
        let mut rows = Vec::new();
        let mut seen = query.cursor;
        let mut read = 0;
        loop {
            let (found, done) = walk.step(self, &self.read(), query);
            for candidate in found {
                if read >= READ_MAX {
                    return Ok((rows, seen));
                }
                read += candidate.to_read;
                let (start, origin) = candidate.key;
                let subject = match candidate.decided {
                    Decided::Subject(subject) => Some(subject),
                    Decided::Read(parts) => self.subject(query, parts)?,
                };
                let row = match subject {
                    Some(subject) if self.has_flags(query, candidate.row)? => keep(Summary {
                        origin,
                        start,
                        subject,
                    }),
                    _ => None,
                };
                if row.is_some() && rows.len() == query.limit {
                    return Ok((rows, seen));
                }
                rows.extend(row);
                seen = Some(Cursor {
                    at: start,
                    id: origin,
                });
            }
            if done {
                return Ok((rows, None));
            }
        }
    }

    fn has_flags(&self, query: &RequestQuery, row: Row) -> Result<bool, StoreError> {
        if query.flags.is_empty() {
            return Ok(true);
        }
        let verdict = self.judge(row)?;
        Ok(query.flags.iter().all(|flag| verdict.has(flag)))
    }

    /// What a request's row shows, read from the files, if the request meets the query.
    fn subject(&self, query: &RequestQuery, parts: Parts) -> Result<Option<Subject>, StoreError> {
        let entries = self.load(parts.entries)?;
        let mut reading = SpanReading::new(self);
        let mut best: Option<Span> = None;
        let mut spans = parts.spans;
        spans.sort_unstable_by_key(|span| span.at);
        let part = match query.attributes.is_empty() {
            true => Part::Tree,
            false => Part::Whole,
        };
        for span in spans {
            let span = reading.read(span, part)?;
            let span = span.filter(|span| !by_entry(query) || span_meets(query, span));
            if let Some(span) = span
                && best
                    .as_ref()
                    .is_none_or(|best| span_rank(&span) < span_rank(best))
            {
                best = Some(span);
            }
        }
        Ok(subject(query, &entries, best.as_ref()))
    }
}

/// A request that may be what a query asks for.
struct Candidate {
    key: Key,
    row: Row,
    /// How much is to be read to decide on it.
    to_read: usize,
    decided: Decided,
}

/// What the index says of a candidate.
enum Decided {
    /// It is what is asked for, as far as it is not a question of flags.
    Subject(Subject),
    /// Its files say.
    Read(Parts),
}

/// A walk over the candidates of one query, newest first.
struct Walk {
    /// The candidates that are left, oldest first, if a short list gave them; else the order by
    /// time is walked.
    listed: Option<Vec<(Key, Row)>>,
    /// Everything down to here was seen.
    after: Option<Key>,
    service: Option<NameId>,
    operation: Option<NameId>,
}

impl Walk {
    /// `None` where nothing can match.
    fn start(index: &Index, query: &RequestQuery) -> Option<Self> {
        let find = |name: &Option<String>| match name {
            Some(name) => index.names.find(name).map(Some),
            None => Some(None),
        };
        let (service, operation) = (find(&query.service)?, find(&query.operation)?);
        let mut lists: Vec<&[Row]> = Vec::new();
        if let Some(session) = &query.session {
            let row = *index.by_session.get(session)?;
            lists.push(&index.sessions[row as usize].origins);
        }
        if let Some(client) = &query.client {
            lists.push(&index.clients.get(client)?.origins);
        }
        if let Some(service) = service {
            let list = index.services.get(&service)?.origins.as_slice();
            if list.len() < index.origins.len() / 8 {
                lists.push(list);
            }
        }
        let mut walk = Self {
            listed: None,
            after: query.cursor.map(|cursor| (cursor.at, cursor.id)),
            service,
            operation,
        };
        walk.listed = common(lists).map(|rows| {
            let mut keys: Vec<(Key, Row)> = rows
                .into_iter()
                .map(|row| (key(index, &index.origins[row as usize]), row))
                .filter(|(key, _)| walk.within(query, *key))
                .collect();
            keys.sort_unstable();
            keys
        });
        Some(walk)
    }

    /// The next candidates, and whether those are the last.
    fn step(
        &mut self,
        store: &Store,
        index: &Index,
        query: &RequestQuery,
    ) -> (Vec<Candidate>, bool) {
        let mut found = Vec::new();
        let mut seen = 0;
        while let Some((key, row)) = self.next(index, query) {
            let request = &index.origins[row as usize];
            seen += 1 + (request.entries + request.spans) as usize / 64;
            if let Some(decided) = self.decide(store, index, query, request) {
                let known = query.flags.is_empty() || request.fresh().is_some();
                let to_read = match (&decided, known) {
                    (Decided::Subject(_), true) => 0,
                    _ => (request.entries + request.spans) as usize,
                };
                found.push(Candidate {
                    key,
                    row,
                    to_read,
                    decided,
                });
            }
            if found.len() == STEP_FOUND || seen >= STEP_SEEN {
                return (found, false);
            }
        }
        (found, true)
    }

    fn next(&mut self, index: &Index, query: &RequestQuery) -> Option<(Key, Row)> {
        if let Some(listed) = &mut self.listed {
            return listed.pop();
        }
        let older = match self.after {
            Some(after) => index.by_start.range(..after).next_back(),
            None => match query.to {
                Some(to) => index.by_start.range(..(to.0, first_origin())).next_back(),
                None => index.by_start.last_key_value(),
            },
        };
        let (&key, &row) = older?;
        self.after = Some(key);
        self.within(query, key).then_some((key, row))
    }

    fn within(&self, query: &RequestQuery, key: Key) -> bool {
        query.from.is_none_or(|from| key.0 >= from.0)
            && query.to.is_none_or(|to| key.0 < to.0)
            && query
                .cursor
                .is_none_or(|cursor| key < (cursor.at, cursor.id))
    }

    /// `None` if the request is not what is asked for.
    fn decide(
        &self,
        store: &Store,
        index: &Index,
        query: &RequestQuery,
        request: &OriginRow,
    ) -> Option<Decided> {
        if let Some(verdict) = request.fresh()
            && !query.flags.iter().all(|flag| verdict.has(flag))
        {
            return None;
        }
        let meets = |top: Top<'_>| meets(query, top.duration(), top.outcome());
        let top = if by_entry(query) {
            let mut entries = index.chain(request).map(|(_, entry)| entry);
            let mut spans = index.spans.chain(request.spans_head).map(|(_, span)| span);
            let entry = |entry: &&EntryRow| {
                entry.direction != Direction::Outbound
                    && self.named(entry.service, entry.operation)
                    && meets(Top::Entry(entry))
            };
            let span = |span: &&SpanRow| {
                span.role.handles()
                    && self.named(span.service, span.operation)
                    && meets(Top::Span(span))
            };
            if !query.attributes.is_empty() {
                // The first that may be the one is enough to know that the files must be read.
                let any = entries.any(|one| entry(&one)) || spans.any(|one| span(&one));
                return any.then(|| Decided::Read(store.parts(index, request)));
            }
            index.higher(
                entries
                    .filter(entry)
                    .min_by(|a, b| index.rank(a).cmp(&index.rank(b))),
                spans
                    .filter(span)
                    .min_by(|a, b| index.span_rank(a).cmp(&index.span_rank(b))),
            )?
        } else {
            index.top(request).filter(|top| meets(*top))?
        };
        let (service, operation) = match top {
            Top::Entry(entry) => (entry.service, entry.operation),
            Top::Span(span) => (span.service, span.operation),
        };
        let asked_long = [self.service, self.operation].contains(&Some(LONG));
        let names = index.names.get(service).zip(index.names.get(operation));
        Some(match names {
            Some((service, operation)) if !asked_long => Decided::Subject(Subject {
                service: service.clone(),
                operation: operation.clone(),
                duration: top.duration(),
                error: top.outcome() == Outcome::Error,
            }),
            _ => Decided::Read(store.parts(index, request)),
        })
    }

    fn named(&self, service: NameId, operation: NameId) -> bool {
        self.service.is_none_or(|asked| asked == service)
            && self.operation.is_none_or(|asked| asked == operation)
    }
}

/// What a request's row shows, if the request meets the query; `span` is the highest of its spans
/// that does.
fn subject(query: &RequestQuery, entries: &[Entry], span: Option<&Span>) -> Option<Subject> {
    let by_entry = by_entry(query);
    let entry = entries
        .iter()
        .filter(|entry| !by_entry || names_meet(query, entry))
        .min_by_key(|entry| rank(entry));
    let above = |entry: &Entry, span: &Span| {
        let (depth, side, start, _) = rank(entry);
        let ((span_depth, span_side), span_start, ..) = span_rank(span);
        (depth, side, start) <= (span_depth, span_side, span_start)
    };
    if let Some(entry) = entry.filter(|entry| span.is_none_or(|span| above(entry, span))) {
        let (duration, outcome) = (duration(entry), entry.outcome());
        return meets(query, duration, outcome).then(|| Subject {
            service: entry.opening.service.clone(),
            operation: entry.opening.action.clone(),
            duration,
            error: outcome == Outcome::Error,
        });
    }
    let span = span?;
    let outcome = span.outcome();
    meets(query, span.duration_ns, outcome).then(|| Subject {
        service: span.service.clone(),
        operation: span.name.clone(),
        duration: span.duration_ns,
        error: outcome == Outcome::Error,
    })
}

/// Whether the query asks for one entry of the request instead of the request as a whole.
fn by_entry(query: &RequestQuery) -> bool {
    query.service.is_some() || query.operation.is_some() || !query.attributes.is_empty()
}

fn names_meet(query: &RequestQuery, entry: &Entry) -> bool {
    let is =
        |asked: &Option<String>, name: &Text| asked.as_ref().is_none_or(|asked| **asked == **name);
    let attributes = entry.attributes();
    entry.opening.direction != Direction::Outbound
        && is(&query.service, &entry.opening.service)
        && is(&query.operation, &entry.opening.action)
        && meets(query, duration(entry), entry.outcome())
        && query
            .attributes
            .iter()
            .all(|(name, value)| attributes.get(name.as_str()) == Some(&value.as_str()))
}

fn span_meets(query: &RequestQuery, span: &Span) -> bool {
    let is =
        |asked: &Option<String>, name: &Text| asked.as_ref().is_none_or(|asked| **asked == **name);
    let said = |name: &str, value: &str| {
        let resource = span.resource.attributes.iter();
        let mut all = span.attributes.iter().chain(resource);
        all.any(|(known, said)| known == name && *said.to_text() == *value)
    };
    Role::of(span).handles()
        && is(&query.service, &span.service)
        && is(&query.operation, &span.name)
        && meets(query, span.duration_ns, span.outcome())
        && query
            .attributes
            .iter()
            .all(|(name, value)| said(name, value))
}

fn meets(query: &RequestQuery, duration: Option<u64>, outcome: Outcome) -> bool {
    let timed = match (query.min_duration, query.max_duration) {
        (None, None) => true,
        (min, max) => duration.is_some_and(|duration| {
            min.is_none_or(|min| duration >= min) && max.is_none_or(|max| duration <= max)
        }),
    };
    timed
        && query
            .error
            .is_none_or(|error| error == (outcome == Outcome::Error))
}

fn duration(entry: &Entry) -> Option<u64> {
    entry.closing.as_ref().map(|closing| closing.duration_ns)
}

/// The same order as [`Index::rank`], over entries.
fn rank(entry: &Entry) -> (u32, u8, i64, &Position) {
    let opening = &entry.opening;
    let depth = opening
        .call
        .as_ref()
        .map_or(0, |call| call.identifier.depth());
    let side = match opening.direction {
        Direction::Inbound => 0,
        Direction::Internal => 1,
        Direction::Outbound => 2,
    };
    (depth, side, opening.at.0, &entry.position)
}

/// The same order as [`Index::span_rank`], over spans.
fn span_rank(span: &Span) -> ((u32, u8), i64, &Text, &Text, Option<u64>, bool) {
    (
        Role::of(span).rank(),
        span.start.unwrap_or_default().0,
        &span.service,
        &span.name,
        span.duration_ns,
        span.outcome() == Outcome::Error,
    )
}

/// What sorts a request; every row has something that stands for it.
fn key(index: &Index, request: &OriginRow) -> Key {
    let start = index.top(request).map_or(0, Top::start);
    (start, request.origin)
}

/// The rows that all lists hold; `None` without a list.
fn common(mut lists: Vec<&[Row]>) -> Option<HashSet<Row>> {
    lists.sort_unstable_by_key(|list| list.len());
    let mut lists = lists.into_iter();
    let mut rows: HashSet<Row> = lists.next()?.iter().copied().collect();
    for list in lists {
        let list: HashSet<Row> = list.iter().copied().collect();
        rows.retain(|row| list.contains(row));
    }
    Some(rows)
}

/// The least origin: what sorts before every request of one time.
fn first_origin() -> Origin {
    let mut bytes = [0; Origin::LENGTH];
    bytes[Origin::LENGTH - 1] = 1;
    Origin::from_random(bytes)
}
