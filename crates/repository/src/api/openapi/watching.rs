//! Schemas of what monitors and the race's master answer.

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
        "RaceList": object(&[
            ("races", several(reference("Race"))),
            ("replicas", several(reference("RaceReplica"))),
            ("epoch", text()), ("delay", number()), ("warning", maybe_text()),
            ("counts", numbers(&[
                "races", "refused_too_few", "refused_busy", "refused_client", "refused_request",
                "refused_often", "by_master", "short_delays", "challenged", "foreign", "forged",
                "unasked", "outcomes", "dns_compared", "dns_right",
            ])),
            // The name server's table of winners.
            ("winners", json!({})),
            ("next", maybe_text()),
        ]),
        "Race": object(&[
            ("race", text()), ("kind", text()), ("client", text()), ("service", text()),
            ("event", text()), ("instant", number()), ("delay", number()),
            ("sites", several(object(&[
                ("site", text()), ("sent", maybe_number()), ("late", maybe_number()),
                ("silent", maybe_text()), ("gap", maybe_number()),
            ]))),
            ("by_master", boolean()), ("winner", maybe_text()), ("evidence", maybe_text()),
            ("dns", maybe_text()),
        ]),
        "RaceReplica": object(&[
            ("site", text()), ("address", text()), ("racing", boolean()),
            ("left_out", maybe_text()), ("clock", text()), ("offset", maybe_number()),
            ("drift_ppb", maybe_number()), ("noise", maybe_number()), ("bound", maybe_number()),
            ("round_trip", maybe_number()), ("longest_one_way", maybe_number()),
            ("exchanges", number()), ("handicap", number()), ("probes", number()),
            ("echoes", number()), ("exchanges_refused", number()), ("jumps", number()),
            ("restarts", number()), ("sent", number()), ("silent", number()),
            ("missed", number()), ("left_out_times", number()), ("wins", number()),
        ]),
        "Tried": object(&[("done", boolean()), ("reason", maybe_text())]),
    })
}
