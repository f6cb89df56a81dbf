//! Call paths on a terminal: a block for each kind of request, a row for each path.

use std::fmt::Write as _;

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member, nanoseconds, printable, styled};

/// Renders the JSON of `/api/v1/analysis/paths`.
pub(crate) fn render(list: &Value) -> String {
    let rows = list["paths"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out = String::new();
    for kind in
        rows.chunk_by(|a, b| (&a["service"], &a["operation"]) == (&b["service"], &b["operation"]))
    {
        let name = printable(&step(&kind[0]));
        let _ = writeln!(out, "{}  {} requests", styled(NAME, &name), kind[0]["of"]);
        let mut table = Table::new(&[
            "share",
            "a request",
            "p50",
            "p99",
            "errors",
            "inferred",
            "path",
            "example",
        ]);
        kind.iter().for_each(|row| table.row(cells(row)));
        out.push_str(&table.render());
        out.push('\n');
    }
    if rows.is_empty() {
        out.push_str("no such requests\n");
    }
    let unplaced = list["counted"]["unplaced"].as_u64().unwrap_or(0);
    if unplaced > 0 {
        let said = format!("{unplaced} calls stand on no path: what is above them is lost");
        let _ = writeln!(out, "{}", styled(CARE, &said));
    }
    out + &super::audit::foot(list)
}

fn cells(row: &Value) -> Vec<(anstyle::Style, String)> {
    let count = |name: &str, style| match row[name].as_u64() {
        Some(0) | None => (DIM, "0".to_owned()),
        Some(count) => (style, count.to_string()),
    };
    let share = row["share"].as_f64();
    let per_request = row["calls_per_request"].as_f64();
    let steps = row["path"].as_array().map_or(&[][..], Vec::as_slice);
    let path = if row["remainder"] == true {
        "all others".to_owned()
    } else {
        let steps: Vec<String> = steps.iter().map(step).collect();
        steps.join(" → ")
    };
    let took = |name: &str| {
        row["latency"][name]
            .as_f64()
            .map_or_else(String::new, nanoseconds)
    };
    vec![
        (
            GOOD,
            share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
        ),
        (
            DIM,
            per_request.map_or_else(String::new, |calls| format!("{calls:.2}×")),
        ),
        (NAME, took("p50")),
        (NAME, took("p99")),
        count("errors", BAD),
        count("inferred", CARE),
        (NAME, path),
        (
            DIM,
            row["examples"][0].as_str().unwrap_or_default().to_owned(),
        ),
    ]
}

fn step(step: &Value) -> String {
    let service = match member(step, "service") {
        "" => "?",
        service => service,
    };
    match member(step, "operation") {
        "" => service.to_owned(),
        operation => format!("{service} {operation}"),
    }
}
