//! Audits on a terminal: lines, and the requests that prove them.

use std::fmt::Write as _;

use anstyle::Style;
use serde_json::Value;

use super::{BAD, CARE, DIM, NAME, Table, member, styled};

/// Renders the JSON of `/api/v1/audit`.
pub(crate) fn lines(list: &Value) -> String {
    let rows = list["lines"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(&[
        "consumer", "service", "from", "calls", "handled", "errors", "work", "sent", "received",
        "requests",
    ]);
    for row in rows {
        let mut cells = vec![
            (NAME, member(row, "consumer").to_owned()),
            service(row),
            (
                DIM,
                member(row, "from")
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            (NAME, row["calls"].to_string()),
            handled(row),
        ];
        cells.extend(amounts(row));
        cells.push((DIM, row["requests"].to_string()));
        table.row(cells);
    }
    table.render() + &foot(list)
}

/// Renders the JSON of `/api/v1/audit/requests`.
pub(crate) fn requests(list: &Value) -> String {
    let rows = list["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(&[
        "start", "origin", "calls", "errors", "work", "sent", "received",
    ]);
    for row in rows {
        let mut cells = vec![
            (DIM, member(row, "start").to_owned()),
            (NAME, member(row, "origin").to_owned()),
            (NAME, row["calls"].to_string()),
        ];
        cells.extend(amounts(row));
        table.row(cells);
    }
    table.render() + &foot(list)
}

/// What is to be said below a list: whether there is more, and whether all was counted.
pub(super) fn foot(list: &Value) -> String {
    let mut out = String::new();
    if list["counted"]["complete"] == false {
        let from = member(&list["counted"], "from");
        let said =
            format!("counted only what began since {from}; ask for what was before with --to");
        let _ = writeln!(out, "{}", styled(CARE, &said));
    }
    if let Some(next) = list["next"].as_str() {
        let said = format!("there is more: --cursor {next:?}");
        let _ = writeln!(out, "{}", styled(DIM, &super::printable(&said)));
    }
    out
}

fn service(row: &Value) -> (Style, String) {
    match row["service"].as_str() {
        Some(service) => (NAME, service.to_owned()),
        None => (CARE, "?".to_owned()),
    }
}

/// How many calls were certainly handled, and how many can have been.
fn handled(row: &Value) -> (Style, String) {
    match (row["calls_min"].as_u64(), row["calls_max"].as_u64()) {
        (Some(min), Some(max)) if min == max => (DIM, "all".to_owned()),
        (Some(min), Some(max)) => (CARE, format!("{min} to {max}")),
        (min, _) => (CARE, format!("{} or more", min.unwrap_or(0))),
    }
}

fn amounts(row: &Value) -> [(Style, String); 4] {
    let errors = row["errors"].as_u64().unwrap_or(0);
    let partly = |name: &str, unknown: &str| {
        let more = row[unknown].as_u64().is_some_and(|calls| calls > 0);
        let sum = row[name].as_u64().unwrap_or(0);
        let style = if more { CARE } else { NAME };
        (style, format!("{}{sum}", if more { "≥ " } else { "" }))
    };
    [
        (if errors > 0 { BAD } else { DIM }, errors.to_string()),
        partly("work", "work_unknown"),
        partly("request_bytes", "bytes_unknown"),
        partly("response_bytes", "bytes_unknown"),
    ]
}
