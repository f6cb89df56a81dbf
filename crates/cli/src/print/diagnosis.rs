//! A diagnosis on a terminal: where failures began, what failed because of them, and what the
//! request waited for.
//!
//! Limits: a diagnosis names by id alone a node that failed with another and was not waited for;
//! so does this.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member, nanoseconds, printable, styled};

/// Renders the JSON of a diagnosis (`/api/v1/requests/{origin}/diagnosis`).
pub(crate) fn render(diagnosis: &Value) -> String {
    let list = |name: &str| diagnosis[name].as_array().map_or(&[][..], Vec::as_slice);
    let (sources, path) = (list("sources"), list("critical_path"));
    let names: HashMap<&str, String> = path
        .iter()
        .chain(sources)
        .map(|node| (member(node, "node"), name(node)))
        .collect();
    let origin = printable(member(diagnosis, "origin"));
    let mut out = format!("request {}\n", styled(NAME, &origin));
    if sources.is_empty() {
        let _ = writeln!(out, "{}", styled(GOOD, "nothing failed"));
    }
    for found in sources {
        out.push_str(&source(found, &names));
    }
    out.push('\n');
    if path.is_empty() {
        let _ = writeln!(
            out,
            "{}",
            styled(
                DIM,
                "no critical path: nobody logged how long the request took"
            )
        );
    } else {
        out.push_str(&critical_path(path));
    }
    out
}

/// Where one failure began, and below it what it did.
fn source(source: &Value, names: &HashMap<&str, String>) -> String {
    let reaches_root = source["reaches_root"] == true;
    let style = if reaches_root { BAD } else { CARE };
    let mut out = format!(
        "{} {}{}\n",
        styled(style, &fault(member(source, "fault"))),
        styled(NAME, &name(source)),
        host(source),
    );
    let error = printable(member(source, "error"));
    if !error.is_empty() {
        let _ = writeln!(out, "  {}", styled(style, &error));
    }
    let named = |id: &str| names.get(id).cloned().unwrap_or_else(|| printable(id));
    let echoes = source["echoes"].as_array().map_or(&[][..], Vec::as_slice);
    let echoes: Vec<String> = echoes.iter().filter_map(Value::as_str).map(named).collect();
    if !echoes.is_empty() {
        let _ = writeln!(out, "  {} {}", styled(DIM, "echoes"), echoes.join(" ← "));
    }
    if !reaches_root {
        let _ = writeln!(
            out,
            "  {}",
            styled(DIM, "the request itself did not fail of it")
        );
    }
    let slowest = member(source, "slowest");
    if !slowest.is_empty() {
        let _ = writeln!(out, "  {} {}", styled(DIM, "slowest"), named(slowest));
    }
    out
}

/// What the request waited for, callers first: each node's own part, which add up to the whole.
fn critical_path(path: &[Value]) -> String {
    let spent = |step: &Value, part: &str| step[part].as_f64().unwrap_or(0.0);
    let both = |step: &Value| spent(step, "own") + spent(step, "network");
    let whole: f64 = path.iter().map(both).sum();
    let longest = path.iter().map(both).fold(0.0, f64::max);
    let mut table = Table::new(&["critical path", "", "own", "network", "share"]);
    for step in path {
        let share = if whole > 0.0 {
            100.0 * both(step) / whole
        } else {
            0.0
        };
        let style = if both(step) >= longest { CARE } else { DIM };
        table.row(vec![
            (NAME, service(step).to_owned()),
            (anstyle::Style::new(), member(step, "operation").to_owned()),
            (DIM, nanoseconds(spent(step, "own"))),
            (DIM, nanoseconds(spent(step, "network"))),
            (style, format!("{share:.0} %")),
        ]);
    }
    table.render()
}

fn fault(fault: &str) -> String {
    match fault {
        "failed" => "failed".to_owned(),
        "timed_out" => "timed out".to_owned(),
        "unreached" => "not reached".to_owned(),
        "broken" => "broken off".to_owned(),
        other => printable(other),
    }
}

fn name(node: &Value) -> String {
    let text = format!("{} {}", service(node), member(node, "operation"));
    printable(text.trim_end())
}

fn service(node: &Value) -> &str {
    match member(node, "service") {
        "" => "(lost)",
        service => service,
    }
}

fn host(node: &Value) -> String {
    match member(node, "host") {
        "" => String::new(),
        host => styled(DIM, &format!("  @{}", printable(host))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(diagnosis: &Value) -> String {
        anstream::adapter::strip_str(&render(diagnosis)).to_string()
    }

    fn step(node: &str, service: &str, operation: &str, own: u64, network: u64) -> Value {
        json!({"node": node, "service": service, "operation": operation, "own": own, "network": network})
    }

    #[test]
    fn the_source_comes_first_then_its_echoes_then_the_critical_path() {
        let diagnosis = json!({"origin": "aa",
            "sources": [
                {"node": "4", "service": "stock", "operation": "POST /reservations", "host": "10.0.0.9",
                 "fault": "unreached", "error": "connection refused", "reaches_root": true,
                 "echoes": ["2", "1"], "slowest": null},
                {"node": "7", "service": null, "operation": null, "host": null, "fault": "timed_out",
                 "error": null, "reaches_root": false, "echoes": ["9"], "slowest": "8"}],
            "critical_path": [
                step("1", "gateway", "POST /orders", 500_000, 0),
                step("2", "content", "POST /orders", 2_000_000, 500_000),
                step("4", "stock", "POST /reservations", 1_000_000, 0)]});
        assert_eq!(
            plain(&diagnosis),
            "request aa\n\
             not reached stock POST /reservations  @10.0.0.9\n\
             \x20 connection refused\n\
             \x20 echoes content POST /orders ← gateway POST /orders\n\
             timed out (lost)\n\
             \x20 echoes 9\n\
             \x20 the request itself did not fail of it\n\
             \x20 slowest 8\n\
             \n\
             critical path                      own       network   share\n\
             gateway        POST /orders        500.0 µs  0 ns      12 %\n\
             content        POST /orders        2.00 ms   500.0 µs  62 %\n\
             stock          POST /reservations  1.00 ms   0 ns      25 %\n"
        );
    }

    #[test]
    fn a_request_without_failures_or_times_says_so() {
        let diagnosis = json!({"origin": "aa", "sources": [], "critical_path": []});
        assert_eq!(
            plain(&diagnosis),
            "request aa\nnothing failed\n\nno critical path: nobody logged how long the request took\n"
        );
    }

    #[test]
    fn what_services_say_cannot_drive_the_terminal() {
        let diagnosis = json!({"origin": "\u{1b}[2J", "critical_path": [], "sources": [
            {"node": "1", "service": "\u{1b}]0;x\u{7}", "fault": "\u{1b}c", "error": "\r\n", "host": "\u{8}",
             "reaches_root": true, "echoes": ["\u{1b}"], "slowest": "\u{1b}"}]});
        // What is coloured is ours; without our colours no control character is left.
        let mut text = render(&diagnosis);
        for style in [BAD, CARE, DIM, GOOD, NAME] {
            text = text.replace(&style.to_string(), "");
            text = text.replace(&format!("{style:#}"), "");
        }
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
    }
}
