//! Which rules are refused, and with which words.

use selvedge_filter::Needs;
use selvedge_monitor::threshold::Rule;
use serde_json::json;

use crate::config;

#[test]
fn a_rule_that_is_wrong_or_useless_is_refused_by_its_key() {
    for (members, key, reason) in [
        (json!({"name": "a b"}), "name", "1 to 64 letters"),
        (json!({"filter": "x = 1"}), "filter", "no field x"),
        (
            json!({"filter": "service = a and service = b"}),
            "filter",
            "it can never hold: service",
        ),
        (json!({"count": "votes"}), "count", "votes is none of"),
        (json!({"count": "distinct user"}), "count", "no field user"),
        (json!({"count": "p100"}), "count", "p100 is none of"),
        (json!({"window": "sliding"}), "window", "sliding is none of"),
        (
            json!({"window": "tumbling 5"}),
            "window",
            "5 is no duration",
        ),
        (
            json!({"window": "sliding 1h step 1s"}),
            "window",
            "the step must be",
        ),
        (json!({"raise": 0}), "raise", "0 is always reached"),
        (
            json!({"count": "error share", "raise": 1.5}),
            "raise",
            "1.5 is never reached",
        ),
        (
            json!({"count": "p99", "raise": "fast"}),
            "raise",
            "fast is no duration",
        ),
        (json!({"clear": 4}), "clear", "4 is beyond raise"),
        (
            json!({"side": "below", "clear": 2, "window": "tumbling 1m"}),
            "clear",
            "2 is beyond raise",
        ),
        (
            json!({"side": "below"}),
            "window",
            "below a level since the start",
        ),
        (
            json!({"window": "tumbling 1m", "for": "60s"}),
            "for",
            "never reached",
        ),
        (json!({"groups_max": 0}), "groups_max", "1 to 100000"),
        (json!({"group_by": "who"}), "group_by", "no field who"),
    ] {
        let error = Rule::new(&config(members.clone())).unwrap_err();
        assert_eq!(error.key, key, "{members}: {error}");
        assert!(error.reason.contains(reason), "{members}: {error}");
    }
}

#[test]
fn a_rule_asks_to_see_no_more_of_an_entry_than_it_must() {
    for (members, needs) in [
        (json!({}), Needs::Opening),
        (json!({"count": "distinct client"}), Needs::Opening),
        (json!({"filter": "status = 200"}), Needs::Effect),
        (json!({"group_by": "attribute.x"}), Needs::Effect),
        (json!({"count": "p95", "raise": "10ms"}), Needs::Closing),
        (
            json!({"count": "error share", "raise": 0.5}),
            Needs::Closing,
        ),
    ] {
        let rule = Rule::new(&config(members.clone())).unwrap();
        assert_eq!(rule.needs(), needs, "{members}");
    }
}
