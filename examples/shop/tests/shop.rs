//! A whole shop in one process: three content servers and the services behind an order, each with
//! a node of its own on an in-process hub; the test holds the session as a gateway would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Hub, HubOptions};
use selvedge_entry::{Direction, Entry, Record, fold_all};
use selvedge_example_shop::{
    Running, Services, ShopOptions, start_catalogue, start_content, start_payment, start_stock,
};
use selvedge_identity::{KeyRing, Position, ServerName, SessionId, SessionToken};
use selvedge_journal::read_dir;
use selvedge_node::{Keep, Node, NodeOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Shop {
    folder: TempDir,
    contents: Vec<(Running, Node)>,
    // Held so that they go on.
    services: Vec<(Running, Node)>,
    http: reqwest::Client,
    token: String,
}

impl Shop {
    async fn open() -> Self {
        Self::with_delay(Duration::ZERO).await
    }

    /// A shop whose back-end network is this slow.
    async fn with_delay(delay: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(HubOptions {
            delay,
            ..HubOptions::default()
        }));
        let keys = KeyRing::single([7; 32]);
        let node = |name: &str, service: &str| {
            let server = ServerName::new(name).unwrap();
            let journal = folder.path().join(name);
            let mut options = NodeOptions::new(server, service, journal, keys.clone());
            options.keep = Keep::json_bodies();
            options.wait.longest = Duration::from_secs(10);
            let hub = hub.clone();
            async move { Node::start(options, hub).await.unwrap() }
        };
        let mut services = Vec::new();
        let catalogue = node("catalogue-1", "catalogue").await;
        services.push((
            start_catalogue(LOOPBACK, catalogue.clone()).await.unwrap(),
            catalogue,
        ));
        let payment = node("payment-1", "payment").await;
        services.push((
            start_payment(LOOPBACK, payment.clone()).await.unwrap(),
            payment,
        ));
        let stock = node("stock-1", "stock").await;
        services.push((start_stock(LOOPBACK, stock.clone()).await.unwrap(), stock));
        let url = |n: usize| format!("http://{}", services[n].0.address());
        let options = ShopOptions {
            listen: LOOPBACK,
            services: Services {
                catalogue: url(0),
                payment: url(1),
                stock: url(2),
            },
            slow: None,
        };
        let mut contents = Vec::new();
        for n in 1..=3 {
            let node = node(&format!("content-{n}"), "content").await;
            contents.push((
                start_content(options.clone(), node.clone()).await.unwrap(),
                node,
            ));
        }
        let session = SessionId::from_random([9; 16]);
        Self {
            folder,
            contents,
            services,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            token: SessionToken::new(session, []).sign(&keys),
        }
    }

    /// One request to content server `n` in the session; the answer's token is kept.
    async fn ask(&mut self, n: usize, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.contents[n - 1].0.address());
        let request = match method {
            "POST" => self
                .http
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.to_owned()),
            _ => self.http.get(url),
        };
        let request = request.header("selvedge-session", &self.token);
        let request = request.header("selvedge-caller", "gateway");
        let answer = request.send().await.unwrap();
        let token = answer.headers()["selvedge-session"].to_str().unwrap();
        self.token = token.to_owned();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).into_owned()));
        (status, body)
    }

    async fn order(&mut self, n: usize, item: &str, quantity: u64) -> (u16, Value) {
        let body = json!({ "item": item, "quantity": quantity }).to_string();
        self.ask(n, "POST", "/orders", &body).await
    }

    /// Takes items from the stock beside every order.
    async fn reserve(&self, item: &str, quantity: u64) -> u16 {
        let stock = format!("http://{}/reservations", self.services[2].0.address());
        let body = json!({ "order": "o", "item": item, "quantity": quantity }).to_string();
        let answer = self.http.post(stock).body(body).send().await.unwrap();
        answer.status().as_u16()
    }

    /// The session's actions as content server `n` knows them once it has seen everything.
    async fn history(&mut self, n: usize) -> Vec<Entry> {
        self.ask(n, "GET", "/", "").await;
        let session = self.token.split('.').next().unwrap().parse().unwrap();
        self.contents[n - 1].1.memory().history(session)
    }

    /// Every entry of this server's journal, its node stopped before.
    async fn journal(&self, node: &Node) -> Vec<Entry> {
        node.stop().await;
        let folder = self.folder.path().join(node.server().as_str());
        let storage = Arc::new(selvedge_journal::DiskStorage);
        let records = read_dir(storage, &folder).unwrap().map(Result::unwrap);
        fold_all(records.filter_map(|record| {
            let position = Position {
                server: record.server,
                epoch: record.epoch,
                sequence: record.sequence,
            };
            Some((position, Record::decode(&record.payload).ok()?))
        }))
    }
}

#[tokio::test]
async fn a_cart_goes_with_the_visit_to_whichever_server_takes_it() {
    let mut shop = Shop::with_delay(Duration::from_millis(5)).await;
    for (server, line) in [
        (1, json!({ "item": "kettle", "quantity": 1 })),
        (2, json!({ "item": "jersey", "quantity": 3 })),
        (3, json!({ "item": "kettle", "quantity": 2 })),
        (1, json!({ "item": "jersey", "quantity": 0 })),
    ] {
        let (status, said) = shop.ask(server, "POST", "/cart", &line.to_string()).await;
        assert_eq!(status, 200, "{said}");
    }
    let (_, said) = shop.ask(2, "GET", "/cart", "").await;
    assert_eq!(said["cart"], json!({ "kettle": 2 }));
    for (line, status) in [
        (json!({ "item": "kettle", "quantity": 101 }), 400),
        (json!({ "item": "../x", "quantity": 1 }), 404),
        (json!({ "item": "kettle" }), 400),
    ] {
        let (answered, said) = shop.ask(1, "POST", "/cart", &line.to_string()).await;
        assert_eq!(answered, status, "{said}");
    }
}

#[tokio::test]
async fn an_order_placed_on_one_server_is_listed_by_every_other_at_once() {
    let mut shop = Shop::with_delay(Duration::from_millis(5)).await;
    let mut ids = Vec::new();
    for round in 0..6 {
        let (status, placed) = shop.order(round % 3 + 1, "kettle", 2).await;
        assert_eq!(status, 201, "{placed}");
        assert_eq!(placed["server"], format!("content-{}", round % 3 + 1));
        assert_eq!(placed["order"]["total_cents"], 6_900);
        ids.push(placed["order"]["id"].clone());
        let (status, listed) = shop.ask((round + 1) % 3 + 1, "GET", "/orders", "").await;
        assert_eq!(status, 200);
        let listed: Vec<Value> = listed["orders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|order| order["id"].clone())
            .collect();
        assert_eq!(listed, ids);
    }
}

#[tokio::test]
async fn an_order_is_one_action_and_its_calls_are_one_tree() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.order(1, "umbrella", 1).await.0, 201);
    let history = shop.history(1).await;
    let actions: Vec<&str> = history.iter().map(|entry| &*entry.opening.action).collect();
    assert_eq!(actions[0], "POST /orders");
    assert!(actions[1..].iter().all(|action| *action == "GET /"));
    let order = history[0].opening.call.as_ref().unwrap().identifier.clone();

    let content = shop.journal(&shop.contents[0].1.clone()).await;
    let calls: Vec<&Entry> = content
        .iter()
        .filter(|entry| entry.opening.direction == Direction::Outbound)
        .collect();
    let peers: Vec<&str> = calls
        .iter()
        .map(|entry| {
            entry
                .opening
                .call
                .as_ref()
                .unwrap()
                .peer
                .as_deref()
                .unwrap()
        })
        .collect();
    assert_eq!(peers, ["catalogue", "stock", "payment"]);
    for call in calls {
        let call = call.opening.call.as_ref().unwrap();
        assert_eq!(call.identifier.origin(), order.origin());
        assert_eq!(call.identifier.depth(), order.depth() + 1);
        let service = shop
            .services
            .iter()
            .find(|(_, node)| node.service() == call.peer.as_deref().unwrap())
            .unwrap();
        let received = shop.journal(&service.1).await;
        assert_eq!(received.len(), 1);
        let inbound = received[0].opening.call.as_ref().unwrap();
        assert_eq!(inbound.identifier, call.identifier);
        assert_eq!(inbound.peer.as_deref(), Some("content"));
        // Carried, not advanced: it stands in the tree, not in the timeline.
        assert_eq!(received[0].opening.session, history[0].opening.session);
        assert_eq!(received[0].opening.counter, None);
    }
}

#[tokio::test]
async fn entries_hold_what_was_asked_and_answered() {
    let mut shop = Shop::open().await;
    shop.order(2, "jersey", 1).await;
    let order = shop.history(2).await[0].to_json();
    assert_eq!(order["service"], "content");
    assert_eq!(
        order["request"]["body"],
        json!({ "item": "jersey", "quantity": 1 })
    );
    assert_eq!(order["response"]["body"]["order"]["item"], "jersey");
    assert_eq!(order["status"], 201);
    assert_eq!(order["outcome"], "ok");
}

#[tokio::test]
async fn content_ordered_for_broadcast_is_several_actions() {
    let mut shop = Shop::open().await;
    let (status, accepted) = shop
        .ask(1, "POST", "/broadcast", r#"{"content":"the goal"}"#)
        .await;
    assert_eq!(
        (status, &accepted["scheduled"]["content"]),
        (202, &json!("the goal"))
    );
    let history = shop.history(3).await;
    let actions: Vec<&str> = history.iter().map(|entry| &*entry.opening.action).collect();
    assert_eq!(
        actions[..3],
        ["POST /broadcast", "accept content", "broadcast content"]
    );
    let counters: Vec<_> = history.iter().map(|entry| entry.opening.counter).collect();
    assert!(counters.windows(2).all(|two| two[0] < two[1]));
    for server in 1..=3 {
        let (_, channel) = shop.ask(server, "GET", "/channel", "").await;
        assert_eq!(channel["now"]["content"], "the goal");
        assert_eq!(channel["schedule"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_channel_counts_the_votes_that_its_server_knows() {
    let mut shop = Shop::open().await;
    for (server, choice) in [(1, "red"), (2, "red"), (3, "blue"), (1, "blue")] {
        let body = json!({ "choice": choice }).to_string();
        assert_eq!(shop.ask(server, "POST", "/vote", &body).await.0, 200);
    }
    for server in 1..=3 {
        let (status, channel) = shop.ask(server, "GET", "/channel", "").await;
        assert_eq!(status, 200);
        assert_eq!(channel["votes"], json!({ "blue": 2, "red": 2 }));
        assert_eq!(channel["items"][0]["id"], "umbrella");
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_with_a_sentence() {
    let mut shop = Shop::open().await;
    for (path, body, status, part) in [
        ("/orders", "", 400, "JSON"),
        ("/orders", "{\"item\":", 400, "JSON"),
        ("/orders", "[]", 400, "JSON"),
        (
            "/orders",
            r#"{"item":"kettle","quantity":0}"#,
            400,
            "1 to 100",
        ),
        (
            "/orders",
            r#"{"item":"kettle","quantity":101}"#,
            400,
            "1 to 100",
        ),
        ("/orders", r#"{"item":"kettle","quantity":-1}"#, 400, "JSON"),
        ("/orders", r#"{"item":"../charges"}"#, 404, "no item"),
        ("/orders", r#"{"item":"-spoon"}"#, 404, "spoon"),
        (
            "/orders",
            r#"{"item":"jersey","quantity":100}"#,
            402,
            "limit",
        ),
        ("/vote", r#"{"choice":""}"#, 400, "1 to 64"),
        ("/broadcast", r#"{"content":" "}"#, 400, "1 to 64"),
        ("/nowhere", "{}", 404, "nothing here"),
    ] {
        let (answered, said) = shop.ask(1, "POST", path, body).await;
        assert_eq!(answered, status, "{path} {body}: {said}");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{path} {body}: {message}");
    }
    let long = format!("{{\"item\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(shop.ask(1, "POST", "/orders", &long).await.0, 413);
    assert_eq!(
        shop.ask(1, "GET", "/orders", "").await.1["orders"],
        json!([])
    );
}

#[tokio::test]
async fn a_refused_payment_gives_the_stock_its_items_back() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.order(1, "jersey", 100).await.0, 402);
    assert_eq!(shop.reserve("jersey", 1_000_000).await, 201);
}

#[tokio::test]
async fn what_the_catalogue_does_not_list_is_made_to_order() {
    let mut shop = Shop::open().await;
    let (status, placed) = shop.order(1, "A book 2", 3).await;
    assert_eq!(status, 201, "{placed}");
    assert_eq!(placed["order"]["item"], "A book 2");
    assert_eq!(placed["order"]["total_cents"], 1_500);
}

#[tokio::test]
async fn what_is_not_in_stock_is_not_sold() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.reserve("signed-ball", 9_997).await, 201);
    let (status, said) = shop.order(1, "signed-ball", 4).await;
    assert_eq!(
        (status, &said["error"]["code"]),
        (409, &json!("out_of_stock"))
    );
    assert_eq!(shop.order(1, "signed-ball", 3).await.0, 201);
}

#[tokio::test]
async fn without_a_service_an_order_fails_and_the_server_goes_on() {
    let mut shop = Shop::open().await;
    let (catalogue, _) = shop.services.remove(0);
    catalogue.stop().await;
    let (status, said) = shop.order(1, "kettle", 1).await;
    assert_eq!(status, 502, "{said}");
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("catalogue")
    );
    assert_eq!(
        shop.ask(1, "POST", "/vote", r#"{"choice":"red"}"#).await.0,
        200
    );
}

#[tokio::test]
async fn the_page_is_served_with_a_policy_that_fits_it() {
    let shop = Shop::open().await;
    let url = format!("http://{}/", shop.contents[0].0.address());
    let answer = shop.http.get(url).send().await.unwrap();
    assert_eq!(answer.headers()["server"], "content-1");
    assert!(answer.headers().contains_key("content-security-policy"));
    let page = answer.text().await.unwrap();
    assert!(page.contains("<title>The interactive-TV shop</title>"));
}
