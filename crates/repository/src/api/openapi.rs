//! The OpenAPI file, made from the endpoint table. `docs/openapi.json` is held equal to it by a
//! test; schemas stand here by hand, and a test holds real answers against them.

mod analysis;
mod watching;

use serde_json::{Map, Value, json};

use super::endpoints::{ALL, Answer, Endpoint, Kind, POSTED, Parameter, monitors};
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// The description of the query API (OpenAPI 3.1).
#[must_use]
pub fn openapi() -> Value {
    let asked = ALL.iter().chain(monitors::ASKED);
    let posted = POSTED.iter().chain(monitors::POSTED);
    let paths: Map<String, Value> = asked
        .map(|endpoint| (endpoint, "get"))
        .chain(posted.map(|endpoint| (endpoint, "post")))
        .map(|(endpoint, method)| {
            (
                endpoint.path.to_owned(),
                json!({method: operation(endpoint)}),
            )
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Selvedge query API",
            "version": "1",
            "description": "Visits in true order, and the call tree of every request. Times are RFC 3339 with \
                nanoseconds, durations are nanoseconds, ids are lower-case hex. Unknown parameters are refused.",
            "license": {"name": "Apache-2.0 OR MIT"},
        },
        "paths": paths,
        "components": {"schemas": all_schemas()},
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let id = endpoint.id.map(|(name, about)| {
        json!({
            "name": name, "in": "path", "required": true,
            "description": about, "schema": schema_of(if name == "server" { Kind::Text } else { Kind::Id }),
        })
    });
    let parameters: Vec<Value> = id
        .into_iter()
        .chain(endpoint.parameters.iter().map(query_parameter))
        .collect();
    let content = match endpoint.answer {
        Answer::Json("OpenApi") => json!({"application/json": {"schema": {"type": "object"}}}),
        Answer::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Answer::Text(kind) => json!({kind: {"schema": {"type": "string"}}}),
    };
    let mut responses = json!({"200": {"description": "The answer.", "content": content}});
    let mut problem = |status: &str, about: &str| {
        responses[status] = json!({
            "description": about,
            "content": {"application/json": {"schema": reference("Error")}},
        });
    };
    if endpoint.path.starts_with("/api/") {
        problem(
            "400",
            "A parameter is unknown or malformed; the message names it.",
        );
        problem(
            "401",
            "A key is required, or the one that was sent is worth nothing.",
        );
        problem("403", "The key that was sent is not for this.");
    }
    if endpoint.id.is_some() {
        problem("404", "Nothing of this id is here.");
    }
    if endpoint.path == "/readyz" {
        responses["503"] = json!({
            "description": "Answers may not be fresh; the body says why.",
            "content": {"text/plain; charset=utf-8": {"schema": {"type": "string"}}},
        });
    }
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if endpoint.name == "importSpans" {
        let any = json!({"schema": {}});
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": any, "application/x-protobuf": any},
        });
    }
    operation
}

fn query_parameter(parameter: &Parameter) -> Value {
    let one = schema_of(parameter.kind);
    let schema = if parameter.repeats {
        json!({"type": "array", "items": one})
    } else {
        one
    };
    json!({"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema})
}

fn schema_of(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Duration => json!({
            "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|min|h)?$",
            "examples": ["10ms", "1.5s", "250000"],
        }),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Id => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Limit => {
            json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT})
        }
        Kind::Cursor => json!({"type": "string"}),
        Kind::Consumer => json!({
            "type": "string", "examples": ["client:0123456789abcdef0123456789abcdef", "service:shop", "unknown"],
        }),
        Kind::Period => json!({"enum": ["hour", "day", "all"], "default": "all"}),
        Kind::Pair => json!({"type": "string", "pattern": "^[^:]+:"}),
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Short names for the schemas below.
fn text() -> Value {
    json!({"type": "string"})
}
fn maybe_text() -> Value {
    json!({"type": ["string", "null"]})
}
fn number() -> Value {
    json!({"type": "integer"})
}
fn maybe_number() -> Value {
    json!({"type": ["integer", "null"]})
}
fn boolean() -> Value {
    json!({"type": "boolean"})
}
fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}
fn maybe_time() -> Value {
    json!({"type": ["string", "null"], "format": "date-time"})
}
fn id() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
}
fn maybe_id() -> Value {
    json!({"type": ["string", "null"], "pattern": "^[0-9a-f]{32}$"})
}
fn several(items: Value) -> Value {
    json!({"type": "array", "items": items})
}
fn values() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

/// An object of exactly these members; those that end in `?` may be missing.
fn object(members: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = members
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !name.ends_with('?'))
        .collect();
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()))
        .collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

fn list(plural: &str, row: &str) -> Value {
    object(&[(plural, several(reference(row))), ("next", maybe_text())])
}

fn all_schemas() -> Value {
    let mut all = schemas();
    for more in [analysis::schemas(), watching::schemas()] {
        let more = more.as_object().into_iter().flatten();
        more.for_each(|(name, schema)| all[name] = schema.clone());
    }
    all
}

fn schemas() -> Value {
    json!({
        "Error": object(&[("error", object(&[("code", text()), ("message", text())]))]),
        "RequestList": list("requests", "RequestRow"),
        "RequestRow": object(&[
            ("origin", id()), ("service", text()), ("operation", text()), ("start", time()),
            ("duration", maybe_number()), ("error", boolean()), ("nodes", number()),
            ("flags", several(text())),
        ]),
        "SessionList": list("sessions", "SessionRow"),
        "SessionRow": object(&[
            ("session", id()), ("client", maybe_id()), ("first", time()), ("last", time()),
            ("entries", number()),
        ]),
        "ServiceList": list("services", "ServiceRow"),
        "ServiceRow": object(&[
            ("service", text()), ("operations", several(text())), ("versions", several(text())),
            ("hosts", several(text())), ("entries", number()), ("errors", number()), ("last", time()),
        ]),
        "DependencyList": list("dependencies", "DependencyRow"),
        "DependencyRow": object(&[
            ("caller", text()), ("callee", text()), ("operation", text()), ("calls", number()),
            ("errors", number()), ("p50", maybe_number()), ("p99", maybe_number()),
        ]),
        "JournalList": list("journals", "JournalRow"),
        "JournalRow": object(&[
            ("server", text()), ("present", boolean()), ("epochs", several(reference("EpochRow"))),
            ("agent", agent()),
        ]),
        "Traces": object(&[("resourceSpans", several(json!({"type": "object"})))]),
        "Imported": object(&[
            ("new", number()), ("repeated", number()),
            ("refused", json!({"type": "object", "additionalProperties": {"type": "integer"}})),
            ("origins", several(id())),
        ]),
        "ReportList": list("reports", "ReportRow"),
        "ReportRow": object(&[
            ("server", text()), ("records", number()), ("new", number()), ("looked", number()),
            ("lost", number()), ("complete", boolean()), ("error", maybe_text()),
        ]),
        "EpochRow": object(&[
            ("epoch", text()), ("volatile", json!({"type": ["boolean", "null"]})), ("records", number()),
            ("next", number()), ("gaps", several(reference("Gap"))),
            ("unasked", several(object(&[("from", number()), ("to", number())]))),
        ]),
        "Gap": object(&[("from", number()), ("to", maybe_number()), ("lost", boolean())]),
        "Tree": object(&[
            ("origin", id()), ("complete", boolean()), ("nodes", several(reference("Node"))),
            ("links", several(reference("Link"))), ("flags", several(text())),
            ("warnings", several(text())),
        ]),
        "Node": node(),
        "NodeEntry": object(&[
            ("entry", text()), ("service", text()), ("host", text()), ("operation", text()),
            ("start_raw", time()), ("duration", maybe_number()), ("outcome", text()),
            ("error", maybe_text()), ("attributes?", values()),
            ("events?", several(reference("NodeEvent"))),
        ]),
        "NodeEvent": object(&[("at_raw", time()), ("name", text()), ("attributes", values())]),
        "Link": object(&[("node", text()), ("origin", text()), ("interaction", text())]),
        "Diagnosis": object(&[
            ("origin", id()), ("sources", several(reference("Source"))),
            ("critical_path", several(reference("Step"))),
        ]),
        "Source": object(&[
            ("node", text()), ("service", maybe_text()), ("operation", maybe_text()),
            ("host", maybe_text()),
            ("fault", json!({"enum": ["failed", "timed_out", "unreached", "broken"]})),
            ("error", maybe_text()), ("reaches_root", boolean()), ("echoes", several(text())),
            ("slowest", maybe_text()),
        ]),
        "Step": object(&[
            ("node", text()), ("service", maybe_text()), ("operation", maybe_text()),
            ("own", number()), ("network", number()),
        ]),
        "Timeline": object(&[
            ("session", id()), ("client", maybe_id()), ("complete", boolean()),
            ("entries", several(reference("Action"))),
        ]),
        "Action": action(),
    })
}

/// How a present server reports.
fn agent() -> Value {
    let mut agent = object(&[
        (
            "mode",
            json!({"enum": ["real-time", "period", "on-demand", "past-journal"]}),
        ),
        ("peers", json!({"enum": ["real-time", "with-reports"]})),
    ]);
    agent["type"] = json!(["object", "null"]);
    agent
}

fn node() -> Value {
    object(&[
        ("id", text()),
        ("service", maybe_text()),
        ("operation", maybe_text()),
        ("host", maybe_text()),
        ("depth", number()),
        ("parent", maybe_text()),
        ("children", several(text())),
        (
            "evidence",
            json!({"enum": ["observed", "one-sided", "inferred", "ambiguous"]}),
        ),
        ("inferred_from", maybe_text()),
        ("levels_lost", number()),
        ("candidates", several(text())),
        ("start", maybe_time()),
        ("start_raw", maybe_time()),
        ("skew_bound", maybe_number()),
        ("duration", maybe_number()),
        ("error", maybe_text()),
        ("work", maybe_number()),
        ("latency_in", maybe_number()),
        ("attributes", values()),
        ("outcome", text()),
        ("status?", number()),
        ("deliveries?", several(reference("NodeEntry"))),
        ("actions?", several(reference("NodeEntry"))),
        ("flags?", several(text())),
        ("events?", several(reference("NodeEvent"))),
    ])
}

fn action() -> Value {
    let link = object(&[("origin", text()), ("interaction", text())]);
    let state = object(&[
        ("name", text()),
        ("bytes", maybe_number()),
        ("value", json!({})),
        ("replaces", several(text())),
    ]);
    object(&[
        ("ordering", json!({"type": ["array", "null"]})),
        ("after", several(text())),
        ("server", text()),
        ("epoch", text()),
        ("sequence", number()),
        ("session", maybe_id()),
        ("service", text()),
        ("version", text()),
        ("action", text()),
        ("client", maybe_id()),
        ("origin", maybe_id()),
        ("interaction", maybe_text()),
        ("depth", maybe_number()),
        ("direction", text()),
        ("host", text()),
        ("peer", maybe_text()),
        ("peer_host", maybe_text()),
        ("generated", maybe_time()),
        ("received", time()),
        ("duration", maybe_number()),
        (
            "outcome",
            json!({"enum": ["ok", "refused", "error", "unknown"]}),
        ),
        ("status", maybe_number()),
        ("error", maybe_text()),
        ("work", maybe_number()),
        ("request", json!({"type": "object"})),
        ("response", json!({"type": "object"})),
        ("unseen", several(text())),
        ("flags", several(text())),
        ("attributes", values()),
        ("state", several(state)),
        ("links", several(link)),
        ("concurrent_with", several(text())),
        ("unproven_with", several(text())),
    ])
}
