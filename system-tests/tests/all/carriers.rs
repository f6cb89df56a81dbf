//! One request over each carrier, between real processes (D5): whatever the identifier rode in,
//! the repository's tree has the call with both its sides, in its place.

mod applications;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use selvedge_nats::Nats;
use selvedge_system_tests::{Query, Server, example, selvedge};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fabric::node;

/// A gateway with the hub and the repository, for example services to join.
struct Fleet {
    gateway: Server,
    folder: TempDir,
}

impl Fleet {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = selvedge(&["gateway", "--repository"]);
        for flag in ["--listen", "--bus-listen", "--admin-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.arg("--data").arg(folder.path());
        Self {
            gateway: Server::start(command, folder.path()),
            folder,
        }
    }

    /// A process of the example, in this role and with more arguments.
    fn role(&self, role: &str, name: &str, more: &[&str]) -> Server {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| example("selvedge-example-carriers", "carriers"));
        let mut command = Command::new(program);
        command.args([role, "--name", name, "--bus", self.gateway.address("bus")]);
        command.arg("--data").arg(self.folder.path()).args(more);
        Server::start(command, self.folder.path())
    }

    fn query(&self) -> Query {
        Query::new(self.gateway.url("admin"))
    }

    /// The tree of a request, once it is as wanted.
    async fn tree(&self, origin: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/requests/{origin}");
        self.query().until(&path, wanted).await
    }
}

/// Places an order at the desk, over this carrier; the answer's status and the request's origin.
async fn order(desk: &Server, carrier: &str, item: &str) -> (u16, String, Value) {
    let url = format!("{}/{carrier}/{item}", desk.url("desk"));
    let answer = reqwest::Client::new().post(url).send().await;
    let answer = answer.expect("an answer");
    let status = answer.status().as_u16();
    let said: Value = answer.json().await.expect("JSON");
    let origin = said["origin"].as_str().expect("an origin").to_owned();
    (status, origin, said)
}

/// The only call of the desk, to this service: seen by both sides, one deeper than its root.
async fn called(fleet: &Fleet, origin: &str, service: &str) -> Value {
    let tree = fleet.query().tree(origin, 2).await;
    assert_eq!(tree["complete"], true, "{tree:#}");
    assert_eq!(tree["nodes"].as_array().map(Vec::len), Some(2), "{tree:#}");
    let (desk, callee) = (node(&tree, "desk"), node(&tree, service));
    assert_eq!((&desk["parent"], &desk["depth"]), (&Value::Null, &json!(0)));
    assert_eq!(callee["parent"], desk["id"], "{tree:#}");
    assert_eq!(
        (&callee["depth"], &callee["evidence"]),
        (&json!(1), &json!("observed"))
    );
    assert!(callee["latency_in"].is_i64(), "{callee:#}");
    callee.clone()
}

#[tokio::test]
async fn grpc_calls_stand_in_the_tree_with_the_outcome_of_their_trailers() {
    let fleet = Fleet::start();
    let prices = fleet.role("prices", "prices-1", &[]);
    let desk = fleet.role("desk", "desk-1", &["--grpc", &prices.url("grpc")]);

    let (status, origin, _) = order(&desk, "grpc", "kettle").await;
    assert_eq!(status, 200);
    let price = called(&fleet, &origin, "prices").await;
    assert_eq!(price["operation"], "shop.Prices/Price");
    assert_eq!(
        (&price["outcome"], &price["status"]),
        (&json!("ok"), &json!(200))
    );

    let (_, origin, said) = order(&desk, "watch", "kettle").await;
    assert_eq!(said["said"], json!([600, 601, 602]));
    let watched = called(&fleet, &origin, "prices").await;
    assert_eq!(watched["operation"], "shop.Prices/Watch");
    assert_eq!(watched["outcome"], "ok");

    // The HTTP status of each of these is 200.
    for (carrier, item, outcome, status, error) in [
        ("grpc", "unknown", "refused", 404, Value::Null),
        (
            "grpc",
            "broken",
            "error",
            500,
            json!("INTERNAL: the price list is torn"),
        ),
        (
            "watch",
            "brittle",
            "error",
            500,
            json!("DATA_LOSS: the price list broke off"),
        ),
    ] {
        let (_, origin, said) = order(&desk, carrier, item).await;
        let failed = called(&fleet, &origin, "prices").await;
        assert_eq!(failed["outcome"], outcome, "{item} {said}");
        assert_eq!(
            (&failed["status"], &failed["error"]),
            (&json!(status), &error)
        );
    }
}

/// As the guide says: the gateway speaks HTTP/1.1 to the servers behind it.
#[tokio::test]
async fn grpc_through_the_gateway_fails_at_once_and_says_so_in_the_tree() {
    let fleet = Fleet::start();
    let prices = fleet.role("prices", "prices-1", &[]);
    let other = tempfile::tempdir().expect("a folder");
    let mut command = selvedge(&["gateway", "--upstream", &prices.url("grpc")]);
    for flag in ["--listen", "--bus-listen", "--admin-listen"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.arg("--data").arg(other.path());
    let gateway = Server::start(command, other.path());
    let desk = fleet.role("desk", "desk-1", &["--grpc", &gateway.url("gateway")]);
    let (status, origin, said) = order(&desk, "grpc", "kettle").await;
    assert_eq!(status, 502, "{said}");
    let tree = fleet.tree(&origin, |tree| {
        let called = &tree["nodes"][1];
        called["evidence"] == "one-sided" && called["outcome"] == "error"
    });
    let tree = tree.await;
    assert_eq!(node(&tree, "prices")["status"], 502, "{tree:#}");
}

#[tokio::test]
async fn http_carries_the_identifier_natively_and_as_trace_context_alone() {
    let fleet = Fleet::start();
    let prices = fleet.role("prices", "prices-1", &[]);
    let desk = fleet.role("desk", "desk-1", &["--http", &prices.url("http")]);
    for carrier in ["native", "w3c"] {
        let (status, origin, said) = order(&desk, carrier, "kettle").await;
        assert_eq!((status, &said["said"]), (200, &json!("600")), "{carrier}");
        let price = called(&fleet, &origin, "prices").await;
        assert_eq!(price["operation"], "GET /prices/kettle", "{carrier}");
    }
}

#[tokio::test]
async fn a_message_joins_the_tree_whenever_and_by_however_many_it_is_received() {
    let fleet = Fleet::start();
    let broker = Nats::start();
    let prices = fleet.role("prices", "prices-1", &[]);
    let desk = fleet.role("desk", "desk-1", &["--nats", &broker.url()]);
    let (status, origin, said) = order(&desk, "message", "kettle").await;
    assert_eq!(status, 200, "{said}");
    let sent = fleet.tree(&origin, |tree| {
        tree["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 2)
    });
    let sent = sent.await;
    assert_eq!(sent["nodes"][1]["evidence"], "one-sided", "{sent:#}");
    assert_eq!(sent["nodes"][1]["operation"], "SEND orders.new");

    // Its receivers come to be only now; one of them calls on.
    let packing = ["--nats", &broker.url(), "--grpc", &prices.url("grpc")];
    let _packing = fleet.role("consumer", "packing-1", &packing);
    let _billing = fleet.role("consumer", "billing-1", &["--nats", &broker.url()]);
    let tree = fleet.tree(&origin, |tree| {
        let nodes = tree["nodes"].as_array();
        nodes.is_some_and(|nodes| {
            nodes.len() == 3
                && nodes.iter().all(|node| node["evidence"] == "observed")
                && nodes[1]["deliveries"]
                    .as_array()
                    .is_some_and(|d| d.len() == 2)
                && nodes[1]["deliveries"]
                    .as_array()
                    .is_some_and(|d| d.iter().all(|one| one["outcome"] == "ok"))
        })
    });
    let tree = tree.await;
    assert_eq!(tree["complete"], true, "{tree:#}");
    let (desk, message) = (node(&tree, "desk"), &tree["nodes"][1]);
    assert_eq!(
        (&message["parent"], &message["depth"]),
        (&desk["id"], &json!(1))
    );
    assert_eq!(message["operation"], "RECEIVE orders.new");
    let deliveries = message["deliveries"].as_array().expect("two");
    let mut services: Vec<&str> = deliveries
        .iter()
        .filter_map(|one| one["service"].as_str())
        .collect();
    services.sort_unstable();
    assert_eq!(services, ["billing", "packing"]);
    let price = node(&tree, "prices");
    assert_eq!(
        (&price["parent"], &price["depth"]),
        (&message["id"], &json!(2))
    );
}

#[tokio::test]
async fn messages_worked_on_as_one_are_linked_and_stay_in_their_own_trees() {
    let fleet = Fleet::start();
    let broker = Nats::start();
    let desk = fleet.role("desk", "desk-1", &["--nats", &broker.url()]);
    let mut orders = Vec::new();
    for item in ["kettle", "jersey", "umbrella"] {
        orders.push(order(&desk, "message", item).await.1);
    }
    let batch = ["--nats", &broker.url(), "--batch", "3"];
    let reporter = fleet.role("consumer", "reporter-1", &batch);
    let line = reporter.wait_for("report ");
    let report = line.split_whitespace().last().expect("an origin");

    let tree = fleet.query().tree(report, 1).await;
    assert_eq!(tree["nodes"].as_array().map(Vec::len), Some(1), "{tree:#}");
    assert_eq!(tree["nodes"][0]["operation"], "RUN report");
    assert_eq!(tree["nodes"][0]["attributes"]["messages"], "3");
    let links = tree["links"].as_array().expect("links");
    let linked: Vec<&str> = links.iter().filter_map(|l| l["origin"].as_str()).collect();
    assert_eq!(linked, orders);
    for (origin, link) in orders.iter().zip(links) {
        let received = called(&fleet, origin, "reporter").await;
        assert_eq!(link["interaction"], received["id"]);
        let own = fleet.query().tree(origin, 2).await;
        assert_eq!(own["links"][0]["origin"], report);
    }
}

#[tokio::test]
async fn an_identifier_beside_its_request_meets_it_in_either_order() {
    let fleet = Fleet::start();
    let printer = fleet.role("printer", "printer-1", &[]);
    let (lines, beside) = (printer.address("lines"), printer.address("beside"));
    let desk = ["--printer", lines, "--beside", beside];
    let desk = fleet.role("desk", "desk-1", &desk);
    for carrier in ["before", "after"] {
        let (status, origin, said) = order(&desk, carrier, "kettle").await;
        // The printer took the line for this very request.
        assert_eq!(
            (status, said["said"].as_str()),
            (200, Some(&*origin)),
            "{carrier}"
        );
        let printed = called(&fleet, &origin, "printer").await;
        assert_eq!(printed["outcome"], "ok");
    }
}

#[tokio::test]
async fn an_identifier_by_reference_is_found_and_a_forgotten_one_makes_a_new_root() {
    let fleet = Fleet::start();
    let store = fleet.gateway.url("admin");
    let printer = fleet.role("printer", "printer-1", &["--references", &store]);
    let desk = [
        "--printer",
        printer.address("lines"),
        "--references",
        &store,
    ];
    let desk = fleet.role("desk", "desk-1", &desk);

    let (status, origin, said) = order(&desk, "reference", "kettle").await;
    assert_eq!((status, said["said"].as_str()), (200, Some(&*origin)));
    let stored = called(&fleet, &origin, "printer").await;
    assert_eq!(stored["operation"], "STORE kettle");

    let (status, origin, said) = order(&desk, "reference", "forgotten").await;
    assert_eq!(status, 200, "served all the same: {said}");
    let fresh = said["said"].as_str().expect("another origin");
    assert_ne!(fresh, origin);
    let tree = fleet.query().tree(fresh, 1).await;
    assert_eq!(node(&tree, "printer")["parent"], Value::Null);
}

#[tokio::test]
async fn a_soap_header_carries_the_identifier_alone() {
    let fleet = Fleet::start();
    let ledger = fleet.role("ledger", "ledger-1", &[]);
    let desk = fleet.role("desk", "desk-1", &["--ledger", &ledger.url("soap")]);
    let (status, origin, said) = order(&desk, "soap", "kettle").await;
    assert_eq!(status, 200, "{said}");
    let booked = called(&fleet, &origin, "ledger").await;
    assert_eq!(
        (&booked["operation"], &booked["outcome"]),
        (&json!("SOAP Book"), &json!("ok"))
    );
}
