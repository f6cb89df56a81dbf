//! The session's state, for an application in any language (B2): values are JSON.

use selvedge_node::{Candidate, Exchange, STATE_VALUE_BYTES_MAX, StateError};
use selvedge_relay::{Body, BodyError, Response};
use serde_json::{Value, json};

use super::{No, nothing};
use crate::message::answer;

/// All names with their values.
pub(super) async fn list(exchange: &Exchange) -> Result<Response, No> {
    exchange.catch_up().await;
    let names = exchange.state_names();
    let states: Result<Vec<Value>, StateError> = names
        .iter()
        .map(|name| Ok(shown(name, &exchange.state_candidates(name)?)))
        .collect();
    let session = exchange.session().ok_or(StateError::NoSession)?;
    Ok(answer(
        200,
        &json!({ "session": session, "states": states? }),
    ))
}

pub(super) async fn get(exchange: &Exchange, name: &str) -> Result<Response, No> {
    exchange.catch_up().await;
    let candidates = exchange.state_candidates(name)?;
    Ok(answer(200, &shown(name, &candidates)))
}

pub(super) async fn put(exchange: &Exchange, name: &str, body: &mut Body) -> Result<Response, No> {
    // One byte more tells what is too long from what is just short enough.
    let body = body.collect(STATE_VALUE_BYTES_MAX + 1).await;
    let body = body.map_err(|error| match error {
        BodyError::TooLarge => StateError::TooLong(STATE_VALUE_BYTES_MAX + 1).into(),
        error => No::bad(error.to_string()),
    })?;
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| No::bad(format!("a value of state is JSON: {error}")))?;
    exchange.catch_up().await;
    exchange.write_state(name, Some(value.to_string().into()))?;
    Ok(nothing())
}

pub(super) async fn delete(exchange: &Exchange, name: &str) -> Result<Response, No> {
    exchange.catch_up().await;
    exchange.write_state(name, None)?;
    Ok(nothing())
}

/// The value that is shown, and all that are left: more than one are a conflict.
fn shown(name: &str, candidates: &[Candidate]) -> Value {
    let value = |candidate: &Candidate| {
        let value = candidate.value.as_deref();
        value.map_or(Value::Null, |value| {
            serde_json::from_slice(value).unwrap_or(Value::Null)
        })
    };
    let all = candidates.iter().map(|candidate| {
        json!({
            "value": value(candidate),
            "ordering": candidate.ordering(),
            "action": candidate.action,
        })
    });
    json!({
        "name": name,
        "value": candidates.first().map(value),
        "candidates": all.collect::<Vec<_>>(),
    })
}

impl From<StateError> for No {
    fn from(error: StateError) -> Self {
        let (status, code) = match error {
            StateError::NoSession => (409, "no_session"),
            StateError::Name(_) => (400, "bad_request"),
            StateError::TooLong(_) => (413, "too_long"),
            StateError::Full => (409, "full"),
            StateError::Ended => (409, "ended"),
            StateError::NoAction => (503, "unavailable"),
            StateError::Value { .. } => (500, "unreadable"),
        };
        Self::new(status, code, &error.to_string())
    }
}
