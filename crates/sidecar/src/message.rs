//! Parts of requests and answers, as the node wants them and as the relay sends them.

use selvedge_entry::Data;
use selvedge_node::{Gathered, Keep};
use selvedge_relay::{Body, Fields, Response, ResponseHead};
use serde_json::{Value, json};

/// Begins to gather a body with these fields.
pub(crate) fn gather(keep: &Keep, fields: &Fields) -> Gathered {
    let content_type = fields.get("content-type");
    Gathered::new(
        keep,
        content_type.and_then(|value| str::from_utf8(value).ok()),
    )
}

/// The fields that an entry keeps.
pub(crate) fn kept_fields(keep: &Keep, fields: &Fields) -> Data {
    let mut data = Data::default();
    for (name, value) in fields.iter() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if keep.wants_header(&name) {
            let value = String::from_utf8_lossy(value);
            data.fields.push((name.into(), value.as_ref().into()));
        }
    }
    data
}

/// Several lines of a list field as one.
pub(crate) fn joined(fields: &Fields, name: &str) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = fields.get_all(name).collect();
    (!lines.is_empty()).then(|| lines.join(&b","[..]))
}

/// An answer in JSON.
pub(crate) fn answer(status: u16, value: &Value) -> Response {
    let mut head = ResponseHead::new(status);
    head.fields.append("content-type", "application/json");
    Response {
        head,
        body: Body::full(value.to_string()),
        tunnel: None,
    }
}

/// An answer that says no: `{"error":{"code","message"}}`.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Response {
    answer(
        status,
        &json!({ "error": { "code": code, "message": message } }),
    )
}
