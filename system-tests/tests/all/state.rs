//! A session's state over servers: a cart that goes with the visit (B2, E6).

use reqwest::{Client, RequestBuilder};
use selvedge_system_tests::{Query, Up, run, selvedge};
use serde_json::{Value, json};

use crate::fabric::Viewer;
use crate::processes::Fleet;
use crate::viewers::{Carrier, Held, Sent};

/// Servers that wait for what a client has seen as long as it takes.
const PATIENT: &str = "[node]\nwait_ms_max = 20000\n";

fn line(item: &str, quantity: u64) -> Value {
    json!({ "item": item, "quantity": quantity })
}

#[tokio::test]
async fn a_cart_follows_its_visit_over_all_servers_and_shows_in_its_timeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    let text = format!("{PATIENT}[gateway]\npolicy = \"round-robin\"\n");
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("text");
    let up = Up::start(&["--config", config, "--test-bus-delay", "20ms"]);
    let mut viewer = Viewer::new(&up);
    let mut servers = std::collections::BTreeSet::new();
    for n in 1..=6_u64 {
        let (answer, _) = viewer.post("/cart", &line("kettle", n)).await;
        let said: Value = answer.json().await.expect("JSON");
        assert_eq!(said["cart"], json!({ "kettle": n }), "{said}");
        let (answer, _) = viewer.get("/cart").await;
        let said: Value = answer.json().await.expect("JSON");
        assert_eq!(said["cart"], json!({ "kettle": n }), "{said}");
        servers.insert(said["server"].to_string());
    }
    assert_eq!(servers.len(), 3, "each server read what another wrote");

    let timeline = up.query().timeline(&viewer.session(), 12).await;
    let last = &timeline["entries"][10]["state"][0];
    assert_eq!(last["value"], json!({ "kettle": 6 }), "{timeline:#}");
    let replaced: Vec<&Value> = last["replaces"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(replaced.len(), 1, "the write before it");
    let shown = run(selvedge(&["session", &viewer.session(), "--admin"]).arg(up.admin()));
    assert!(shown.contains("sets cart to {\"kettle\":6}"), "{shown}");
    let (_, metrics) = metrics(&up).await;
    assert!(metrics.contains("selvedge_memory_states{server=\"content-1\"} 1"));
}

async fn metrics(up: &Up) -> (u16, String) {
    let url = format!("{}/metrics", up.admin());
    let answer = Client::new().get(url).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// A client past the gateway, which may send a request before the last one's answer came.
struct Direct {
    client: Client,
    held: Held,
}

impl Direct {
    async fn cart(&mut self, url: &str, what: Option<Value>) -> Value {
        let sent = self.held.send(Carrier::Headers);
        self.answered(self.ask(url, what), sent).await
    }

    fn ask(&self, url: &str, what: Option<Value>) -> RequestBuilder {
        let url = format!("{url}/cart");
        match what {
            Some(line) => self.client.post(url).json(&line),
            None => self.client.get(url),
        }
    }

    async fn answered(&mut self, request: RequestBuilder, sent: Sent) -> Value {
        let answer = sent.on(request).send().await.expect("an answer");
        self.held.receive(Carrier::Headers, &sent, &answer);
        answer.json().await.expect("JSON")
    }
}

#[tokio::test]
async fn carts_of_two_requests_are_both_kept_and_a_killed_server_has_them_again() {
    let mut fleet = Fleet::with(PATIENT);
    let urls: Vec<String> = fleet.contents.iter().map(|s| s.url("content")).collect();
    let mut viewer = Direct {
        client: Client::new(),
        held: Held::default(),
    };
    // The gateway opens the session.
    let gateway = fleet.gateway.url("gateway");
    viewer.cart(&gateway, Some(line("umbrella", 1))).await;

    // Two tabs: the second sends before it has the answer of the first.
    let (left, right) = (
        viewer.held.send(Carrier::Headers),
        viewer.held.send(Carrier::Headers),
    );
    let request = viewer.ask(&urls[0], Some(line("kettle", 2)));
    viewer.answered(request, left).await;
    let request = viewer.ask(&urls[1], Some(line("jersey", 3)));
    viewer.answered(request, right).await;
    let all = json!({ "umbrella": 1, "kettle": 2, "jersey": 3 });
    let said = viewer.cart(&urls[2], None).await;
    assert_eq!(said["cart"], all, "both are there: {said}");
    viewer.cart(&urls[2], Some(line("umbrella", 0))).await;

    let query = Query::new(fleet.gateway.url("admin"));
    let timeline = query.timeline(&viewer.held.session(), 5).await;
    let entries = timeline["entries"].as_array().expect("entries");
    let position = |entry: &Value| {
        let part = |name: &str| entry[name].as_str().expect("text").to_owned();
        format!("{}/{}", part("server"), part("epoch"))
    };
    let replaces = |entry: &Value| -> Vec<String> {
        let list = entry["state"][0]["replaces"].as_array().expect("a list");
        let places = list.iter().map(|one| one.as_str().expect("text"));
        places
            .map(|one| one.rsplit_once('/').expect("a position").0.to_owned())
            .collect()
    };
    let writes: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["action"] == "POST /cart")
        .collect();
    let first = [position(writes[0])];
    assert_eq!(replaces(writes[1]), first);
    assert_eq!(replaces(writes[2]), first, "it did not know of the other");
    let mut both = [position(writes[1]), position(writes[2])];
    both.sort();
    assert_eq!(replaces(writes[3]), both, "it knew of both");

    fleet.contents[1].kill();
    fleet.restart(2);
    viewer.client = Client::new(); // the old one's connections went with the server
    let url = fleet.contents[1].url("content");
    let said = viewer.cart(&url, None).await;
    assert_eq!(said["cart"], json!({ "kettle": 2, "jersey": 3 }));
    assert_eq!(said["server"], "content-2");
}
