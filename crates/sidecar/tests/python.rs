//! The Python content server behind a sidecar, in one fleet with a Rust content server: any
//! language works, and a visit may go to and fro between them.

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use common::{Fleet, LOOPBACK, options};
use selvedge_example_shop::{Services, ShopOptions};
use selvedge_node::Node;
use selvedge_sidecar::{RunningSidecar, Sidecar};
use serde_json::{Value, json};

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An egress address that nobody else has. The sidecar needs the address of the application and
/// the application that of the sidecar, so one must be known before: all of 127/8 is this host.
fn own_egress() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, high, low, last], 7610))
}

/// Starts examples/python/shop.py; returns where it listens.
fn python(egress: SocketAddr) -> Option<(Python, SocketAddr)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python/shop.py");
    let child = Command::new("python3")
        .args([
            script,
            "--listen",
            "127.0.0.1:0",
            "--egress",
            &egress.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => Python(child),
        Err(error) => {
            eprintln!("skipped: python3 does not start: {error}");
            return None;
        }
    };
    let mut line = String::new();
    let stdout = child.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    Some((child, address.parse().unwrap()))
}

struct Shop {
    fleet: Fleet,
    rust: SocketAddr,
    sidecar: RunningSidecar,
    node: Node,
    _python: Python,
}

async fn open() -> Option<Shop> {
    let fleet = Fleet::new();
    let start = |name: &'static str| fleet.node(name, name.split('-').next().unwrap());
    let catalogue = start("catalogue-1").await;
    let catalogue = selvedge_example_shop::start_catalogue(LOOPBACK, catalogue).await;
    let payment = start("payment-1").await;
    let payment = selvedge_example_shop::start_payment(LOOPBACK, payment).await;
    let stock = start("stock-1").await;
    let stock = selvedge_example_shop::start_stock(LOOPBACK, stock).await;
    let services = Services {
        catalogue: format!("http://{}", catalogue.unwrap().address()),
        payment: format!("http://{}", payment.unwrap().address()),
        stock: format!("http://{}", stock.unwrap().address()),
    };
    let egress = own_egress();
    let (python, application) = python(egress)?;
    let mut options = options(application);
    options.egress = egress;
    options.routes = [
        ("catalogue".to_owned(), services.catalogue.clone()),
        ("payment".to_owned(), services.payment.clone()),
        ("stock".to_owned(), services.stock.clone()),
    ]
    .into();
    let shop = ShopOptions {
        listen: LOOPBACK,
        services,
        slow: None,
    };
    let rust = start("content-1").await;
    let rust = selvedge_example_shop::start_content(shop, rust)
        .await
        .unwrap();
    let node = start("content-python").await;
    let sidecar = Sidecar::start(options, node.clone()).await.unwrap();
    Some(Shop {
        fleet,
        rust: rust.address(),
        sidecar,
        node,
        _python: python,
    })
}

fn ids(listed: &Value) -> Vec<&str> {
    let orders = listed["orders"].as_array().unwrap();
    orders
        .iter()
        .map(|order| order["id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_goes_to_and_fro_between_python_and_rust() {
    let Some(mut shop) = open().await else { return };
    let (python, rust) = (shop.sidecar.inbound_addr(), shop.rust);
    let fleet = &mut shop.fleet;
    let order = json!({ "item": "kettle", "quantity": 2 });
    let (status, first) = fleet.ask(python, "/orders", Some(&order)).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(first["server"], "content-python");
    assert_eq!(first["order"]["total_cents"], 6_900);
    let (status, second) = fleet.ask(rust, "/orders", Some(&order)).await;
    assert_eq!(status, 201, "{second}");
    for server in [python, rust] {
        let (_, listed) = fleet.ask(server, "/orders", None).await;
        let placed = [&first, &second].map(|order| order["order"]["id"].as_str().unwrap());
        assert_eq!(ids(&listed), placed, "{listed}");
    }
    let (status, channel) = fleet.ask(python, "/channel", None).await;
    assert_eq!(
        (status, &channel["items"][0]["id"]),
        (200, &json!("umbrella"))
    );
    let content = json!({ "content": "the goal" });
    assert_eq!(fleet.ask(python, "/broadcast", Some(&content)).await.0, 202);
    let (_, page) = fleet.ask(python, "/", None).await;
    assert!(page.as_str().unwrap().contains("in Python"));

    let entries = fleet.journal(&shop.node).await;
    let actions: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.opening.counter.is_some())
        .map(|entry| &*entry.opening.action)
        .collect();
    assert_eq!(
        actions,
        [
            "POST /orders",
            "GET /orders",
            "GET /channel",
            "POST /broadcast",
            "accept content",
            "broadcast content",
            "GET /"
        ]
    );
    let origin = entries[0]
        .opening
        .call
        .as_ref()
        .unwrap()
        .identifier
        .origin();
    let peers: Vec<&str> = entries[1..]
        .iter()
        .filter_map(|entry| entry.opening.call.as_ref())
        .filter(|call| call.identifier.origin() == origin)
        .filter_map(|call| call.peer.as_deref())
        .collect();
    assert_eq!(peers, ["catalogue", "stock", "payment"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_filled_by_python_and_by_rust() {
    let Some(mut shop) = open().await else { return };
    let (python, rust) = (shop.sidecar.inbound_addr(), shop.rust);
    for (server, item) in [(python, "kettle"), (rust, "jersey"), (python, "umbrella")] {
        let line = json!({ "item": item, "quantity": 2 });
        let (status, said) = shop.fleet.ask(server, "/cart", Some(&line)).await;
        assert_eq!(status, 200, "{said}");
    }
    for server in [python, rust] {
        let (_, said) = shop.fleet.ask(server, "/cart", None).await;
        let all = json!({ "kettle": 2, "jersey": 2, "umbrella": 2 });
        assert_eq!(said["cart"], all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_server_refuses_with_a_sentence() {
    let Some(mut shop) = open().await else { return };
    let python = shop.sidecar.inbound_addr();
    for (path, body, status) in [
        ("/orders", json!([]), 400),
        ("/orders", json!({ "item": "kettle", "quantity": 0 }), 400),
        (
            "/orders",
            json!({ "item": "kettle", "quantity": true }),
            400,
        ),
        ("/orders", json!({ "item": "-spoon" }), 404),
        ("/orders", json!({ "item": "jersey", "quantity": 100 }), 402),
        ("/vote", json!({ "choice": "" }), 400),
        ("/orders", json!({ "item": "x".repeat(20_000) }), 413),
        ("/nowhere", json!({}), 404),
    ] {
        let (answered, said) = shop.fleet.ask(python, path, Some(&body)).await;
        assert_eq!(answered, status, "{path} {said}");
        assert!(said["error"]["message"].is_string(), "{path} {said}");
    }
    assert_eq!(
        shop.fleet
            .ask(python, "/vote", Some(&json!({ "choice": "red" })))
            .await
            .0,
        200
    );
}
