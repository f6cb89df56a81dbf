//! Paths as they are shown.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use selvedge_entry::Text;
use selvedge_identity::Origin;
use serde::{Deserialize, Serialize};

use super::kind::KindTotals;
use super::{Examples, PathTotals, Step};
use crate::LatencyJson;

/// One path of one kind of request, or a remainder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathRow {
    /// The root's service.
    pub service: Option<Text>,
    /// The root's operation.
    pub operation: Option<Text>,
    /// From the root to the last call; empty for a remainder.
    pub path: Vec<Step>,
    /// All paths that are over the bound, added up: of this kind, or, where `of` is 0 and no
    /// service is named, of all kinds that are over.
    pub remainder: bool,
    /// Requests that took the path; `None` for a remainder, which cannot tell.
    pub requests: Option<u64>,
    /// All requests of the kind.
    pub of: u64,
    /// `requests / of`.
    pub share: Option<f64>,
    /// How often the path was taken: calls at its end.
    pub calls: u64,
    /// `calls / requests`.
    pub calls_per_request: Option<f64>,
    /// Calls at its end that failed.
    pub errors: u64,
    /// Calls of which a node on the way is inferred or ambiguous.
    pub inferred: u64,
    /// What the calls at its end took: what their callers waited, where these say so.
    pub latency: LatencyJson,
    /// What the requests that took the path took as a whole, each counted once. (In a remainder:
    /// once for each path.)
    pub request_latency: LatencyJson,
    /// The newest requests that took it.
    pub examples: Vec<Origin>,
    /// The newest requests in which a call at its end failed.
    pub error_examples: Vec<Origin>,
}

/// The rows of all kinds: by name; in each the most taken path first, the remainder last.
pub(super) fn rows(kinds: &BTreeMap<(u64, Step), KindTotals>, others: &KindTotals) -> Vec<PathRow> {
    let mut named: Vec<(&Step, &KindTotals)> = kinds
        .iter()
        .map(|((_, kind), totals)| (kind, totals))
        .collect();
    named.sort_by_key(|(kind, _)| *kind);
    let mut rows = Vec::new();
    for (kind, totals) in named {
        let mut paths: Vec<(&[Step], &PathTotals)> = totals
            .paths
            .iter()
            .map(|((_, path), totals)| (&**path, totals))
            .collect();
        paths.sort_by_key(|(path, totals)| (Reverse((totals.requests, totals.calls)), *path));
        rows.extend(paths.into_iter().map(|(path, of_path)| {
            let row = row(kind, totals.requests, of_path);
            PathRow {
                path: path.to_vec(),
                remainder: false,
                requests: Some(of_path.requests),
                share: Some(of_path.requests as f64 / totals.requests as f64),
                calls_per_request: Some(of_path.calls as f64 / of_path.requests as f64),
                ..row
            }
        }));
        if totals.remainder.calls > 0 {
            rows.push(row(kind, totals.requests, &totals.remainder));
        }
    }
    if others.requests > 0 {
        rows.push(PathRow {
            requests: Some(others.requests),
            ..row(&Step::default(), 0, &others.remainder)
        });
    }
    rows
}

/// The row of a remainder.
fn row(kind: &Step, of: u64, totals: &PathTotals) -> PathRow {
    let origins = |examples: &Examples| examples.0.iter().map(|(_, origin)| *origin).collect();
    PathRow {
        service: kind.service.clone(),
        operation: kind.operation.clone(),
        path: Vec::new(),
        remainder: true,
        requests: None,
        of,
        share: None,
        calls: totals.calls,
        calls_per_request: None,
        errors: totals.errors,
        inferred: totals.inferred,
        latency: totals.latency.to_json(),
        request_latency: totals.request_latency.to_json(),
        examples: origins(&totals.examples),
        error_examples: origins(&totals.error_examples),
    }
}
