//! `selvedge fetch`, and what `selvedge tree` fetches by itself: entries that servers hold back
//! until they are asked (D7, on demand).

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::args::{Fetch, Tree};
use crate::print::{self, BAD, GOOD, NAME, Table};
use crate::{ask, show};

/// Asks the servers, and shows what came.
///
/// # Errors
/// When a server could not be asked or did not answer for all it has.
pub(crate) async fn fetch(args: &Fetch) -> Result<()> {
    let mut query = Vec::new();
    let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
    add("origin", args.origin.map(|origin| origin.to_string()));
    add("session", args.session.map(|session| session.to_string()));
    add("from", args.from.clone());
    add("to", args.to.clone());
    let mut reports = Vec::new();
    let mut paths: Vec<String> = args
        .server
        .iter()
        .map(|server| format!("/api/v1/journals/{server}/report"))
        .collect();
    if paths.is_empty() {
        paths.push("/api/v1/report".to_owned());
    }
    for path in paths {
        let mut answer = ask::post(&args.asking.admin, &path, &query).await?;
        if let Some(rows) = answer["reports"].as_array_mut() {
            reports.append(rows);
        }
    }
    let incomplete = reports.iter().any(|row| row["complete"] != true);
    let list = json!({"reports": reports, "next": null});
    show(args.asking.json, &list, render)?;
    if incomplete {
        bail!("not every server answered for all it has");
    }
    Ok(())
}

/// A request's tree. Where something of it is missing, the servers that hold entries back are
/// asked first.
///
/// # Errors
/// When the repository knows nothing of it even then.
pub(crate) async fn tree(args: &Tree) -> Result<Value> {
    let path = format!("/api/v1/requests/{}", args.origin);
    let first = ask::get(&args.asking.admin, &path, &[]).await;
    if args.no_fetch || first.as_ref().is_ok_and(is_whole) {
        return first;
    }
    let query = [("origin", args.origin.to_string())];
    match ask::post(&args.asking.admin, "/api/v1/report", &query).await {
        Ok(answer) => {
            for row in rows(&answer) {
                warn(row);
            }
            if rows(&answer).iter().all(|row| row["new"] == 0) {
                return first;
            }
            ask::get(&args.asking.admin, &path, &[]).await
        }
        Err(error) => {
            tracing::debug!(%error, "servers could not be asked");
            first
        }
    }
}

/// Whether a tree lacks nothing that a server might hold back.
fn is_whole(tree: &Value) -> bool {
    let nodes = tree["nodes"].as_array();
    let observed = |node: &Value| node["evidence"] == "observed" && node["duration"].is_number();
    tree["complete"] == true && nodes.is_some_and(|nodes| nodes.iter().all(observed))
}

fn rows(answer: &Value) -> &[Value] {
    answer["reports"].as_array().map_or(&[], Vec::as_slice)
}

fn warn(row: &Value) {
    if row["complete"] != true {
        let (server, error) = (print::member(row, "server"), print::member(row, "error"));
        eprintln!("selvedge: {server} did not answer for all it has: {error}");
    }
}

fn render(list: &Value) -> String {
    let mut table = Table::new(&[
        "server",
        "records",
        "new",
        "looked through",
        "lost",
        "answered",
    ]);
    for row in rows(list) {
        let number = |name: &str| row[name].to_string();
        let (style, answered) = match row["error"].as_str() {
            Some(error) => (BAD, error.to_owned()),
            None => (GOOD, "for all it has".to_owned()),
        };
        table.row(vec![
            (NAME, print::member(row, "server").to_owned()),
            (NAME, number("records")),
            (NAME, number("new")),
            (NAME, number("looked")),
            (NAME, number("lost")),
            (style, answered),
        ]);
    }
    if rows(list).is_empty() {
        return "no server that is present holds anything back\n".to_owned();
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_whole_when_both_sides_of_every_call_are_here_and_ended() {
        let tree = |complete: bool, evidence: &str, duration: Value| {
            json!({
                "complete": complete, "nodes": [{"evidence": evidence, "duration": duration}],
            })
        };
        assert!(is_whole(&tree(true, "observed", json!(5))));
        assert!(!is_whole(&tree(false, "observed", json!(5))));
        assert!(!is_whole(&tree(true, "one-sided", json!(5))));
        assert!(!is_whole(&tree(true, "observed", Value::Null)));
        assert!(!is_whole(&Value::Null));
    }

    #[test]
    fn every_server_that_was_asked_has_its_row_and_says_why_it_did_not_answer() {
        let row = |server: &str, error: Value| {
            json!({
                "server": server, "records": 30, "new": 7, "looked": 1200, "lost": 0,
                "complete": error.is_null(), "error": error,
            })
        };
        let list =
            json!({"reports": [row("content-1", Value::Null), row("content-2", json!("it left"))]});
        let text = render(&list);
        for part in [
            "content-1",
            "content-2",
            "1200",
            "for all it has",
            "it left",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render(&json!({"reports": []})).contains("no server"));
    }
}
