//! Who may ask what on the admin port.
//!
//! Without a key everything is answered, unless keys are required; then only the page's files,
//! health and metrics are. An operator's key opens everything. A consumer's key opens its own
//! audit and its part of its trees, and closes all else: a key that is shown counts, also where
//! none is required (D14).
//!
//! Limit: keys are carried in `Authorization: Bearer`; on anything but loopback put a proxy with
//! TLS before the port.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use selvedge_identity::{AuditKey, Consumer, Holder, KeyRing};

use super::endpoints::{AUDIT, AUDIT_REQUESTS, HEALTH, METRICS, OPENAPI, READY, REQUEST};
use super::error::ApiError;

/// What the admin port asks of those who come.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The fleet's keys, with which keys of consumers and operators are checked.
    pub keys: Option<KeyRing>,
    /// Whether nothing is answered without a key.
    pub required: bool,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Viewer {
    /// Who may see everything.
    Everything,
    /// Who may see its own.
    Own(Consumer),
}

/// Lets a request pass, with its [`Viewer`], or answers why not.
pub(super) async fn admit(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if !is_protected(path) {
        return next.run(request).await;
    }
    let viewer = match access.viewer(request.headers(), now()) {
        Ok(viewer) => viewer,
        Err(error) => return refusal(error),
    };
    if matches!(viewer, Viewer::Own(_)) && !is_for_consumers(path) {
        return refusal(ApiError::forbidden(
            "this key reads its own audit only: /api/v1/audit, /api/v1/audit/requests, \
             /api/v1/requests/{origin}",
        ));
    }
    request.extensions_mut().insert(viewer);
    next.run(request).await
}

impl Access {
    fn viewer(&self, headers: &HeaderMap, now: u64) -> Result<Viewer, ApiError> {
        let Some(key) = bearer(headers)? else {
            return if self.required {
                Err(ApiError::unauthorized(
                    "a key is required: send `Authorization: Bearer KEY`, made by `selvedge audit-key`",
                ))
            } else {
                Ok(Viewer::Everything)
            };
        };
        let keys = self.keys.as_ref().ok_or_else(|| {
            ApiError::unauthorized("this repository has no keys to check yours with")
        })?;
        let key = AuditKey::verify(key, keys, now);
        match key
            .map_err(|error| ApiError::unauthorized(&error.to_string()))?
            .holder
        {
            Holder::Operator => Ok(Viewer::Everything),
            Holder::Consumer(consumer) => Ok(Viewer::Own(consumer)),
        }
    }
}

/// The bearer's key, if one is sent. Other schemes are a proxy's.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, ApiError> {
    let mut found = None;
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = value.as_bytes();
        let (scheme, key) = value.split_at(value.len().min(6));
        let ends = key.first().is_none_or(|byte| *byte == b' ');
        if !scheme.eq_ignore_ascii_case(b"Bearer") || !ends {
            continue;
        }
        if found.replace(key.trim_ascii()).is_some() {
            return Err(ApiError::unauthorized("send one key"));
        }
    }
    Ok(found)
}

fn is_protected(path: &str) -> bool {
    let open = [HEALTH.path, READY.path, METRICS.path, OPENAPI.path];
    let is_open = open.contains(&path)
        // What servers of the fleet keep for each other, under tokens that nobody can guess.
        || path.starts_with("/selvedge/")
        || selvedge_ui::asset(path).is_some();
    !is_open
}

fn is_for_consumers(path: &str) -> bool {
    let (tree, _) = REQUEST.path.split_once('{').expect("an id in the path");
    let is_tree = path
        .strip_prefix(tree)
        .is_some_and(|origin| !origin.contains('/'));
    path == AUDIT.path || path == AUDIT_REQUESTS.path || is_tree
}

fn refusal(error: ApiError) -> Response {
    let mut response = error.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Seconds since the Unix epoch; before it, no key has a time.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(u64::MAX, |since| since.as_secs())
}
