//! Why a request failed: the call that failed first, not those that failed because of it (D12).

use selvedge_system_tests::{Query, run, selvedge};
use serde_json::{Value, json};

use crate::fabric::{Viewer, node};
use crate::processes::Fleet;

#[tokio::test]
async fn a_killed_services_call_is_the_source_and_its_callers_are_echoes() {
    let mut fleet = Fleet::start();
    let mut viewer = Viewer::at(fleet.gateway.url("gateway"));
    let order = json!({"item": "umbrella", "quantity": 1});
    let (answer, _) = viewer.post("/orders", &order).await;
    assert_eq!(answer.status(), 201);
    fleet.kill("payment");
    let (answer, _) = viewer.post("/orders", &order).await;
    assert_eq!(answer.status(), 502);

    let admin = fleet.gateway.url("admin");
    let query = Query::new(admin.clone());
    let timeline = query.timeline(&viewer.session(), 2).await;
    let [went_well, failed] = [0, 1].map(|n| {
        let origin = timeline["entries"][n]["origin"].as_str();
        origin.expect("an origin").to_owned()
    });
    // Gateway, content, catalogue, stock twice: all but the payment, which nobody received.
    let tree = query.tree(&failed, 5).await;
    let [gateway, content, payment] =
        ["gateway", "content", "payment"].map(|service| node(&tree, service));
    assert_eq!(payment["evidence"], "one-sided");
    assert_eq!(gateway["outcome"], "error");
    assert_eq!(content["outcome"], "error");

    let path = format!("/api/v1/requests/{failed}/diagnosis");
    let diagnosis = query
        .until(&path, |diagnosis| {
            let list = |name: &str| diagnosis[name].as_array().map_or(0, Vec::len);
            list("sources") > 0 && list("critical_path") >= 5
        })
        .await;
    let sources = diagnosis["sources"].as_array().expect("sources");
    assert_eq!(sources.len(), 1, "{diagnosis:#}");
    assert_eq!(sources[0]["node"], payment["id"]);
    assert_eq!(sources[0]["service"], "payment");
    assert_eq!(sources[0]["fault"], "unreached");
    assert_eq!(sources[0]["reaches_root"], true);
    assert_eq!(
        sources[0]["echoes"],
        json!([content["id"], gateway["id"]]),
        "its caller first"
    );
    let error = sources[0]["error"].as_str().expect("a reason");
    let shown = run(&mut selvedge(&["diagnose", &failed, "--admin", &admin]));
    let line = |text: &str| shown.lines().position(|line| line.contains(text));
    assert_eq!(
        line("not reached payment POST /charges"),
        Some(1),
        "{shown}"
    );
    assert_eq!(line(error), Some(2), "{shown}");
    assert_eq!(
        line("echoes content POST /orders ← gateway POST /orders"),
        Some(3),
        "{shown}"
    );
    assert!(line("critical path") > Some(3), "{shown}");

    // The order that went well has no source, and both count in what services ask of each other.
    let path = format!("/api/v1/requests/{went_well}/diagnosis");
    let (status, diagnosis) = query.get(&path).await;
    assert_eq!((status, &diagnosis["sources"]), (200, &json!([])));
    let (_, list) = query.get("/api/v1/dependencies").await;
    let rows = list["dependencies"].as_array().expect("rows");
    let row = |callee: &str, operation: &str| -> Value {
        let row = rows
            .iter()
            .find(|row| row["callee"] == callee && row["operation"] == operation);
        let row = row.unwrap_or_else(|| panic!("no {callee} in {list:#}"));
        json!([row["caller"], row["calls"], row["errors"]])
    };
    assert_eq!(row("content", "POST /orders"), json!(["gateway", 2, 1]));
    assert_eq!(row("payment", "POST /charges"), json!(["content", 2, 1]));
    assert_eq!(row("stock", "POST /releases"), json!(["content", 1, 0]));
}
