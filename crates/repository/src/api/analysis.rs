//! `GET /api/v1/analysis/paths`: the call paths of kinds of requests (D13).
//!
//! Limits: a kind keeps so many paths, the rest is added up in a remainder (see
//! `selvedge_analysis::Paths`). Every page counts anew; its cursor holds on to the end of the time
//! that the first page counted.

use std::fmt;
use std::str::FromStr;

use axum::extract::{RawQuery, State};
use selvedge_analysis::{Kind, Paths};
use selvedge_entry::Timestamp;
use serde::Serialize;

use super::endpoints::PATHS;
use super::folding::{self, Counted};
use super::params::Params;
use super::{Answer, Api, answer};
use crate::query::RequestQuery;

/// Kinds, and paths of each, where no kind is asked for.
const MANY: (usize, usize) = (100, 200);
/// The same where one is.
const ONE: (usize, usize) = (100, 5_000);

/// What was counted, and what of it stands on no path.
#[derive(Serialize)]
struct CountedPaths {
    #[serde(flatten)]
    counted: Counted,
    /// Requests of the kinds that were asked for.
    of_kind: usize,
    /// Calls whose ancestors are lost.
    unplaced: u64,
}

/// Where a page goes on: so many rows are behind, of requests that began before a time.
struct PathCursor {
    skip: usize,
    to: Timestamp,
}

pub(super) async fn list_paths(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref(), PATHS.parameters)?;
    let kind = Kind {
        service: params.text("service").map(Into::into),
        operation: params.text("operation").map(Into::into),
    };
    let cursor: Option<PathCursor> = params.cursor()?;
    let limit = params.limit()?;
    let query = RequestQuery {
        // A root whose operation is known has an entry that names it.
        operation: params.text("operation"),
        from: params.time("from")?,
        to: cursor
            .as_ref()
            .map(|cursor| cursor.to)
            .or(params.time("to")?),
        ..RequestQuery::default()
    };
    answer(api, move |api| {
        let (kinds_max, paths_max) = if kind == Kind::default() { MANY } else { ONE };
        let mut paths = Paths::new(kind, kinds_max, paths_max);
        let counted = folding::fold(&api.store, &query, |request| paths.add(request))?;
        let rows = paths.rows();
        let skip = cursor.map_or(0, |cursor| cursor.skip).min(rows.len());
        let end = rows.len().min(skip + limit);
        let more = (end < rows.len()).then_some(end);
        let next = more
            .zip(counted.to)
            .map(|(skip, to)| PathCursor { skip, to }.to_string());
        let about = CountedPaths {
            counted,
            of_kind: paths.requests(),
            unplaced: paths.unplaced(),
        };
        folding::list("paths", &&rows[skip..end], next, &about)
    })
    .await
}

impl fmt::Display for PathCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.to.0, self.skip)
    }
}

impl FromStr for PathCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (to, skip) = text.split_once('.').ok_or(())?;
        Ok(Self {
            skip: skip.parse().map_err(|_| ())?,
            to: Timestamp(to.parse().map_err(|_| ())?),
        })
    }
}
