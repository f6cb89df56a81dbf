//! Lists of requests, and a diagnosis, on a terminal.

use std::fmt::Write as _;

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member, nanoseconds, printable, styled};

/// Renders the JSON of a list of requests (design section 11).
pub(crate) fn requests(list: &Value) -> String {
    let empty = Vec::new();
    let rows = list["requests"].as_array().unwrap_or(&empty);
    let mut table = Table::new(&[
        "start",
        "origin",
        "service",
        "operation",
        "took",
        "calls",
        "",
        "",
    ]);
    for row in rows {
        let error = !matches!(row["error"], Value::Null | Value::Bool(false));
        let flags = row["flags"].as_array().map_or(&[][..], Vec::as_slice);
        let flags: Vec<&str> = flags.iter().filter_map(Value::as_str).collect();
        table.row(vec![
            (DIM, member(row, "start").to_owned()),
            (NAME, member(row, "origin").to_owned()),
            (NAME, member(row, "service").to_owned()),
            (NAME, member(row, "operation").to_owned()),
            (
                DIM,
                row["duration"]
                    .as_f64()
                    .map_or_else(String::new, nanoseconds),
            ),
            (DIM, row["nodes"].to_string()),
            if error {
                (BAD, "error".to_owned())
            } else {
                (GOOD, "ok".to_owned())
            },
            (CARE, flags.join(" ")),
        ]);
    }
    let mut out = table.render();
    if list["next"].is_string() {
        out.push_str(&styled(
            DIM,
            "more match: narrow the search or raise --limit",
        ));
        out.push('\n');
    }
    out
}

/// Renders a diagnosis: its members, one a line, lists below.
pub(crate) fn diagnosis(diagnosis: &Value) -> String {
    let mut out = String::new();
    let Some(members) = diagnosis.as_object() else {
        return format!("{diagnosis}\n");
    };
    for (name, value) in members {
        match value {
            Value::Array(items) => {
                let _ = writeln!(out, "{}", styled(NAME, &printable(name)));
                for item in items {
                    let _ = writeln!(out, "  {}", flat(item));
                }
            }
            other => {
                let _ = writeln!(out, "{}  {}", styled(NAME, &printable(name)), flat(other));
            }
        }
    }
    out
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| format!("{}={}", printable(name), flat(value));
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(member)
                .collect::<Vec<_>>()
                .join("  ")
        }
        other => other.to_string(),
    }
}
