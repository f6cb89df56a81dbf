//! `selvedge import`: spans of other systems, from files, given to a running Selvedge; or, with
//! `--tree`, call trees with none running.

use std::collections::BTreeMap;
use std::path::Path;

use selvedge_system_tests::{Up, run, selvedge};
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

/// What `import --json` says.
fn import(up: &Up, files: &[&Path]) -> Value {
    let admin = up.admin();
    let mut command = selvedge(&["import", "--json", "--admin", &admin]);
    serde_json::from_str(&run(command.args(files))).expect("JSON")
}

#[tokio::test]
async fn what_is_imported_twice_is_there_once() {
    let up = Up::start(&["--servers", "1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let spans = [
        span("00000000000000a1", "", 2, "GET /"),
        span("00000000000000a2", "00000000000000a1", 3, "POST /orders"),
        span("0000000000000000", "00000000000000a1", 1, "no id"),
    ];
    let otlp = write("otlp.json", batch("web", &spans).to_string());
    let zipkin = json!([{"traceId": TRACE, "id": "a3", "parentId": "a2", "kind": "SERVER",
        "name": "post /orders", "timestamp": 1_544_712_660_000_010_u64, "duration": 5,
        "localEndpoint": {"serviceName": "shop"}}]);
    let zipkin = write("zipkin.json", zipkin.to_string());
    let jaeger = json!({"data": [{"traceID": "b", "processes": {"p1": {"serviceName": "old"}},
        "spans": [{"traceID": "b", "spanID": "1", "operationName": "GET", "processID": "p1",
            "startTime": 1_544_712_660_000_000_u64, "duration": 7}]}]});
    let jaeger = write("jaeger.json", jaeger.to_string());
    let files = [otlp.as_path(), &zipkin, &jaeger];
    let other = format!("{:032x}", 11);
    let origins = json!([other, TRACE]);
    assert_eq!(
        import(&up, &files),
        json!({"new": 4, "repeated": 0, "refused": {"zero_id": 1}, "origins": origins})
    );
    assert_eq!(
        import(&up, &files),
        json!({"new": 0, "repeated": 4, "refused": {"zero_id": 1}, "origins": origins})
    );
    let admin = up.admin();
    let shown = run(&mut selvedge(&["tree", "--admin", &admin, TRACE]));
    assert!(shown.contains("└─ shop post /orders"), "{shown}");
    let shown = run(&mut selvedge(&[
        "import",
        "--admin",
        &admin,
        jaeger.to_str().expect("a path"),
    ]));
    assert!(
        shown.starts_with("0 spans, and 1 that were there already, of 1 request\n"),
        "{shown}"
    );
    assert!(shown.contains(&format!("selvedge tree {other}")), "{shown}");
}

#[tokio::test]
async fn a_long_file_is_sent_in_pieces_and_nothing_of_it_is_lost() {
    let up = Up::start(&["--servers", "1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let padding = "p".repeat(2000);
    let count = 5000_usize;
    let trace = |n: usize| format!("{:032x}", 1 + n / 50);
    let resources = (0..count).map(|n| {
        let mut span = span(&format!("{:016x}", n + 1), "", 2, &padding);
        span["traceId"] = json!(trace(n));
        batch("web", &[span])["resourceSpans"][0].clone()
    });
    // One object: what no line ends.
    let file = json!({"resourceSpans": resources.collect::<Vec<_>>()}).to_string();
    assert!(file.len() > 10 << 20);
    let path = folder.path().join("long.json");
    std::fs::write(&path, file).expect("written");
    let said = import(&up, &[&path]);
    assert_eq!(
        (&said["new"], &said["refused"]),
        (&json!(count), &json!({}))
    );
    let mut spans = BTreeMap::new();
    for origin in said["origins"].as_array().expect("origins") {
        let origin = origin.as_str().expect("an origin");
        let (_, kept) = up
            .query()
            .get(&format!("/api/v1/requests/{origin}/spans"))
            .await;
        for resource in kept["resourceSpans"].as_array().expect("a list") {
            for span in resource["scopeSpans"][0]["spans"]
                .as_array()
                .expect("a list")
            {
                assert_eq!(span["name"], json!(padding));
                spans.insert(span["spanId"].to_string(), ());
            }
        }
    }
    assert_eq!(spans.len(), count);
}

#[test]
fn wrong_use_and_wrong_files_are_told_apart() {
    let output = selvedge(&["import"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let failed = |args: &[&str]| {
        let output = selvedge(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = failed(&["import", "--tree", "absent.json"]);
    assert!(said.contains("absent.json"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("some.json");
    let path = path.to_str().expect("a path");
    std::fs::write(path, "[]").expect("written");
    // Nobody listens on port 1.
    let said = failed(&["import", path, "--admin", "http://127.0.0.1:1"]);
    assert!(said.contains("nothing answers"), "{said}");
    std::fs::write(path, "").expect("written");
    let said = failed(&["import", path, "--admin", "http://127.0.0.1:1"]);
    assert!(said.contains("it is empty"), "{said}");
}

#[tokio::test]
async fn a_file_that_holds_no_spans_is_refused_by_name() {
    let up = Up::start(&["--servers", "1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not spans at all").expect("written");
    let output = selvedge(&["import", "--admin", &up.admin()])
        .arg(&path)
        .output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("notes.txt") && said.contains("not JSON"),
        "{said}"
    );
}
