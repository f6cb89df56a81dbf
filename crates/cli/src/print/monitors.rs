//! Thresholds and transactions on a terminal.

use serde_json::Value;

use super::{BAD, CARE, DIM, GOOD, NAME, Table, member};

fn rows<'a>(list: &'a Value, name: &str) -> &'a [Value] {
    list[name].as_array().map_or(&[], Vec::as_slice)
}

/// Renders the JSON of the thresholds: a row for each group.
pub(crate) fn thresholds(list: &Value) -> String {
    let mut table = Table::new(&["rule", "group", "value", "raise", "", "taken", "late"]);
    for threshold in rows(list, "thresholds") {
        let rule = &threshold["rule"];
        for group in rows(threshold, "groups") {
            let firing = group["firing"] == true;
            let error = group["error"].as_f64().unwrap_or_default();
            let about = if error > 0.0 { "~" } else { "" };
            table.row(vec![
                (NAME, member(rule, "name").to_owned()),
                (NAME, member(group, "group").to_owned()),
                (DIM, format!("{about}{}", group["value"])),
                (DIM, rule["raise"].to_string()),
                if firing {
                    (BAD, "fires".to_owned())
                } else {
                    (GOOD, "quiet".to_owned())
                },
                (DIM, threshold["counts"]["taken"].to_string()),
                (CARE, threshold["counts"]["late"].to_string()),
            ]);
        }
    }
    table.render()
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
    table.render()
}

/// Renders what became of a dead letter.
pub(crate) fn tried(tried: &Value) -> String {
    if tried["done"] == true {
        "done\n".to_owned()
    } else {
        format!("{}\n", member(tried, "reason"))
    }
}
