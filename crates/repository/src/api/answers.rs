//! What entries become in answers: rows, trees, timelines.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_bus::Terms;
use selvedge_entry::{Entry, Text, Timestamp};
use selvedge_identity::{Origin, ServerName, SessionId};
use serde::Serialize;

use super::dependencies::{Dependencies, DependencyRow};
use super::error::ApiError;
use crate::query::{Cursor, RequestQuery};
use crate::request::Request;
use crate::store::{JournalView, Store, Summary};

/// Entries and spans that one answer on dependencies reads at most, beyond its last request.
const DEPENDENCIES_READ_MAX: usize = 200_000;

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
    flags: Vec<Text>,
}

/// A journal in a list.
#[derive(Debug, Serialize)]
pub(super) struct JournalRow {
    #[serde(flatten)]
    journal: JournalView,
    /// Whether its server is on the bus now.
    present: bool,
    /// How its server's agent reports, if it is on the bus now.
    agent: Option<AgentRow>,
}

/// How an agent reports.
#[derive(Debug, Serialize)]
struct AgentRow {
    mode: &'static str,
    peers: &'static str,
}

impl From<&Terms> for AgentRow {
    fn from(terms: &Terms) -> Self {
        Self {
            mode: terms.mode.as_str(),
            peers: if terms.peers_at_once {
                "real-time"
            } else {
                "with-reports"
            },
        }
    }
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

/// The row of a found request.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn request_row(store: &Store, found: Summary) -> Result<RequestRow, ApiError> {
    let verdict = store.verdict(found.origin)?.unwrap_or_default();
    Ok(RequestRow {
        origin: found.origin,
        service: found.subject.service,
        operation: found.subject.operation,
        start: Timestamp(found.start),
        duration: found.subject.duration,
        error: found.subject.error,
        nodes: verdict.nodes,
        flags: verdict.flags.clone(),
    })
}

/// Where a request's failures began, and what it waited for.
pub(super) fn diagnosis(request: Request) -> Body {
    let builder = request.into_builder();
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
    let (found, mut next) = store.search(query, Some)?;
    let mut read = 0;
    for found in found {
        if let Some(request) = store.outline(found.origin)? {
            read += request.entries.len() + request.spans.len();
            dependencies.add(&request.into_builder().tree());
        }
        if read >= DEPENDENCIES_READ_MAX {
            next = Some(Cursor {
                at: found.start,
                id: found.origin,
            });
            break;
        }
    }
    Ok((dependencies.rows(), next))
}

/// A visit's timeline.
pub(super) fn timeline(session: SessionId, entries: Vec<Entry>) -> Body {
    json(&selvedge_session::timeline(session, entries))
}

/// The journals, with who is present and how they report; a server of which nothing is here yet
/// has a row, too.
pub(super) fn journal_rows(
    journals: Vec<JournalView>,
    present: &BTreeMap<ServerName, Terms>,
) -> Vec<JournalRow> {
    let row = |journal: JournalView| JournalRow {
        present: present.contains_key(&journal.server),
        agent: present.get(&journal.server).map(AgentRow::from),
        journal,
    };
    let known: BTreeSet<&ServerName> = journals.iter().map(|journal| &journal.server).collect();
    let unheard = present.keys().filter(|server| !known.contains(server));
    let unheard: Vec<JournalView> = unheard
        .map(|server| JournalView {
            server: server.clone(),
            epochs: Vec::new(),
        })
        .collect();
    let mut all: Vec<JournalView> = journals.into_iter().chain(unheard).collect();
    all.sort_by(|a, b| a.server.cmp(&b.server));
    all.into_iter().map(row).collect()
}
