//! `GET /api/v1/entries`: the stream of entries for monitors of a user's own.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use selvedge_bus::Bus;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::lines::Lines;
use crate::question::{Form, Question};

/// Where the stream is served.
pub const PATH: &str = "/api/v1/entries";

/// Streams at once.
const STREAMS_MAX: usize = 256;

#[derive(Clone)]
struct Streams {
    bus: Arc<dyn Bus>,
    room: Arc<Semaphore>,
}

/// The route of the stream over a bus.
pub fn router(bus: Arc<dyn Bus>) -> Router {
    let streams = Streams {
        bus,
        room: Arc::new(Semaphore::new(STREAMS_MAX)),
    };
    Router::new().route(PATH, get(entries)).with_state(streams)
}

async fn entries(
    State(streams): State<Streams>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let question = Question::parse(
        query.as_deref().unwrap_or_default(),
        field("accept"),
        field("last-event-id"),
    );
    let question = match question {
        Ok(question) => question,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    let Ok(permit) = streams.room.clone().try_acquire_owned() else {
        let message = format!("{STREAMS_MAX} streams are open; end one, or try again later");
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "full", &message);
    };
    let form = question.form;
    let lines = match Lines::begin(&*streams.bus, question).await {
        Ok(lines) => lines,
        Err(error) => {
            return refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                &error.to_string(),
            );
        }
    };
    // A reader who goes away drops the body, and with it the subscription.
    let body = futures_util::stream::unfold((lines, permit), |(mut lines, permit)| async move {
        let piece = lines.next().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), (lines, permit)))
    });
    let headers = [
        (header::CONTENT_TYPE, content_type(form)),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// The content type of a stream.
#[must_use]
pub fn content_type(form: Form) -> &'static str {
    match form {
        Form::Lines => "application/x-ndjson",
        Form::Events => "text/event-stream",
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message}});
    (status, axum::Json(body)).into_response()
}
