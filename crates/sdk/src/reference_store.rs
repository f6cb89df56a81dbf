//! The store of identifiers by reference, served over HTTP (D5): routes to put into a server of
//! one's own. The admin port has them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use selvedge_node::Shelf;

/// The longest body.
const BODY_BYTES_MAX: usize = 1024;

/// `PUT` and `GET /selvedge/v1/references/{token}`: the identifier as text. Put it where only this
/// fleet can reach it: whoever can write here can push identifiers out, and make up others.
pub fn reference_store(shelf: Arc<Shelf>) -> Router {
    Router::new()
        .route(
            "/selvedge/v1/references/{token}",
            get(find)
                .put(keep)
                .layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
        )
        .with_state(shelf)
}

async fn keep(
    State(shelf): State<Arc<Shelf>>,
    Path(token): Path<String>,
    identifier: Bytes,
) -> Response {
    match shelf.put(&token, &identifier) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => no(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    }
}

async fn find(State(shelf): State<Arc<Shelf>>, Path(token): Path<String>) -> Response {
    match shelf.get(&token) {
        Some(identifier) => identifier.encode().as_str().to_owned().into_response(),
        None => no(
            StatusCode::NOT_FOUND,
            "unknown_reference",
            "nothing lies under this reference (any more): serve the request as a new root",
        ),
    }
}

fn no(status: StatusCode, code: &str, message: &str) -> Response {
    // Neither text has a character that JSON would want escaped.
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
    (status, [("content-type", "application/json")], body).into_response()
}
