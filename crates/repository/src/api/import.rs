//! Spans from files: `POST /api/v1/import`, in any form that [`selvedge_spans::read`] knows.
//!
//! What SDKs send all day comes through the collector; this is for exports of other systems, so
//! few at a time are enough: reading one may need many times its size ([`IMPORTS_MAX`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::endpoints::IMPORT;
use super::error::ApiError;
use super::params::Params;
use super::{Answer, JSON, answers};
use crate::span_taker::SpanTaker;

/// The longest body that is imported at once, in bytes. `selvedge import` sends longer files in
/// pieces.
pub const IMPORT_BYTES_MAX: usize = 64 << 20;

/// Imports that are worked on at the same time; more wait, with nothing of them in memory.
const IMPORTS_MAX: usize = 2;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(120);

/// What bodies are called. A web page's script needs leave for every one of these, and none is
/// given, so that no page can import.
const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "application/x-ndjson",
    "application/jsonl",
    "application/x-protobuf",
    "application/octet-stream",
];

#[derive(Clone)]
struct Importer {
    spans: SpanTaker,
    turns: Arc<Semaphore>,
}

/// What became of an import.
#[derive(Debug, Serialize)]
struct Imported {
    new: u64,
    repeated: u64,
    refused: BTreeMap<&'static str, u64>,
    origins: BTreeSet<String>,
}

/// The route; it needs the way into the store, which queries do not.
pub(crate) fn router(spans: SpanTaker) -> Router {
    let turns = Arc::new(Semaphore::new(IMPORTS_MAX));
    Router::new()
        .route(IMPORT.path, post(import))
        .with_state(Importer { spans, turns })
}

async fn import(
    State(importer): State<Importer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    Params::parse(query.as_deref(), IMPORT.parameters)?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if !CONTENT_TYPES.contains(&kind) {
        return Err(ApiError::refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            format!("send the content type {}", CONTENT_TYPES.join(", or ")),
        ));
    }
    let too_large = || {
        ApiError::refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("send at most {IMPORT_BYTES_MAX} bytes at once"),
        )
    };
    // The announced length decides before anything is read.
    if body.size_hint().lower() > IMPORT_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let turn = importer.turns.acquire().await.expect("never closed");
    let body = tokio::time::timeout(BODY_WAIT, to_bytes(body, IMPORT_BYTES_MAX));
    let body = body.await.map_err(|_| {
        ApiError::refused(
            StatusCode::REQUEST_TIMEOUT,
            "slow",
            "the body took too long to arrive".to_owned(),
        )
    })?;
    // Too long without saying so before, or cut off; then nobody reads the answer.
    let body = body.map_err(|_| too_large())?;
    let read = tokio::task::spawn_blocking(move || selvedge_spans::read(&body));
    let read = read.await.map_err(|error| ApiError::internal(&error))?;
    let intake = read.map_err(|error| {
        let sentence = error.to_string();
        ApiError::refused(StatusCode::BAD_REQUEST, "bad_spans", sentence)
    })?;
    let origins = intake.spans.iter().map(|span| span.origin);
    let origins: BTreeSet<_> = origins.collect();
    let refused = intake.refused.iter();
    let refused = refused.map(|(reason, count)| (reason.as_str(), *count));
    let refused = refused.collect();
    let taken = importer.spans.take(intake.spans).await?;
    drop(turn);
    let imported = Imported {
        new: taken.new,
        repeated: taken.repeated,
        refused,
        origins: origins.iter().map(ToString::to_string).collect(),
    };
    let body = answers::json(&imported)?;
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}
