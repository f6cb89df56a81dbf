//! Broadcasts of an application in any language (A10): the body is the content, as it is.

use selvedge_identity::SessionId;
use selvedge_node::{BroadcastError, Exchange};
use selvedge_relay::{Request, Response};
use serde_json::json;

use super::{NAME_BYTES_MAX, No};
use crate::message::answer as json_answer;

/// Whom it brings a head: sessions' ids, in lists with commas and in several fields. Without it,
/// the request's own.
const TO: &str = "selvedge-to";
/// What the action is called; `broadcast` if it is not said.
const ACTION: &str = "selvedge-action";

/// `POST broadcast`.
pub(super) async fn broadcast(exchange: &Exchange, request: &mut Request) -> Result<Response, No> {
    let fields = &request.head.fields;
    let field = |name: &str| {
        fields
            .get(name)
            .and_then(|value| str::from_utf8(value).ok())
    };
    let content_type = field("content-type");
    let content_type =
        content_type.ok_or_else(|| No::bad("say what the content is: content-type"))?;
    let name = field(ACTION).unwrap_or("broadcast");
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
        let message = format!("an action's name has 1 to {NAME_BYTES_MAX} bytes");
        return Err(No::bad(message));
    }
    let to = match fields.has(TO) {
        true => sessions(fields.get_all(TO))?,
        false => exchange.session().into_iter().collect(),
    };
    let (content_type, name) = (content_type.to_owned(), name.to_owned());
    let content = request.body.collect(selvedge_transmit::CONTENT_MAX).await;
    let content = content.map_err(|error| No::bad(error.to_string()))?;
    let sent = exchange.broadcast(&name, &content_type, content, &to).await;
    let sent = sent.map_err(|error| match &error {
        BroadcastError::Form(_) => No::bad(error.to_string()),
        BroadcastError::NotWritten => No::new(503, "unavailable", &error.to_string()),
    })?;
    Ok(json_answer(
        201,
        &json!({ "broadcast": sent.position, "addressed": sent.addressed }),
    ))
}

fn sessions<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<SessionId>, No> {
    let ids = values.flat_map(|value| value.split(|&b| b == b','));
    let ids = ids.map(<[u8]>::trim_ascii).filter(|id| !id.is_empty());
    ids.map(|id| {
        SessionId::parse(id).map_err(|_| {
            let id = String::from_utf8_lossy(&id[..id.len().min(64)]);
            No::bad(format!(
                "{TO}: {id:?} is no session's id, as in selvedge-session-id"
            ))
        })
    })
    .collect()
}
