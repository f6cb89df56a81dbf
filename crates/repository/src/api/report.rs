//! Reports on demand: `POST /api/v1/journals/{server}/report` and `POST /api/v1/report`.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use selvedge_bus::BusError;
use selvedge_entry::{Timestamp, Wanted};
use selvedge_identity::ServerName;

use super::endpoints::{REPORT, REPORT_ALL};
use super::error::ApiError;
use super::params::Params;
use super::{Answer, ID, JSON, NO_CURSOR, answers};
use crate::agents::{Agents, Fetched};

/// The routes; they need the way to the agents, which queries do not.
pub(crate) fn router(agents: Agents) -> Router {
    Router::new()
        .route(REPORT.path, post(report))
        .route(REPORT_ALL.path, post(report_all))
        .with_state(agents)
}

async fn report(
    State(agents): State<Agents>,
    RawQuery(query): RawQuery,
    server: Result<Path<String>, PathRejection>,
) -> Answer {
    let wanted = wanted(&Params::parse(query.as_deref(), REPORT.parameters)?)?;
    let server: Option<ServerName> = server.ok().and_then(|Path(text)| text.parse().ok());
    let server = server.ok_or_else(|| ApiError::bad_parameter("server", "a server's name"))?;
    let fetched = agents.fetch(&server, wanted).await;
    let fetched = fetched.map_err(|error| match error {
        BusError::Absent { .. } => ApiError::not_found(error.to_string()),
        error => ApiError::internal(&error),
    })?;
    reports(&[fetched])
}

async fn report_all(State(agents): State<Agents>, RawQuery(query): RawQuery) -> Answer {
    let wanted = wanted(&Params::parse(query.as_deref(), REPORT_ALL.parameters)?)?;
    reports(&agents.fetch_held_back(wanted).await)
}

fn reports(fetched: &[Fetched]) -> Answer {
    let body = answers::list("reports", &fetched, NO_CURSOR)?;
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// One thing to ask for: a request, a visit, or a time.
fn wanted(params: &Params) -> Result<Wanted, ApiError> {
    let origin = params.value("origin", ID)?;
    let session = params.value("session", ID)?;
    let time = (params.time("from")?, params.time("to")?);
    match (origin, session, time) {
        (Some(origin), None, (None, None)) => Ok(Wanted::Origin(origin)),
        (None, Some(session), (None, None)) => Ok(Wanted::Session(session)),
        (None, None, (from, to)) if from.is_some() || to.is_some() => Ok(Wanted::Between {
            from: from.unwrap_or(Timestamp(i64::MIN)),
            to: to.unwrap_or(Timestamp(i64::MAX)),
        }),
        _ => Err(ApiError::bad_parameter(
            "origin",
            "given, or `session`, or `from` and `to`: one of these three",
        )),
    }
}
