//! Searches for requests.
//!
//! Candidates come newest first: from the shortest list of a visit, a client or a service where
//! one is asked for and is short, else from the order by time. The index rules out what it can
//! without reading; the rest is read from the files and decided there. The index is locked for one
//! short step at a time, never while files are read.

use std::collections::HashSet;

use selvedge_entry::{Direction, Entry, Outcome, Text};
use selvedge_identity::{Origin, Position};

use super::index::{EntryRef, EntryRow, Index, OriginRow, Row};
use super::names::NameId;
use super::{Store, StoreError};
use crate::query::{Cursor, RequestQuery};

/// Candidates found before the lock is let go.
const STEP_FOUND: usize = 64;
/// Requests looked at in the index before the lock is let go.
const STEP_SEEN: usize = 1 << 16;
/// Entries that one search reads at most before it answers with what it has and a cursor.
const ENTRIES_READ_MAX: usize = 200_000;

/// What sorts requests.
type Key = (i64, Origin);

/// A request that a search found, as its entries tell it.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) origin: Origin,
    /// When the entry that stands for the request began.
    pub(crate) start: i64,
    /// The entry that met the query.
    pub(crate) subject: Subject,
    /// All its entries, by position.
    pub(crate) entries: Vec<Entry>,
}

/// What a row says of an entry.
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
            let (found, done) = walk.step(&self.read(), query);
            for (key, entries) in found {
                if read >= ENTRIES_READ_MAX {
                    return Ok((rows, seen));
                }
                read += entries.len();
                let entries = self.load(entries)?;
                let row = subject(query, &entries).and_then(|subject| {
                    keep(Summary {
                        origin: key.1,
                        start: key.0,
                        subject,
                        entries,
                    })
                });
                if row.is_some() && rows.len() == query.limit {
                    return Ok((rows, seen));
                }
                rows.extend(row);
                seen = Some(Cursor {
                    at: key.0,
                    id: key.1,
                });
            }
            if done {
                return Ok((rows, None));
            }
        }
    }
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

    /// The next candidates with their entries, and whether those are the last.
    fn step(&mut self, index: &Index, query: &RequestQuery) -> (Vec<(Key, Vec<EntryRef>)>, bool) {
        let mut found = Vec::new();
        let mut seen = 0;
        while let Some((key, row)) = self.next(index, query) {
            let request = &index.origins[row as usize];
            if self.may_match(index, query, request) {
                let entries = index.chain(request);
                let entries = entries.map(|(_, entry)| EntryRef::of(index, entry));
                found.push((key, entries.collect()));
            }
            seen += 1;
            if found.len() == STEP_FOUND || seen == STEP_SEEN {
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

    fn may_match(&self, index: &Index, query: &RequestQuery, request: &OriginRow) -> bool {
        let meets = |entry: &EntryRow| {
            let duration = entry.ended.then_some(entry.duration);
            meets(query, duration, entry.outcome)
        };
        if !by_entry(query) {
            return meets(&index.entries[request.top as usize]);
        }
        index.chain(request).any(|(_, entry)| {
            entry.direction != Direction::Outbound
                && self.service.is_none_or(|service| service == entry.service)
                && self
                    .operation
                    .is_none_or(|operation| operation == entry.operation)
                && meets(entry)
        })
    }
}

/// The entry that a request's row shows, if the request meets the query.
fn subject(query: &RequestQuery, entries: &[Entry]) -> Option<Subject> {
    let by_entry = by_entry(query);
    let entry = entries
        .iter()
        .filter(|entry| !by_entry || names_meet(query, entry))
        .min_by_key(|entry| rank(entry))?;
    let (duration, outcome) = (duration(entry), entry.outcome());
    meets(query, duration, outcome).then(|| Subject {
        service: entry.opening.service.clone(),
        operation: entry.opening.action.clone(),
        duration,
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

fn key(index: &Index, request: &OriginRow) -> Key {
    (index.entries[request.top as usize].start, request.origin)
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
