//! A request's spans as they were sent: `GET /api/v1/requests/{origin}/spans`.
//!
//! A tree shows calls; this shows what it was made from, in the form that other tools import.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use selvedge_spans::otlp;

use super::endpoints::SPANS;
use super::{Answer, Api, answer, answers, id, no_request};

pub(super) async fn get(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    origin: Result<Path<String>, PathRejection>,
) -> Answer {
    let origin = id(&SPANS, origin, query.as_deref())?;
    answer(api, move |api| match api.store.request(origin)? {
        Some(request) => answers::json(&otlp::to_json(&request.spans)),
        None => Err(no_request(origin)),
    })
    .await
}
