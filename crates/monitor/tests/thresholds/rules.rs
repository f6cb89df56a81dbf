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
            "it can never hold: service = a and service = b exclude each other",
        ),
        (
            json!({"filter": "status >= 500 and status < 400"}),
            "filter",
            "it can never hold",
        ),
        (
            json!({"filter": "direction = sideways"}),
            "filter",
            "at byte 12: direction is one of inbound, outbound, internal",
        ),
        (
            json!({"filter": "outcome = ok", "count": "error share", "raise": 0.5}),
            "filter",
            "no entry of it has failed: outcome = ok and outcome = error",
        ),
        (
            json!({"count": "sum client"}),
            "count",
            "client is never a number",
        ),
        (
            json!({"count": "p50 action"}),
            "count",
            "action is never a number",
        ),
        (
            json!({"count": "distinct client", "group_by": "client"}),
            "raise",
            "3 is never reached: the count is 0 to 1",
        ),
        (
            json!({"count": "distinct direction", "raise": 4}),
            "raise",
            "4 is never reached: the count is 0 to 3",
        ),
        (
            json!({"count": "p99 status", "raise": 1000}),
            "raise",
            "1000 is never reached",
        ),
        (
            json!({"count": "p99", "raise": 300}),
            "raise",
            "300 of what? write a duration, such as \"300ms\"",
        ),
        (
            json!({"side": "below", "window": "tumbling 1m", "raise": -1}),
            "raise",
            "-1 is never reached",
        ),
        (
            json!({"side": "below", "window": "tumbling 1m", "count": "error share", "raise": 1}),
            "raise",
            "1 is always reached",
        ),
        (json!({"clear": 0}), "clear", "at 0 it never clears"),
        (
            json!({"window": "sliding 1m", "lateness": "5s"}),
            "lateness",
            "leave it out",
        ),
        (
            json!({"window": "tumbling 1s", "lateness": "1h"}),
            "lateness",
            "at most 600 windows",
        ),
        (json!({"groups_max": 5}), "groups_max", "write group_by"),
        (
            json!({"group_by": "client", "groups_max": 100_001}),
            "groups_max",
            "write 1 to 100000",
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
        (
            json!({"group_by": "client", "groups_max": 0}),
            "groups_max",
            "write 1 to 100000",
        ),
        (json!({"group_by": "who"}), "group_by", "no field who"),
    ] {
        let error = Rule::new(&config(members.clone())).unwrap_err();
        assert_eq!(error.key, key, "{members}: {error}");
        assert!(error.reason.contains(reason), "{members}: {error}");
    }
}

#[test]
fn a_rule_that_may_fire_is_taken() {
    for members in [
        json!({"count": "error share", "raise": 1}),
        json!({"count": "sum attribute.x", "raise": -3}),
        json!({"count": "sum duration", "raise": "1h"}),
        json!({"count": "p99.9", "raise": "300ms", "clear": "200ms"}),
        json!({"count": "distinct direction"}),
        json!({"window": "sliding 1m", "for": "5m", "keep_firing_for": "1h"}),
        // Quiet for five windows in a row.
        json!({"side": "below", "window": "tumbling 1m", "for": "5m"}),
        json!({"side": "below", "window": "tumbling 1m", "raise": 0}),
        json!({"window": "tumbling 1m", "lateness": "5m"}),
        json!({"filter": "outcome != ok", "count": "error share", "raise": 0.5}),
        json!({"group_by": "client", "count": "distinct session", "groups_max": 100_000}),
    ] {
        let rule = Rule::new(&config(members.clone()));
        assert!(rule.is_ok(), "{members}: {rule:?}");
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
