//! Schemas of what monitors answer.

use serde_json::{Value, json};

use super::{boolean, list, maybe_number, maybe_text, number, object, reference, several, text};

pub(super) fn schemas() -> Value {
    let decimal = || json!({"type": ["number", "integer"]});
    let counts = ["taken", "late", "ahead", "left_out", "lacking"];
    let followed = ["records", "repeated", "unreadable", "lost", "unclosed"];
    let numbers = |names: &[&'static str]| {
        let each: Vec<(&str, Value)> = names.iter().map(|name| (*name, number())).collect();
        object(&each)
    };
    json!({
        "ThresholdList": object(&[
            ("thresholds", several(reference("Threshold"))),
            ("followed", numbers(&followed)),
            ("receivers", several(object(&[("receiver", text()), ("waiting", number())]))),
            ("given_up", number()),
            ("next", maybe_text()),
        ]),
        "Threshold": object(&[
            // As in the configuration.
            ("rule", json!({"type": "object"})),
            ("counts", numbers(&counts)),
            ("groups", several(object(&[
                ("group", maybe_text()), ("value", decimal()), ("error", decimal()),
                ("firing", boolean()), ("crossing", maybe_number()),
            ]))),
        ]),
        "TransactionList": list("transactions", "Transaction"),
        "Transaction": object(&[("rule", text()), ("done", number()), ("dead", number())]),
        "LetterList": list("letters", "Letter"),
        "Letter": object(&[
            ("position", text()), ("values", json!({"type": "object"})), ("reason", text()),
            ("tries", number()),
        ]),
        "Tried": object(&[("done", boolean()), ("reason", maybe_text())]),
    })
}
