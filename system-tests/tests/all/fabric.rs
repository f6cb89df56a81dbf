//! What the fabric tells of requests: trees, read-your-writes, identifiers of others (D8, D10, D15,
//! E1, E6).

use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use selvedge_system_tests::{Up, run, selvedge};
use serde_json::{Value, json};

use crate::viewers::{Carrier, Held};

/// A viewer with headers, one request at a time.
pub(crate) struct Viewer {
    client: Client,
    held: Held,
    url: String,
}

impl Viewer {
    pub(crate) fn new(up: &Up) -> Self {
        Self::at(up.gateway())
    }

    pub(crate) fn at(url: String) -> Self {
        Self {
            client: Client::new(),
            held: Held::default(),
            url,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> (Response, Duration) {
        let request = self.client.get(format!("{}{path}", self.url));
        self.send(request).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> (Response, Duration) {
        let request = self.client.post(format!("{}{path}", self.url));
        self.send(request.json(body)).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> (Response, Duration) {
        let sending = self.held.send(Carrier::Headers);
        let began = Instant::now();
        let answer = sending.on(request).send().await.expect("an answer");
        self.held.receive(Carrier::Headers, &sending, &answer);
        (answer, began.elapsed())
    }

    /// Asks a server past the gateway, as the gateway would.
    pub(crate) async fn at_server(&self, url: &str, path: &str) -> Value {
        let sending = self.held.send(Carrier::Headers);
        let request = self.client.get(format!("{url}{path}"));
        let answer = sending.on(request).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    pub(crate) fn session(&self) -> String {
        self.held.session()
    }
}

/// The only node with this service.
pub(crate) fn node<'a>(tree: &'a Value, service: &str) -> &'a Value {
    let nodes = tree["nodes"].as_array().expect("nodes");
    let mut of = nodes.iter().filter(|node| node["service"] == service);
    let found = of
        .next()
        .unwrap_or_else(|| panic!("no {service} in {tree:#}"));
    assert!(of.next().is_none(), "two nodes of {service} in {tree:#}");
    found
}

#[tokio::test]
async fn an_orders_tree_shows_every_service_with_parents_latencies_and_hosts() {
    let up = Up::start(&[]);
    let mut viewer = Viewer::new(&up);
    let (answer, _) = viewer
        .post("/orders", &json!({"item": "umbrella", "quantity": 2}))
        .await;
    assert_eq!(answer.status(), 201);
    let timeline = up.query().timeline(&viewer.session(), 1).await;
    let action = &timeline["entries"][0];
    assert_eq!(action["action"], "POST /orders");
    let origin = action["origin"].as_str().expect("an origin");
    let tree = up.query().tree(origin, 5).await;

    assert_eq!(tree["complete"], true, "{tree:#}");
    let gateway = node(&tree, "gateway");
    assert_eq!(gateway["parent"], Value::Null);
    assert_eq!(gateway["host"], "gateway");
    let content = node(&tree, "content");
    assert_eq!(content["parent"], gateway["id"]);
    assert_eq!(content["host"], action["server"]);
    for service in ["catalogue", "payment", "stock"] {
        let called = node(&tree, service);
        assert_eq!(called["parent"], content["id"]);
        assert_eq!(called["host"], service);
        assert_eq!(called["depth"], 2);
        assert!(
            called["latency_in"].is_i64() && called["duration"].is_u64(),
            "{called}"
        );
    }

    // The same from the journals alone, and from the command line.
    let journals = up.data().join("journals");
    let mut local = selvedge(&["tree", origin, "--json", "--from"]);
    let text = run(local.arg(&journals));
    let local: Value = serde_json::from_str(&text).expect("JSON");
    let ids = |tree: &Value| -> Vec<String> {
        let nodes = tree["nodes"].as_array().expect("nodes");
        nodes.iter().map(|n| n["id"].to_string()).collect()
    };
    assert_eq!(ids(&local), ids(&tree));
    let shown = run(&mut selvedge(&["tree", origin, "--admin", &up.admin()]));
    assert!(
        shown.contains("└─ ") && shown.contains("catalogue"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "no colour when piped");
}

#[tokio::test]
async fn the_next_request_on_any_server_sees_the_order() {
    let up = Up::start(&[]);
    let mut viewer = Viewer::new(&up);
    for placed in 1..=20 {
        let (answer, _) = viewer
            .post("/orders", &json!({"item": "kettle", "quantity": 1}))
            .await;
        assert_eq!(answer.status(), 201);
        let (answer, _) = viewer.get("/orders").await;
        let orders: Value = answer.json().await.expect("JSON");
        assert_eq!(
            orders["orders"].as_array().map(Vec::len),
            Some(placed),
            "{orders}"
        );
    }
}

#[tokio::test]
async fn a_slow_bus_costs_the_bound_once_and_the_omission_stands_in_the_entry() {
    let up = Up::start(&["--test-bus-delay", "500ms", "--config", &round_robin()]);
    let mut viewer = Viewer::new(&up);
    const VISITS: usize = 6;
    for _ in 0..VISITS {
        // Another server each time, which cannot have heard of the request before.
        let (answer, took) = viewer.get("/channel").await;
        assert!(answer.status().is_success());
        println!("answered in {took:?}");
    }
    let timeline = up.query().timeline(&viewer.session(), VISITS).await;
    let entries = timeline["entries"].as_array().expect("entries");
    assert_eq!(entries[0]["unseen"], json!([]));
    for pair in entries.windows(2) {
        let before = format!(
            "{}/{}/{}",
            pair[0]["server"].as_str().expect("a server"),
            pair[0]["epoch"].as_str().expect("an epoch"),
            pair[0]["sequence"]
        );
        assert_eq!(
            pair[1]["unseen"],
            json!([before]),
            "only what nobody paid for yet"
        );
        let took = pair[1]["duration"].as_u64().expect("a duration");
        assert!(took >= 50_000_000, "it waited for its bound: {took}");
        assert!(took < 500_000_000, "and no longer: {took}");
    }
}

/// A configuration that sends each request to the next server.
fn round_robin() -> String {
    use std::sync::OnceLock;
    static FILE: OnceLock<tempfile::TempPath> = OnceLock::new();
    let path = FILE.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[gateway]\npolicy = \"round-robin\"\n").expect("written");
        file.into_temp_path()
    });
    path.to_str().expect("text").to_owned()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn with_traceparent(up: &Up) -> Value {
    let answer = Client::new()
        .get(format!("{}/channel", up.gateway()))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .send()
        .await
        .expect("an answer");
    let token = answer.headers()["selvedge-session"].to_str().expect("text");
    let session = token.split('.').next().expect("a session");
    let timeline = up.query().timeline(session, 1).await;
    timeline["entries"][0].clone()
}

#[tokio::test]
async fn a_traceparent_of_a_configured_source_is_continued() {
    let up = Up::start(&[]);
    let entry = with_traceparent(&up).await;
    assert_eq!(entry["origin"], TRACE);
    let tree = up.query().tree(TRACE, 2).await;
    assert_eq!(tree["origin"], TRACE);
}

#[tokio::test]
async fn a_traceparent_of_anyone_else_becomes_a_link_on_a_root_of_ours() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "[trusted]\nclients = []\n").expect("written");
    let up = Up::start(&["--config", file.path().to_str().expect("text")]);
    let entry = with_traceparent(&up).await;
    let origin = entry["origin"].as_str().expect("an origin");
    assert_ne!(origin, TRACE);
    let tree = up.query().tree(origin, 2).await;
    let link = &tree["links"][0];
    assert_eq!(link["origin"], TRACE, "{tree:#}");
}
