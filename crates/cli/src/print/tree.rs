//! A call tree on a terminal.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, member, nanoseconds, printable, styled};

/// Levels that are drawn with their branches; deeper ones are indented by a number.
const BRANCHES_MAX: usize = 40;

/// Renders the JSON of a tree (design section 11).
pub(crate) fn render(tree: &Value) -> String {
    let empty = Vec::new();
    let nodes = tree["nodes"].as_array().unwrap_or(&empty);
    let by_id: HashMap<&str, &Value> = nodes.iter().map(|n| (member(n, "id"), n)).collect();
    let complete = tree["complete"].as_bool().unwrap_or(false);
    let mut out = format!(
        "request {}  {} calls  {}\n",
        styled(NAME, member(tree, "origin")),
        nodes.len(),
        if complete {
            styled(GOOD, "complete")
        } else {
            styled(CARE, "incomplete")
        },
    );
    for flag in texts(&tree["flags"]) {
        let _ = writeln!(out, "  {} {}", styled(CARE, "flag"), printable(&flag));
    }
    for warning in texts(&tree["warnings"]) {
        let _ = writeln!(out, "  {} {}", styled(CARE, "warning"), printable(&warning));
    }
    let is_root = |node: &&Value| !by_id.contains_key(member(node, "parent"));
    // A stack of our own: a tree may be ten thousand calls deep.
    let mut stack: Vec<(&Value, String, bool)> = Vec::new();
    let roots: Vec<&Value> = nodes.iter().filter(is_root).collect();
    for (index, root) in roots.iter().enumerate().rev() {
        stack.push((root, String::new(), index + 1 == roots.len()));
    }
    while let Some((node, branches, last)) = stack.pop() {
        let root = !by_id.contains_key(member(node, "parent"));
        let (own, below) = match (root, last) {
            (true, _) => ("", ""),
            (false, true) => ("└─ ", "   "),
            (false, false) => ("├─ ", "│  "),
        };
        let _ = writeln!(
            out,
            "{}{}",
            styled(DIM, &format!("{branches}{own}")),
            line(node)
        );
        let branches = if branches.chars().count() < BRANCHES_MAX * 3 {
            format!("{branches}{below}")
        } else {
            branches
        };
        let children: Vec<&Value> = texts(&node["children"])
            .iter()
            .filter_map(|id| by_id.get(id.as_str()).copied())
            .collect();
        for (index, child) in children.iter().enumerate().rev() {
            stack.push((child, branches.clone(), index + 1 == children.len()));
        }
    }
    out
}

fn line(node: &Value) -> String {
    let evidence = member(node, "evidence");
    let service = match member(node, "service") {
        "" => "(lost)",
        service => service,
    };
    let mut line = format!(
        "{} {}",
        styled(NAME, &printable(service)),
        printable(member(node, "operation"))
    );
    if let Some(duration) = node["duration"].as_f64() {
        let _ = write!(line, "  {}", nanoseconds(duration));
    }
    if let Some(latency) = node["latency_in"].as_f64() {
        let bound = node["skew_bound"].as_f64().unwrap_or(0.0);
        let bound = if bound > 0.0 {
            format!(" ±{}", nanoseconds(bound))
        } else {
            String::new()
        };
        let text = format!("  in {}{bound}", nanoseconds(latency));
        line.push_str(&styled(DIM, &text));
    }
    let host = member(node, "host");
    if !host.is_empty() {
        line.push_str(&styled(DIM, &format!("  @{}", printable(host))));
    }
    match evidence {
        "observed" => {}
        "inferred" => {
            let levels = node["levels_lost"].as_u64().unwrap_or(0);
            let text = format!("  inferred over {levels} lost levels");
            line.push_str(&styled(CARE, &text));
        }
        other => line.push_str(&styled(CARE, &format!("  {other}"))),
    }
    match &node["error"] {
        Value::Null | Value::Bool(false) => {}
        Value::String(error) => {
            line.push_str(&styled(BAD, &format!("  error: {}", printable(error))));
        }
        _ => line.push_str(&styled(BAD, "  error")),
    }
    line
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    list.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn children_hang_below_their_parents() {
        let tree = json!({"origin":"aa","complete":false,"flags":["inferred"],"nodes":[
            {"id":"1","service":"gateway","operation":"POST /orders","parent":null,"children":["2","3"],"evidence":"observed","duration":1500000,"host":"gateway"},
            {"id":"2","service":"content","operation":"POST /orders","parent":"1","children":[],"evidence":"one-sided"},
            {"id":"3","service":null,"operation":null,"parent":"1","children":["4"],"evidence":"inferred","levels_lost":2},
            {"id":"4","service":"stock","operation":"x","parent":"3","children":[],"evidence":"observed","error":"broke"}]});
        let plain = anstream::adapter::strip_str(&render(&tree)).to_string();
        assert_eq!(
            plain,
            "request aa  4 calls  incomplete\n  flag inferred\n\
             gateway POST /orders  1.50 ms  @gateway\n\
             ├─ content POST /orders  one-sided\n\
             └─ (lost)   inferred over 2 lost levels\n   └─ stock x  error: broke\n"
        );
    }
}
