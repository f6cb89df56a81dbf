//! Feeds the requests of a query to a fold: newest first, each tree built and dropped again, so
//! that memory is what the fold holds. Nothing is locked while files are read.
//!
//! Limit: one answer reads [`READ_MAX`] entries and spans; then it says how far back it got.

use selvedge_analysis::Request;
use selvedge_entry::Timestamp;
use serde::Serialize;

use super::answers::{self, Body};
use super::error::ApiError;
use crate::query::{LIMIT_MAX, RequestQuery};
use crate::store::Store;

/// Entries and spans that one answer reads at most, beyond the requests it is at.
const READ_MAX: usize = 1_000_000;

/// What an answer has counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Counted {
    /// Requests.
    requests: u64,
    /// All that began at this time or later; none: all that are here.
    pub(super) from: Option<Timestamp>,
    /// All that began before this time.
    pub(super) to: Option<Timestamp>,
    /// Whether that is all that was asked for; if not, ask for what began before `from`.
    complete: bool,
}

/// Hands every request that the query finds to `take`. The query's limit does not count.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn fold(
    store: &Store,
    query: &RequestQuery,
    mut take: impl FnMut(&Request<'_>),
) -> Result<Counted, ApiError> {
    let mut query = RequestQuery {
        limit: LIMIT_MAX,
        ..query.clone()
    };
    let mut counted = Counted {
        requests: 0,
        from: query.from,
        to: query.to,
        complete: true,
    };
    let servers = store.servers();
    let mut read = 0;
    loop {
        let (found, next) = store.search(&query, Some)?;
        let last = found.last().map(|found| Timestamp(found.start));
        for found in found {
            let Some(request) = store.outline(found.origin)? else {
                continue;
            };
            read += request.entries.len() + request.spans.len();
            let start = Timestamp(found.start);
            let builder = request.builder();
            take(&Request::new(
                &builder.tree(),
                start,
                &request.entries,
                &servers,
            ));
            counted.requests += 1;
            // What comes in later begins later, or is late: the next page leaves it out.
            let end = start.saturating_add_ns(1);
            counted.to = counted.to.or(Some(end));
        }
        let Some(cursor) = next else {
            return Ok(counted);
        };
        if read >= READ_MAX {
            counted.complete = false;
            counted.from = last;
            return Ok(counted);
        }
        query.cursor = Some(cursor);
    }
}

/// `{"<plural>":[…],"next":cursor|null,"counted":{…}}`
pub(super) fn list(
    plural: &'static str,
    rows: &impl Serialize,
    next: Option<String>,
    counted: &impl Serialize,
) -> Body {
    let mut body = answers::list(plural, rows, next)?;
    body.pop();
    body.extend_from_slice(b",\"counted\":");
    body.append(&mut answers::json(counted)?);
    body.push(b'}');
    Ok(body)
}
