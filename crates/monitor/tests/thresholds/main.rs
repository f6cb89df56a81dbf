//! Thresholds: by example, against a plain model, and through a restart.

mod examples;
mod model;
mod rules;

use selvedge_entry::{Closing, Direction, Entry, Opening, Outcome, Timestamp};
use selvedge_identity::{Epoch, Position, ServerName};
use selvedge_monitor::threshold::{Rule, RuleConfig, Threshold};

/// A closed entry at a time in milliseconds, with attributes.
fn entry(sequence: u64, at_ms: i64, attributes: &[(&str, &str)]) -> Entry {
    Entry {
        position: Position {
            server: ServerName::new("content-1").unwrap(),
            epoch: Epoch {
                counter: 1,
                random: 7,
            },
            sequence,
        },
        opening: Opening {
            version: "1".into(),
            host: "h".into(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..Opening::new(Direction::Inbound, "content", "POST /vote", ms(at_ms))
        },
        effect: None,
        closing: Some(Closing {
            duration_ns: 1,
            status: 200,
            outcome: Outcome::Ok,
            ..Closing::default()
        }),
    }
}

fn ms(at: i64) -> Timestamp {
    Timestamp(at * 1_000_000)
}

/// A rule from its JSON members.
fn config(members: serde_json::Value) -> RuleConfig {
    let mut config = serde_json::json!({"name": "rule", "raise": 3});
    let all = config.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn threshold(members: serde_json::Value) -> Threshold {
    Threshold::new(Rule::new(&config(members)).unwrap(), ms(0))
}

/// As after a crash and a restart with the same rule.
fn restarted(threshold: &Threshold) -> Threshold {
    let saved = serde_json::to_string(&threshold.saved()).unwrap();
    let mut saved = serde_json::Deserializer::from_str(&saved);
    Threshold::restore(threshold.rule().clone(), &mut saved).unwrap()
}
