//! `selvedge import --tree`: spans of other systems become call trees, with no Selvedge running.

use selvedge_system_tests::{run, selvedge};
use serde_json::{Value, json};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn span(id: &str, parent: &str, kind: u8, name: &str) -> Value {
    json!({"traceId": TRACE, "spanId": id, "parentSpanId": parent, "kind": kind, "name": name,
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"})
}

fn batch(service: &str, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

#[test]
fn a_trace_spread_over_files_is_one_tree_and_bad_spans_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let web = [
        span("00000000000000a1", "", 2, "GET /"),
        span("00000000000000a2", "00000000000000a1", 3, "POST /orders"),
    ];
    let shop = [
        span("00000000000000a3", "00000000000000a2", 2, "POST /orders"),
        span("00000000000000a4", "00000000000000a4", 1, "its own parent"),
        span("0000000000000000", "00000000000000a3", 1, "no id"),
    ];
    // One batch a line, as the Collector's exporter writes them; the second in another file.
    let repeated = batch("web", &web);
    let web = write("web.json", format!("{}\n{repeated}\n", batch("web", &web)));
    let shop = write("shop.json", batch("shop", &shop).to_string());
    let text = run(&mut selvedge(&["import", "--tree", "--json", &web, &shop]));
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(shown["repeats"], 2);
    assert_eq!(shown["refused"], json!({"self_parent": 1, "zero_id": 1}));
    let tree = &shown["trees"][0];
    assert_eq!(tree["origin"], TRACE);
    assert_eq!(tree["complete"], true);
    let nodes = tree["nodes"].as_array().expect("nodes");
    let told: Vec<Value> = nodes
        .iter()
        .map(|n| {
            json!([
                n["id"],
                n["parent"],
                n["service"],
                n["depth"],
                n["evidence"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(["00000000000000a1", null, "web", 0, "observed"]),
            json!([
                "00000000000000a2",
                "00000000000000a1",
                "shop",
                1,
                "observed"
            ]),
        ]
    );

    let text = run(&mut selvedge(&["import", "--tree", &web, &shop]));
    assert!(text.contains("└─ shop POST /orders"), "{text}");
}

#[test]
fn wrong_use_and_wrong_files_are_told_apart() {
    let output = selvedge(&["import", "x.json"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let output = selvedge(&["import", "--tree", "absent.json"]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.json"));
}
