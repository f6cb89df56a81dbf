//! What the API answers.

use serde_json::{Value, json};

use super::fleet::{Fleet, a_visit};
use super::schema::assert_is;
use crate::fixture::{self, Spec};

/// The visit, once all of it is here.
async fn visit(fleet: &mut Fleet) -> (String, Value) {
    let positions = a_visit(fleet).await;
    let path = format!("/api/v1/sessions/{}", fixture::session(1));
    let closed = |timeline: &Value| {
        let entries = timeline["entries"].as_array().expect("entries");
        entries.len() == 3 && entries.iter().all(|entry| entry["outcome"] != "unknown")
    };
    let timeline = fleet.until(&path, closed).await;
    fleet
        .until("/api/v1/services", |list| {
            list["services"].as_array().is_some_and(|s| s.len() == 3)
        })
        .await;
    (positions[0].to_string(), timeline)
}

fn origins(list: &Value) -> Vec<&str> {
    let rows = list["requests"].as_array().expect("requests");
    rows.iter()
        .map(|row| row["origin"].as_str().expect("an origin"))
        .collect()
}

#[tokio::test]
async fn a_visit_is_told_in_order_with_its_concurrency() {
    let mut fleet = Fleet::start().await;
    let (first, timeline) = visit(&mut fleet).await;
    assert_is("Timeline", &timeline);
    assert_eq!(timeline["session"], json!(fixture::session(1)));
    assert_eq!(timeline["client"], json!(fixture::client(1)));
    let entries = timeline["entries"].as_array().unwrap();
    let place = |entry: &Value| {
        let text = |name| entry[name].as_str().map(str::to_owned).unwrap_or_default();
        format!("{}/{}/{}", text("server"), text("epoch"), entry["sequence"])
    };
    assert_eq!(place(&entries[0]), first);
    assert_eq!(entries[0]["ordering"], json!([1, "content-1"]));
    assert_eq!(entries[0]["concurrent_with"], json!([]));
    assert_eq!(entries[1]["ordering"], json!([2, "content-1"]));
    assert_eq!(entries[1]["after"], json!([first]));
    assert_eq!(entries[1]["concurrent_with"], json!([place(&entries[2])]));
    assert_eq!(entries[2]["ordering"], json!([2, "content-2"]));
    assert_eq!(entries[2]["outcome"], "refused");
    assert_eq!(entries[2]["flags"], json!(["odd"]));
}

#[tokio::test]
async fn each_action_opens_into_the_call_tree_of_what_it_caused() {
    let mut fleet = Fleet::start().await;
    let (_, timeline) = visit(&mut fleet).await;
    let origin = timeline["entries"][1]["origin"].as_str().unwrap();
    let tree = fleet
        .until(&format!("/api/v1/requests/{origin}"), |tree| {
            tree["nodes"].as_array().is_some_and(|n| n.len() == 3)
        })
        .await;
    assert_is("Tree", &tree);
    let services: Vec<&Value> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["service"])
        .collect();
    assert_eq!(services, ["service-1", "service-2", "service-3"]);
    assert_eq!(tree["complete"], true);
    assert_eq!(tree["nodes"][2]["error"], "it broke");
    assert_eq!(tree["nodes"][2]["attributes"], json!({"colour": "1"}));
}

#[tokio::test]
async fn a_diagnosis_names_the_call_that_failed_and_what_was_waited_for() {
    let mut fleet = Fleet::start().await;
    visit(&mut fleet).await;
    let path = format!("/api/v1/requests/{}/diagnosis", fixture::origin(2));
    let diagnosis = fleet
        .until(&path, |diagnosis| {
            let path = diagnosis["critical_path"].as_array();
            path.is_some_and(|path| path.len() == 3)
                && diagnosis["sources"][0]["error"] == "it broke"
        })
        .await;
    assert_is("Diagnosis", &diagnosis);
    assert_eq!(diagnosis["origin"], json!(fixture::origin(2)));
    let sources = diagnosis["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0]["service"], "service-3");
    assert_eq!(sources[0]["operation"], "GET /4");
    assert_eq!(sources[0]["error"], "it broke");
    // Its caller coped.
    assert_eq!(sources[0]["reaches_root"], false);
    assert_eq!(sources[0]["echoes"], json!([]));
    // The call to it is logged to end after its caller's own end: it was waited for until then.
    let spent = |name: &str| -> u64 {
        let steps = diagnosis["critical_path"].as_array().unwrap();
        steps.iter().map(|step| step[name].as_u64().unwrap()).sum()
    };
    assert_eq!(spent("own") + spent("network"), 20_000_000, "all of it");

    let path = format!("/api/v1/requests/{}/diagnosis", fixture::origin(99));
    let answer = fleet.get(&path).await;
    assert_eq!(answer.status, 404);
    assert_is("Error", &answer.json());
}

#[tokio::test]
async fn dependencies_count_every_call_once() {
    let mut fleet = Fleet::start().await;
    visit(&mut fleet).await;
    let list = fleet
        .until("/api/v1/dependencies", |list| {
            let rows = list["dependencies"].as_array().unwrap();
            rows.len() == 4 && rows.iter().all(|row| row["p50"].is_u64())
        })
        .await;
    assert_is("DependencyList", &list);
    let brief = |list: &Value| -> Vec<(String, u64, u64)> {
        let rows = list["dependencies"].as_array().unwrap().iter();
        rows.map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let number = |name: &str| row[name].as_u64().unwrap();
            let edge = format!(
                "{} > {} {}",
                text("caller"),
                text("callee"),
                text("operation")
            );
            (edge, number("calls"), number("errors"))
        })
        .collect()
    };
    let row = |edge: &str, errors| (edge.to_owned(), 1, errors);
    let all = [
        row("service-1 > service-2 GET /1", 0),
        row("service-1 > service-2 GET /2", 0),
        row("service-1 > service-2 GET /3", 0),
        row("service-2 > service-3 GET /4", 1),
    ];
    assert_eq!(brief(&list), all);
    assert_eq!(list["next"], Value::Null);
    let p50 = list["dependencies"][0]["p50"].as_u64().unwrap();
    assert!(p50.abs_diff(1_000_000) <= 1_000_000 / 32, "{p50}");

    let between = "from=1970-01-01T00:00:00.000001900Z&to=1970-01-01T00:00:00.000001950Z";
    let list = fleet.get(&format!("/api/v1/dependencies?{between}")).await;
    assert_eq!(
        brief(&list.json()),
        [all[1].clone(), all[3].clone()],
        "of the second request only"
    );
    let after = format!("cursor=1900.{}", fixture::origin(2));
    let list = fleet.get(&format!("/api/v1/dependencies?{after}")).await;
    assert_eq!(brief(&list.json()), [all[0].clone()], "of what is older");
}

#[tokio::test]
async fn visits_and_services_and_journals_are_listed() {
    let mut fleet = Fleet::start().await;
    visit(&mut fleet).await;
    let sessions = fleet.get("/api/v1/sessions").await.json();
    assert_is("SessionList", &sessions);
    let row = json!({
        "session": fixture::session(1), "client": fixture::client(1), "entries": 3,
        "first": "1970-01-01T00:00:00.000001000Z", "last": "1970-01-01T00:00:00.000002100Z",
    });
    assert_eq!(sessions, json!({"sessions": [row], "next": null}));
    let path = format!(
        "/api/v1/sessions?client={}&from=1970-01-01T00:00:00.000002100Z",
        fixture::client(1)
    );
    assert_eq!(
        fleet.get(&path).await.json()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let path = format!("/api/v1/sessions?client={}", fixture::client(2));
    assert_eq!(
        fleet.get(&path).await.json(),
        json!({"sessions": [], "next": null})
    );

    let services = fleet.get("/api/v1/services").await.json();
    assert_is("ServiceList", &services);
    assert_eq!(services["services"][1]["service"], "service-2");
    assert_eq!(
        services["services"][1]["operations"],
        json!(["GET /1", "GET /2", "GET /3"])
    );
    assert_eq!(services["services"][1]["versions"], json!(["1.0"]));

    let journals = fleet.get("/api/v1/journals").await.json();
    assert_is("JournalList", &journals);
    let servers: Vec<&Value> = journals["journals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|j| &j["server"])
        .collect();
    assert_eq!(servers, ["catalogue", "content-1", "content-2", "gateway"]);
    assert_eq!(journals["journals"][0]["present"], true);
    assert_eq!(journals["journals"][0]["epochs"][0]["records"], 2);
    assert_eq!(journals["journals"][0]["epochs"][0]["gaps"], json!([]));
}

#[tokio::test]
async fn requests_are_found_by_everything_that_can_be_asked() {
    let mut fleet = Fleet::start().await;
    visit(&mut fleet).await;
    let all = fleet
        .until("/api/v1/requests", |list| origins(list).len() == 3)
        .await;
    assert_is("RequestList", &all);
    let [one, two, three] = [1, 2, 3].map(|n| fixture::origin(n).to_string());
    assert_eq!(origins(&all), [three.as_str(), &two, &one], "newest first");
    let row = json!({
        "origin": two, "service": "service-1", "operation": "GET /2", "start": "1970-01-01T00:00:00.000001900Z",
        "duration": 20_000_000, "error": false, "nodes": 3, "flags": ["error"],
    });
    assert_eq!(all["requests"][1], row);
    assert!(
        all["requests"][0]["flags"]
            .as_array()
            .unwrap()
            .contains(&json!("odd"))
    );
    let session = format!("session={}", fixture::session(1));
    let client = format!("client={}", fixture::client(2));
    for (query, found) in [
        ("service=service-3", vec![&two]),
        ("service=service-2&error=true", vec![]),
        ("service=service-3&error=true", vec![&two]),
        ("error=true", vec![]),
        ("error=false", vec![&three, &two, &one]),
        ("operation=GET%20%2F4", vec![&two]),
        ("operation=GET+/4&service=service-3", vec![&two]),
        ("min_duration=20ms", vec![&three, &two]),
        ("min_duration=10000001&max_duration=0.02s", vec![&two]),
        (
            "service=service-2&max_duration=1ms",
            vec![&three, &two, &one],
        ),
        ("attribute=colour:1", vec![&two]),
        ("attribute=colour:1&attribute=colour:2", vec![]),
        ("flag=odd", vec![&three]),
        ("flag=no_such", vec![]),
        (session.as_str(), vec![&three, &two, &one]),
        (client.as_str(), vec![]),
        ("from=1970-01-01T00:00:00.000001900Z", vec![&three, &two]),
        ("to=1970-01-01T00:00:00.000001900Z", vec![&one]),
        ("service=no-such", vec![]),
    ] {
        let list = fleet.get(&format!("/api/v1/requests?{query}")).await.json();
        assert_eq!(origins(&list), found, "{query}");
        assert_eq!(list["next"], Value::Null, "{query}");
    }
    let list = fleet.get("/api/v1/requests?service=service-3").await.json();
    assert_eq!(
        list["requests"][0]["service"], "service-3",
        "the row shows what was found"
    );
    assert_eq!(list["requests"][0]["error"], true);
}

#[tokio::test]
async fn pages_hold_still_while_requests_come_in() {
    let mut fleet = Fleet::start().await;
    let server = fleet.join("content-1").await;
    let request = |n: u8| Spec {
        origin: Some(n),
        stack: vec![n],
        at: i64::from(n) * 1000,
        ..Spec::default()
    };
    let specs: Vec<Spec> = (1..=10).map(request).collect();
    fleet.write(server, &specs).await;
    let list = |list: &Value, n: usize| origins(list).len() == n;
    let mut page = fleet
        .until("/api/v1/requests?limit=4", |l| {
            list(l, 4) && l["requests"][0]["duration"] == 1_000_000
        })
        .await;
    let mut seen: Vec<String> = Vec::new();
    let mut newer = 100;
    loop {
        seen.extend(origins(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        // A newer request arrives between two pages.
        newer += 1;
        fleet.write(server, &[request(newer)]).await;
        let newest = format!("/api/v1/requests/{}", fixture::origin(newer));
        fleet.until(&newest, |_| true).await;
        page = fleet
            .get(&format!("/api/v1/requests?limit=4&cursor={next}"))
            .await
            .json();
    }
    let expected: Vec<String> = (1..=10)
        .rev()
        .map(|n| fixture::origin(n).to_string())
        .collect();
    assert_eq!(seen, expected);
}
