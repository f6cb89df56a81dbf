//! Thresholds and transactions on a terminal.

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member, nanoseconds};

fn rows<'a>(list: &'a Value, name: &str) -> &'a [Value] {
    list[name].as_array().map_or(&[], Vec::as_slice)
}

/// Renders the JSON of the thresholds: a row for each group, and what waits for the receivers.
pub(crate) fn thresholds(list: &Value) -> String {
    let mut table = Table::new(&[
        "rule", "group", "value", "raise", "", "taken", "late", "left out",
    ]);
    for threshold in rows(list, "thresholds") {
        let rule = &threshold["rule"];
        let counts = &threshold["counts"];
        for group in rows(threshold, "groups") {
            let firing = group["firing"] == true;
            table.row(vec![
                (NAME, member(rule, "name").to_owned()),
                (NAME, member(group, "group").to_owned()),
                (DIM, counted(rule, group)),
                (DIM, level(&rule["raise"])),
                if firing {
                    (BAD, "fires".to_owned())
                } else {
                    (GOOD, "quiet".to_owned())
                },
                (DIM, counts["taken"].to_string()),
                (CARE, some(&counts["late"])),
                // Of groups beyond the rule's limit.
                (BAD, some(&counts["left_out"])),
            ]);
        }
    }
    let mut waiting = Table::new(&["receiver", "waiting"]);
    for receiver in rows(list, "receivers") {
        waiting.row(vec![
            (NAME, member(receiver, "receiver").to_owned()),
            (CARE, receiver["waiting"].to_string()),
        ]);
    }
    let mut out = table.render();
    if !rows(list, "receivers").is_empty() {
        out.push('\n');
        out.push_str(&waiting.render());
    }
    out
}

/// A count with its standard error, where it is not exact.
fn counted(rule: &Value, group: &Value) -> String {
    let value = group["value"].as_f64().unwrap_or_default();
    // Only of durations the level is a text with its unit.
    let value = if rule["raise"].is_string() {
        nanoseconds(value)
    } else {
        plain(value)
    };
    match group["error"].as_f64() {
        Some(error) if error > 0.0 => format!("{value} ±{:.1} %", error * 100.0),
        _ => value,
    }
}

fn level(raise: &Value) -> String {
    match raise {
        Value::String(text) => text.clone(),
        number => number.as_f64().map_or_else(String::new, plain),
    }
}

/// A number without digits that say nothing.
fn plain(number: f64) -> String {
    if number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.4}")
    }
}

/// Nothing for 0.
fn some(count: &Value) -> String {
    if count == 0 {
        String::new()
    } else {
        count.to_string()
    }
}

/// Renders the JSON of the transactions' rules.
pub(crate) fn transactions(list: &Value) -> String {
    let mut table = Table::new(&["rule", "done", "dead letters"]);
    for rule in rows(list, "transactions") {
        let dead = rule["dead"].as_u64().unwrap_or_default();
        table.row(vec![
            (NAME, member(rule, "rule").to_owned()),
            (GOOD, rule["done"].to_string()),
            (if dead > 0 { BAD } else { DIM }, dead.to_string()),
        ]);
    }
    table.render()
}

/// Renders the JSON of a rule's dead letters.
pub(crate) fn letters(list: &Value) -> String {
    let mut table = Table::new(&["position", "tries", "reason", "values"]);
    for letter in rows(list, "letters") {
        table.row(vec![
            (NAME, member(letter, "position").to_owned()),
            (DIM, letter["tries"].to_string()),
            (BAD, member(letter, "reason").to_owned()),
            (DIM, letter["values"].to_string()),
        ]);
    }
    let mut shown = table.render();
    if let Some(next) = list["next"].as_str() {
        shown.push_str(&format!("there are more: --cursor {next}\n"));
    }
    shown
}

/// Renders what became of a dead letter.
pub(crate) fn tried(tried: &Value) -> String {
    if tried["done"] == true {
        "done\n".to_owned()
    } else {
        format!("{}\n", member(tried, "reason"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_count_is_shown_with_its_unit_its_error_and_what_the_limit_left_out() {
        let shown = thresholds(&json!({
            "thresholds": [
                {
                    "rule": {"name": "slow", "raise": "300ms"},
                    "counts": {"taken": 2, "late": 0, "left_out": 0},
                    "groups": [{"group": null, "value": 918_417.8, "error": 0.01, "firing": false}],
                },
                {
                    "rule": {"name": "users", "raise": 1e6},
                    "counts": {"taken": 7, "late": 3, "left_out": 4321},
                    "groups": [{"group": "a", "value": 1_000_123.0, "error": 0.008, "firing": true}],
                },
            ],
            "receivers": [{"receiver": "http://127.0.0.1:9/", "waiting": 9876}],
        }));
        for cell in [
            "918.4 µs ±1.0 %",
            "300ms",
            "1000123 ±0.8 %",
            "1000000",
            "4321",
            "9876",
        ] {
            assert!(shown.contains(cell), "{cell}: {shown}");
        }
    }
}
