//! What the index answers by itself: visits, services, journals.

use std::cmp::Reverse;
use std::collections::HashSet;

use selvedge_entry::{Text, Timestamp};
use selvedge_identity::{ClientId, Epoch, ServerName, SessionId};
use serde::Serialize;

use super::Store;
use super::index::{Index, Row, SessionRow};
use super::journals::{EpochState, UNKNOWN_END, expected_end};
use crate::query::{Cursor, SessionQuery};

/// One visit in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// The visit.
    pub session: SessionId,
    /// Who visits.
    pub client: Option<ClientId>,
    /// When its earliest action was received. (Times of several hosts' clocks.)
    pub first: Timestamp,
    /// When its latest action was received.
    pub last: Timestamp,
    /// How many actions it has.
    pub entries: u64,
}

/// One service in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub service: Text,
    /// What it was asked to do, at most [`OPERATIONS_MAX`] of it, sorted.
    pub operations: Vec<Text>,
    /// Its versions, sorted.
    pub versions: Vec<Text>,
    /// The hosts it ran on, sorted.
    pub hosts: Vec<Text>,
    /// Its entries.
    pub entries: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// The start of its latest entry.
    pub last: Timestamp,
}

/// The most operations that one service's row names.
pub const OPERATIONS_MAX: usize = 1000;

/// One server's journal, as far as it is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalView {
    /// Whose journal.
    pub server: ServerName,
    /// Its epochs, oldest first.
    pub epochs: Vec<EpochView>,
}

/// One epoch of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochView {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether it was written to memory only; unknown until its first record is here.
    pub volatile: Option<bool>,
    /// Records that are here.
    pub records: u64,
    /// The sequence to go on from: all before it is here or lost.
    pub next: u64,
    /// Where records are missing.
    pub gaps: Vec<GapView>,
    /// Where records are not here because nobody asked for them: their owner reports on demand, or
    /// has not reported them yet, and keeps them.
    pub unasked: Vec<UnaskedView>,
}

/// Records of an epoch that were not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UnaskedView {
    /// The first of them.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

/// Missing records of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GapView {
    /// The first missing sequence.
    pub from: u64,
    /// One past the last; `None` where nobody can tell how many there were, or whether any.
    pub to: Option<u64>,
    /// Whether its owner said that they can no longer be had.
    pub lost: bool,
}

impl Store {
    /// Visits, the last active first, and where to go on if there are more.
    pub fn sessions(&self, query: &SessionQuery) -> (Vec<SessionView>, Option<Cursor<SessionId>>) {
        let index = self.read();
        let mut rows = Vec::new();
        let mut next = None;
        let mut take = |visit: &SessionRow| {
            let begun = query.to.is_none_or(|to| visit.first < to.0);
            if !begun {
                return true;
            }
            if rows.len() == query.limit {
                next = rows.last().map(|last: &SessionView| Cursor {
                    at: last.last.0,
                    id: last.session,
                });
                return false;
            }
            rows.push(view(visit));
            true
        };
        let within = |visit: &SessionRow| {
            query.from.is_none_or(|from| visit.last >= from.0)
                && query
                    .cursor
                    .is_none_or(|cursor| (visit.last, visit.session) < (cursor.at, cursor.id))
        };
        if let Some(client) = &query.client {
            let known = index
                .clients
                .get(client)
                .map_or(&[][..], |client| &client.sessions);
            let rows: HashSet<Row> = known.iter().copied().collect();
            let mut visits: Vec<&SessionRow> = rows
                .into_iter()
                .map(|row| &index.sessions[row as usize])
                .collect();
            visits.retain(|visit| visit.actions > 0 && within(visit));
            visits.sort_unstable_by_key(|visit| Reverse((visit.last, visit.session)));
            _ = visits.into_iter().all(&mut take);
        } else {
            let newest = match query.cursor {
                Some(cursor) => index.by_last.range(..(cursor.at, cursor.id)),
                None => index.by_last.range(..),
            };
            _ = newest
                .rev()
                .map(|(_, row)| &index.sessions[*row as usize])
                .take_while(|visit| within(visit))
                .all(&mut take);
        }
        (rows, next)
    }

    /// The services, by name.
    pub fn services(&self) -> Vec<ServiceView> {
        let index = self.read();
        let mut services: Vec<ServiceView> = index
            .services
            .iter()
            .filter_map(|(id, row)| Some((index.names.get(*id)?, row)))
            .map(|(service, row)| ServiceView {
                service: service.clone(),
                operations: names(&index, row.operations.iter().take(OPERATIONS_MAX)),
                versions: names(&index, &row.versions),
                hosts: names(&index, &row.hosts),
                entries: row.entries,
                errors: row.errors,
                last: Timestamp(row.last),
            })
            .collect();
        services.sort_unstable_by(|a, b| a.service.cmp(&b.service));
        services
    }

    /// The journals by server: epochs, positions, gaps.
    pub fn journals(&self) -> Vec<JournalView> {
        let index = self.read();
        index
            .journals
            .servers()
            .map(|(server, epochs)| JournalView {
                server: server.clone(),
                epochs: epochs_view(&epochs.collect::<Vec<_>>()),
            })
            .collect()
    }
}

fn view(visit: &SessionRow) -> SessionView {
    SessionView {
        session: visit.session,
        client: visit.client.map(|(_, client)| client),
        first: Timestamp(visit.first),
        last: Timestamp(visit.last),
        entries: visit.actions,
    }
}

fn names<'a>(index: &Index, ids: impl IntoIterator<Item = &'a u32>) -> Vec<Text> {
    let mut names: Vec<Text> = ids
        .into_iter()
        .filter_map(|id| index.names.get(*id).cloned())
        .collect();
    names.sort_unstable();
    names
}

fn epochs_view(epochs: &[&EpochState]) -> Vec<EpochView> {
    epochs
        .iter()
        .map(|state| EpochView {
            epoch: state.epoch,
            volatile: state.start.map(|start| start.volatile),
            records: state.received.count(),
            next: state.next(),
            gaps: gaps(state, expected_end(state, epochs)),
            unasked: unasked(state),
        })
        .collect()
}

/// The missing parts of an epoch, each told to be lost or not.
pub(super) fn gaps(state: &EpochState, end: u64) -> Vec<GapView> {
    let mut gaps = Vec::new();
    let mut add = |from, to, lost| {
        let to = Some(to);
        gaps.push(GapView { from, to, lost });
    };
    for (from, to) in state.received.missing(0, end.max(state.known_end())) {
        let mut at = from;
        for (start, stop) in state.lost.missing(from, to) {
            if at < start {
                add(at, start, true);
            }
            for (start, stop) in state.passed_over.missing(start, stop) {
                add(start, stop, false);
            }
            at = stop;
        }
        if at < to {
            add(at, to, true);
        }
    }
    if state.lost.end() == UNKNOWN_END {
        gaps.push(GapView {
            from: state.known_end(),
            to: None,
            lost: true,
        });
    }
    gaps
}

/// What the owner looked through and neither sent nor lost.
pub(super) fn unasked(state: &EpochState) -> Vec<UnaskedView> {
    let passed_over = state.passed_over.iter();
    let not_here = passed_over.flat_map(|(from, to)| state.received.missing(from, to));
    let kept = not_here.flat_map(|(from, to)| state.lost.missing(from, to));
    kept.map(|(from, to)| UnaskedView { from, to }).collect()
}
