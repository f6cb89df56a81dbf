//! What entries become in answers: rows, trees, timelines.

use std::collections::BTreeSet;

use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::{Entry, Text, Timestamp};
use selvedge_identity::{Origin, ServerName, SessionId};
use serde::Serialize;

use super::dependencies::{Dependencies, DependencyRow};
use super::error::ApiError;
use crate::query::{Cursor, RequestQuery};
use crate::store::{JournalView, Store, Summary};

/// A body of JSON.
pub(super) type Body = Result<Vec<u8>, ApiError>;

/// A request in a list.
#[derive(Debug, Serialize)]
pub(super) struct RequestRow {
    origin: Origin,
    service: Text,
    operation: Text,
    /// When the request began, also where another entry is the row's subject.
    start: Timestamp,
    duration: Option<u64>,
    error: bool,
    nodes: usize,
    flags: BTreeSet<String>,
}

/// A journal in a list.
#[derive(Debug, Serialize)]
pub(super) struct JournalRow {
    #[serde(flatten)]
    journal: JournalView,
    /// Whether its server is on the bus now.
    present: bool,
}

/// The JSON of any answer.
pub(super) fn json(answer: &impl Serialize) -> Body {
    serde_json::to_vec(answer).map_err(|error| ApiError::internal(&error))
}

/// `{"<plural>":[…],"next":cursor|null}`
pub(super) fn list(
    plural: &'static str,
    rows: &impl Serialize,
    next: Option<impl std::fmt::Display>,
) -> Body {
    let mut body = format!("{{\"{plural}\":").into_bytes();
    body.append(&mut json(rows)?);
    body.extend_from_slice(b",\"next\":");
    body.append(&mut json(&next.map(|next| next.to_string()))?);
    body.push(b'}');
    Ok(body)
}

/// The row of a found request; `None` if it lacks a flag that the query asks for.
pub(super) fn request_row(query: &RequestQuery, found: &Summary) -> Option<RequestRow> {
    let builder = builder(found.origin, &found.entries);
    let tree = builder.tree();
    let entries = found.entries.iter().flat_map(|entry| &entry.opening.flags);
    let mut flags: BTreeSet<String> = entries.map(|flag| flag.to_string()).collect();
    flags.extend(tree.flags().iter().map(|flag| flag.as_str().to_owned()));
    if !query.flags.iter().all(|flag| flags.contains(flag)) {
        return None;
    }
    Some(RequestRow {
        origin: found.origin,
        service: found.subject.service.clone(),
        operation: found.subject.operation.clone(),
        start: Timestamp(found.start),
        duration: found.subject.duration,
        error: found.subject.error,
        nodes: tree.len(),
        flags,
    })
}

/// A request's call tree.
pub(super) fn tree(origin: Origin, entries: &[Entry]) -> Body {
    json(&builder(origin, entries).tree().to_json())
}

/// Where a request's failures began, and what it waited for.
pub(super) fn diagnosis(origin: Origin, entries: &[Entry]) -> Body {
    let builder = builder(origin, entries);
    let tree = builder.tree();
    json(&tree.diagnose().to_json(&tree))
}

/// Who called whom in the requests that a query finds, and where to go on if there are more.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn dependencies(
    store: &Store,
    query: &RequestQuery,
) -> Result<(Vec<DependencyRow>, Option<Cursor<Origin>>), ApiError> {
    let mut dependencies = Dependencies::default();
    let mut counted = 0;
    let (_, next) = store.search(query, |found| {
        // A search looks one request beyond its limit, to tell whether there is one.
        if counted < query.limit {
            dependencies.add(&builder(found.origin, &found.entries).tree());
            counted += 1;
        }
        Some(())
    })?;
    Ok((dependencies.rows(), next))
}

/// A visit's timeline.
pub(super) fn timeline(session: SessionId, entries: Vec<Entry>) -> Body {
    json(&selvedge_session::timeline(session, entries))
}

/// The journals, with who is present.
pub(super) fn journal_rows(
    journals: Vec<JournalView>,
    present: &BTreeSet<ServerName>,
) -> Vec<JournalRow> {
    let row = |journal: JournalView| JournalRow {
        present: present.contains(&journal.server),
        journal,
    };
    journals.into_iter().map(row).collect()
}

fn builder(origin: Origin, entries: &[Entry]) -> TreeBuilder {
    let observations = entries.iter().filter_map(Observation::of).collect();
    TreeBuilder::batch(origin, observations)
}
