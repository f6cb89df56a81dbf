//! `GET /api/v1/audit` and `/api/v1/audit/requests`: who consumed which service how often and how
//! much, and the requests that prove it (D14).
//!
//! Whoever comes with a consumer's key gets that consumer's lines, requests and trees, whatever it
//! asks for. Every page counts anew; its cursor holds on to the end of the time that the first
//! page counted.

use std::fmt;
use std::str::FromStr;

use axum::extract::{Extension, RawQuery, State};
use form_urlencoded::Serializer;
use selvedge_analysis::{Audit, Line, LineKey, Period, Request, Totals, Wanted, charges, visible};
use selvedge_entry::{Text, Timestamp};
use selvedge_identity::{Consumer, Origin};
use serde::Serialize;

use super::access::Viewer;
use super::answers::{self, Body};
use super::endpoints::{AUDIT, AUDIT_REQUESTS};
use super::error::ApiError;
use super::folding;
use super::params::Params;
use super::{Answer, Api, answer, no_request};
use crate::query::{Cursor, LIMIT_MAX, RequestQuery};
use crate::store::Store;

/// Entries and spans that one page of requests reads at most, beyond the request it is at.
const READ_MAX: usize = 1_000_000;

/// A line, and where its requests are.
#[derive(Serialize)]
struct LineRow {
    #[serde(flatten)]
    line: Line,
    /// The path and query that list exactly the requests that the line counts.
    trees: String,
}

/// A request that a line counts.
#[derive(Serialize)]
struct ChargedRow {
    origin: Origin,
    start: Timestamp,
    /// What it adds to the line.
    #[serde(flatten)]
    totals: Totals,
}

/// Where a page of lines goes on: behind a line, of requests that began before a time.
struct LineCursor {
    to: Timestamp,
    after: LineKey,
}

pub(super) async fn list_lines(
    State(api): State<Api>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Answer {
    let params = Params::parse(query.as_deref(), AUDIT.parameters)?;
    let consumer = consumer(&params, &viewer)?;
    let cursor: Option<LineCursor> = params.cursor()?;
    let query = RequestQuery {
        client: client(consumer.as_ref()),
        from: params.time("from")?,
        to: cursor
            .as_ref()
            .map(|cursor| cursor.to)
            .or(params.time("to")?),
        ..RequestQuery::default()
    };
    let wanted = Wanted {
        consumer,
        service: params
            .text("service")
            .map(|name| (!name.is_empty()).then(|| name.into())),
        period: params
            .value("period", "hour, day or all")?
            .unwrap_or(Period::All),
        after: cursor.map(|cursor| cursor.after),
        limit: params.limit()?,
    };
    answer(api, move |api| {
        let mut audit = Audit::new(wanted);
        let counted = folding::fold(&api.store, &query, |request| audit.add(request))?;
        // Read after the entries: what was missing among them is missing here, or came since.
        let losses = api.store.losses();
        let (lines, last) = audit.lines(&losses, counted.from, counted.to);
        let next = last
            .zip(counted.to)
            .map(|(after, to)| LineCursor { to, after }.to_string());
        let rows: Vec<LineRow> = lines.into_iter().map(LineRow::from).collect();
        folding::list("lines", &rows, next, &counted)
    })
    .await
}

pub(super) async fn list_requests(
    State(api): State<Api>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Answer {
    let params = Params::parse(query.as_deref(), AUDIT_REQUESTS.parameters)?;
    let Some(consumer) = consumer(&params, &viewer)? else {
        return Err(ApiError::bad_parameter("consumer", "given"));
    };
    let service = params.text("service");
    let query = RequestQuery {
        client: client(Some(&consumer)),
        from: params.time("from")?,
        to: params.time("to")?,
        limit: params.limit()?,
        cursor: params.cursor()?,
        ..RequestQuery::default()
    };
    answer(api, move |api| {
        let (rows, next) = charged(&api.store, &query, &consumer, service.as_deref())?;
        answers::list("requests", &rows, next)
    })
    .await
}

/// A consumer's part of a call tree. What it may not see is as if it were not here.
pub(super) fn tree(store: &Store, origin: Origin, consumer: &Consumer) -> Body {
    let request = store.request(origin)?.ok_or_else(|| no_request(origin))?;
    let builder = request.builder();
    let tree = builder.tree();
    // The tree's own times do not depend on when its request began.
    let servers = store.servers();
    let request = Request::new(&tree, Timestamp(0), &request.entries, &servers);
    answers::json(&visible(&request, consumer).ok_or_else(|| no_request(origin))?)
}

/// The requests that charge a consumer for a service (none given: for any; empty: for those that
/// nobody names), newest first, and where to go on.
fn charged(
    store: &Store,
    query: &RequestQuery,
    consumer: &Consumer,
    service: Option<&str>,
) -> Result<(Vec<ChargedRow>, Option<Cursor<Origin>>), ApiError> {
    let mut rows: Vec<ChargedRow> = Vec::new();
    let mut search = RequestQuery {
        limit: LIMIT_MAX,
        ..query.clone()
    };
    let servers = store.servers();
    let mut read = 0;
    loop {
        let (found, next) = store.search(&search, Some)?;
        for found in found {
            let Some(request) = store.outline(found.origin)? else {
                continue;
            };
            read += request.entries.len() + request.spans.len();
            let start = Timestamp(found.start);
            let builder = request.builder();
            let totals = totals(
                &Request::new(&builder.tree(), start, &request.entries, &servers),
                consumer,
                service,
            );
            if totals.calls > 0 && rows.len() == query.limit {
                let next = rows.last().map(|last| Cursor {
                    at: last.start.0,
                    id: last.origin,
                });
                return Ok((rows, next));
            }
            if totals.calls > 0 {
                let origin = found.origin;
                rows.push(ChargedRow {
                    origin,
                    start,
                    totals,
                });
            }
            if read >= READ_MAX {
                let next = Cursor {
                    at: found.start,
                    id: found.origin,
                };
                return Ok((rows, Some(next)));
            }
        }
        let Some(next) = next else {
            return Ok((rows, None));
        };
        search.cursor = Some(next);
    }
}

fn totals(request: &Request<'_>, consumer: &Consumer, service: Option<&str>) -> Totals {
    let mut sum = Totals::default();
    for ((by, of), totals) in charges(request) {
        let is_service = match service {
            None => true,
            Some("") => of.is_none(),
            Some(name) => of.as_deref() == Some(name),
        };
        if by == *consumer && is_service {
            sum.merge(&totals);
        }
    }
    sum.requests = sum.requests.min(1);
    sum
}

/// Whose lines are asked for: those of whoever shows a key, and nobody else's.
fn consumer(params: &Params, viewer: &Viewer) -> Result<Option<Consumer>, ApiError> {
    let expected = "client:ID, service:NAME or unknown";
    let asked: Option<Consumer> = params.value("consumer", expected)?;
    match viewer {
        Viewer::Everything => Ok(asked),
        Viewer::Own(own) if asked.as_ref().is_none_or(|asked| asked == own) => {
            Ok(Some(own.clone()))
        }
        Viewer::Own(_) => Err(ApiError::forbidden(
            "this key reads another consumer's audit",
        )),
    }
}

/// A client's requests are found by its id; those of other consumers among all.
fn client(consumer: Option<&Consumer>) -> Option<selvedge_identity::ClientId> {
    match consumer {
        Some(Consumer::Client(client)) => Some(*client),
        _ => None,
    }
}

impl From<Line> for LineRow {
    fn from(line: Line) -> Self {
        let mut query = Serializer::new(String::new());
        query.append_pair("consumer", &line.consumer.to_string());
        query.append_pair("service", line.service.as_deref().unwrap_or_default());
        for (name, time) in [("from", line.from), ("to", line.to)] {
            if let Some(time) = time {
                query.append_pair(name, &time.to_string());
            }
        }
        Self {
            trees: format!("{}?{}", AUDIT_REQUESTS.path, query.finish()),
            line,
        }
    }
}

impl fmt::Display for LineCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LineKey {
            consumer,
            service,
            from,
        } = &self.after;
        let from = from.map_or_else(String::new, |from| from.0.to_string());
        let service = service
            .as_ref()
            .map_or_else(String::new, |name| format!("={name}"));
        write!(
            f,
            "{}/{from}/{}/{consumer}{service}",
            self.to.0,
            consumer.to_string().len()
        )
    }
}

impl FromStr for LineCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(4, '/');
        let mut part = || parts.next().ok_or(());
        let to = Timestamp(part()?.parse().map_err(|_| ())?);
        let from = match part()? {
            "" => None,
            from => Some(Timestamp(from.parse().map_err(|_| ())?)),
        };
        let length: usize = part()?.parse().map_err(|_| ())?;
        let (consumer, service) = part()?.split_at_checked(length).ok_or(())?;
        let service: Option<Text> = match service {
            "" => None,
            named => Some(named.strip_prefix('=').ok_or(())?.into()),
        };
        let consumer = consumer.parse().map_err(|_| ())?;
        let after = LineKey {
            consumer,
            service,
            from,
        };
        Ok(Self { to, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back() {
        let consumers = [
            Consumer::Unknown,
            Consumer::Service("a/b=c.d".into()),
            Consumer::Client("ab".repeat(16).parse().expect("an id")),
        ];
        for consumer in consumers {
            for service in [None, Some("".into()), Some("x=/y".into())] {
                for from in [None, Some(Timestamp(-5))] {
                    let (consumer, service) = (consumer.clone(), service.clone());
                    let after = LineKey {
                        consumer,
                        service,
                        from,
                    };
                    let to = Timestamp(7);
                    let text = LineCursor {
                        to,
                        after: after.clone(),
                    }
                    .to_string();
                    let read: LineCursor = text.parse().expect("a cursor");
                    assert_eq!((read.to, read.after), (to, after), "{text}");
                }
            }
        }
        for text in [
            "",
            "1",
            "1//",
            "1//9/unknown",
            "1//7/unknownx",
            "x//7/unknown",
        ] {
            assert!(text.parse::<LineCursor>().is_err(), "{text}");
        }
    }
}
