//! A visit's timeline on a terminal.

use std::collections::HashMap;

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member, nanoseconds, styled};

/// The longest value of state that is shown in a line.
const VALUE_BYTES_MAX: usize = 60;

/// Renders the JSON of a timeline (design section 11).
pub(crate) fn render(timeline: &Value) -> String {
    let empty = Vec::new();
    let entries = timeline["entries"].as_array().unwrap_or(&empty);
    let mut out = format!(
        "visit {}  client {}  {} actions\n",
        styled(NAME, member(timeline, "session")),
        member(timeline, "client"),
        entries.len(),
    );
    out.push_str(&table(entries));
    out
}

/// The actions as a table.
pub(crate) fn table(entries: &[Value]) -> String {
    let position = |entry: &Value| {
        format!(
            "{}/{}/{}",
            member(entry, "server"),
            member(entry, "epoch"),
            entry["sequence"]
        )
    };
    let counter = |entry: &Value| entry["ordering"][0].to_string();
    let ids: HashMap<String, String> = entries
        .iter()
        .map(|entry| (position(entry), counter(entry)))
        .collect();
    // Positions are long; within a timeline an action is named by its counter and server.
    let short = |list: &Value| {
        let list = list.as_array().map_or(&[][..], Vec::as_slice);
        let names = list.iter().filter_map(Value::as_str).map(|position| {
            let server = position.split('/').next().unwrap_or(position);
            match ids.get(position) {
                Some(counter) => format!("{counter}@{server}"),
                None => position.to_owned(),
            }
        });
        names.collect::<Vec<_>>().join(" ")
    };
    let mut table = Table::new(&[
        "id", "server", "action", "outcome", "received", "took", "origin", "after", "",
    ]);
    for entry in entries {
        let outcome = member(entry, "outcome");
        let style = match outcome {
            "ok" => GOOD,
            "error" => BAD,
            _ => CARE,
        };
        let mut notes = written(&entry["state"]);
        for (key, word) in [
            ("concurrent_with", "concurrent with"),
            ("unproven_with", "unproven against"),
            ("unseen", "had not seen"),
        ] {
            let names = short(&entry[key]);
            if !names.is_empty() {
                notes.push(format!("{word} {names}"));
            }
        }
        table.row(vec![
            (NAME, counter(entry)),
            (NAME, member(entry, "server").to_owned()),
            (NAME, member(entry, "action").to_owned()),
            (style, outcome.to_owned()),
            (DIM, member(entry, "received").to_owned()),
            (
                DIM,
                entry["duration"]
                    .as_f64()
                    .map_or_else(String::new, nanoseconds),
            ),
            (DIM, member(entry, "origin").to_owned()),
            (DIM, short(&entry["after"])),
            (CARE, notes.join("; ")),
        ]);
    }
    table.render()
}

/// What an action wrote of its session's state.
fn written(state: &Value) -> Vec<String> {
    let writes = state.as_array().map_or(&[][..], Vec::as_slice);
    let note = |write: &Value| {
        let name = member(write, "name");
        match (&write["bytes"], &write["value"]) {
            (Value::Null, _) => format!("clears {name}"),
            (bytes, Value::Null) => format!("sets {name} ({bytes} bytes)"),
            (bytes, value) => {
                let value = value.to_string();
                if value.len() > VALUE_BYTES_MAX {
                    return format!("sets {name} ({bytes} bytes)");
                }
                format!("sets {name} to {value}")
            }
        }
    };
    writes.iter().map(note).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_of_the_state_is_shown_as_far_as_it_is_kept() {
        let long = "x".repeat(80);
        let state = json!([
            {"name":"cart","bytes":12,"value":{"kettle":2}},
            {"name":"address","bytes":40,"value":null},
            {"name":"form","bytes":82,"value":long},
            {"name":"hint","bytes":null,"value":null}]);
        let shown = [
            "sets cart to {\"kettle\":2}",
            "sets address (40 bytes)",
            "sets form (82 bytes)",
            "clears hint",
        ];
        assert_eq!(written(&state), shown);
        assert!(written(&Value::Null).is_empty());
    }

    #[test]
    fn concurrent_actions_are_named_by_counter_and_server() {
        let timeline = json!({"session":"s","client":"c","entries":[
            {"ordering":[1,"a"],"server":"a","epoch":"1-0000000000000001","sequence":4,"after":[],
             "action":"GET /","outcome":"ok","concurrent_with":["b/1-0000000000000002/7"]},
            {"ordering":[2,"b"],"server":"b","epoch":"1-0000000000000002","sequence":7,
             "after":["a/1-0000000000000001/4"],"action":"GET /x","outcome":"unknown"}]});
        let plain = anstream::adapter::strip_str(&render(&timeline)).to_string();
        assert!(plain.contains("concurrent with 2@b"), "{plain}");
        assert!(plain.contains("1@a"), "{plain}");
    }
}
