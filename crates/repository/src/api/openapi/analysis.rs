//! Schemas of what many trees tell.

use serde_json::{Value, json};

use super::{
    boolean, id, maybe_number, maybe_text, maybe_time, number, object, reference, several, text,
    time,
};

pub(super) fn schemas() -> Value {
    let paths = [("of_kind", number()), ("unplaced", number())];
    json!({
        "PathList": counted("paths", "PathRow", &paths),
        "PathRow": path(),
        "PathStep": object(&[("service", maybe_text()), ("operation", maybe_text())]),
        "Latency": object(&[
            ("count", number()), ("mean", maybe_number()), ("p50", maybe_number()),
            ("p90", maybe_number()), ("p99", maybe_number()), ("error", share()),
        ]),
        "LineList": counted("lines", "Line", &[]),
        "Line": line(),
        "ChargedList": super::list("requests", "ChargedRow"),
        "ChargedRow": object(&[&[("origin", id()), ("start", time())][..], &totals()].concat()),
    })
}

/// A list, and what was counted for it.
fn counted(plural: &str, row: &str, more: &[(&str, Value)]) -> Value {
    let counted = [
        ("requests", number()),
        ("from", maybe_time()),
        ("to", maybe_time()),
        ("complete", boolean()),
    ];
    object(&[
        (plural, several(reference(row))),
        ("next", maybe_text()),
        ("counted", object(&[&counted[..], more].concat())),
    ])
}

fn path() -> Value {
    let maybe_share = json!({"type": ["number", "null"]});
    object(&[
        ("service", maybe_text()),
        ("operation", maybe_text()),
        ("path", several(reference("PathStep"))),
        ("remainder", boolean()),
        ("requests", maybe_number()),
        ("of", number()),
        ("share", maybe_share.clone()),
        ("calls", number()),
        ("calls_per_request", maybe_share),
        ("errors", number()),
        ("inferred", number()),
        ("latency", reference("Latency")),
        ("request_latency", reference("Latency")),
        ("examples", several(id())),
        ("error_examples", several(id())),
    ])
}

fn line() -> Value {
    let names = [
        ("consumer", text()),
        ("service", maybe_text()),
        ("from", maybe_time()),
        ("to", maybe_time()),
        ("calls_min", number()),
        ("calls_max", maybe_number()),
        ("hidden_max", maybe_number()),
        ("trees", text()),
    ];
    object(&[&names[..], &totals()].concat())
}

fn totals() -> Vec<(&'static str, Value)> {
    let names = [
        "requests",
        "calls",
        "observed",
        "one_sided",
        "inferred",
        "ambiguous",
        "unproven",
        "errors",
        "refused",
        "unknown",
        "work",
        "work_unknown",
        "request_bytes",
        "response_bytes",
        "bytes_unknown",
    ];
    names.into_iter().map(|name| (name, number())).collect()
}

fn share() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": 1})
}
