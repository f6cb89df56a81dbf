//! Lists of requests on a terminal.

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member, nanoseconds, styled};

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
