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
        "duration": 20_000_000, "error": false, "nodes": 3, "flags": ["error", "skewed"],
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
