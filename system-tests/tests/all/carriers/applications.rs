//! Carriers for applications in any language: all they need is their sidecar (D5).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use selvedge_system_tests::{Server, selvedge};
use serde_json::{Value, json};

use super::Fleet;
use crate::fabric::node;

/// A program in Python; dropped, it is killed.
struct Python {
    child: Child,
    address: String,
}

impl Python {
    /// Starts an example, and waits until it says where it listens.
    fn start(script: &str, args: &[&str]) -> Self {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python");
        let mut python = Command::new("python3");
        python.arg(examples.join(script)).args(args);
        let mut child = python.stdout(Stdio::piped()).spawn().expect("python3 runs");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("readable");
        let address = line.trim().strip_prefix("listening on ");
        Self {
            address: address.expect("an address").to_owned(),
            child,
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An egress address that nobody else has, as the sidecar and its program each need the other's:
/// all of 127/8 is this host.
fn own_egress() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(20);
    let pid = std::process::id();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{last}:7610", 1 + pid % 250, (pid / 250) % 250)
}

/// A sidecar before this program, with more settings.
fn sidecar(fleet: &Fleet, service: &str, upstream: &str, egress: &str, more: &str) -> Server {
    let folder = fleet.folder.path();
    let config = folder.join(format!("{service}.toml"));
    let text = format!(
        "[sidecar]\nupstream = \"http://{upstream}\"\nlisten = \"127.0.0.1:0\"\n\
         egress = \"{egress}\"\n{more}"
    );
    std::fs::write(&config, text).expect("written");
    let bus = fleet.gateway.address("bus");
    let mut command = selvedge(&["sidecar", "--name", service, "--service", service]);
    command.args(["--bus", bus, "--data"]).arg(folder);
    command.arg("--config").arg(config);
    Server::start(command, folder)
}

/// The origin of the first request of this service that the repository hears of.
async fn origin(fleet: &Fleet, service: &str, number: usize) -> Vec<String> {
    let path = format!("/api/v1/requests?service={service}");
    let query = fleet.query();
    let found = query.until(&path, |found| {
        found["requests"]
            .as_array()
            .is_some_and(|rows| rows.len() == number)
    });
    let found = found.await;
    let rows = found["requests"].as_array().expect("rows");
    rows.iter()
        .filter_map(|row| Some(row["origin"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn soap_services_need_copy_a_header_block_only() {
    let fleet = Fleet::start();
    let ledger = Python::start("soap.py", &["ledger"]);
    let soap = "[sidecar.soap]\npaths = [\"/soap/\"]\nservices = [\"ledger\"]\n";
    let behind = sidecar(&fleet, "ledger", &ledger.address, "127.0.0.1:0", soap);
    // Between the two stands what passes envelopes on and no header of HTTP's.
    let bus = Python::start("soap.py", &["bus", "--to", &behind.url("sidecar")]);
    let egress = own_egress();
    let desk = Python::start("soap.py", &["desk", "--egress", &egress]);
    let routes = format!(
        "[sidecar.routes]\nledger = \"http://{}\"\n{soap}",
        bus.address
    );
    let front = sidecar(&fleet, "desk", &desk.address, &egress, &routes);

    let envelope = "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Body>\
                    <Order xmlns=\"urn:example:shop\">kettle</Order></e:Body></e:Envelope>";
    let request = reqwest::Client::new().post(format!("{}/soap/order", front.url("sidecar")));
    let request = request.header("content-type", "application/soap+xml");
    let answer = request.body(envelope).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let said = answer.text().await.expect("text");
    assert!(said.contains("kettle") && said.contains("Booked"), "{said}");

    let origin = origin(&fleet, "desk", 1).await.remove(0);
    let tree = fleet.query().tree(&origin, 2).await;
    assert_eq!(tree["complete"], true, "{tree:#}");
    let (desk, booked) = (node(&tree, "desk"), node(&tree, "ledger"));
    assert_eq!((&desk["parent"], &desk["depth"]), (&Value::Null, &json!(0)));
    assert_eq!(
        (&booked["parent"], &booked["depth"]),
        (&desk["id"], &json!(1))
    );
    assert_eq!(booked["operation"], "POST /soap/book");
    assert_eq!(tree["nodes"].as_array().map(Vec::len), Some(2), "{tree:#}");
}

#[tokio::test]
async fn a_program_carries_identifiers_over_a_channel_of_its_own_by_asking_its_sidecar() {
    let fleet = Fleet::start();
    let egress = own_egress();
    let worker = Python::start("channel.py", &["worker", "--egress", &egress]);
    let store = format!("references = \"{}\"\n", fleet.gateway.url("admin"));
    let _behind = sidecar(&fleet, "worker", "127.0.0.1:1", &egress, &store);
    let egress = own_egress();
    let args = ["sender", "--egress", &egress, "--worker", &worker.address];
    let sender = Python::start("channel.py", &args);
    let front = sidecar(&fleet, "sender", &sender.address, &egress, &store);

    for (number, how) in ["pairs", "separate", "reference"].into_iter().enumerate() {
        let url = format!("{}/jobs/{how}", front.url("sidecar"));
        let answer = reqwest::Client::new().post(url).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{how}");
        let done: Value = answer.json().await.expect("JSON");
        let request = done["request"].as_str().expect("an identifier");
        let origins = origin(&fleet, "sender", number + 1).await;
        let origin = origins.iter().find(|origin| request.contains(&***origin));
        let origin = origin.unwrap_or_else(|| panic!("{how}: the worker's {request} is new"));
        let tree = fleet.query().tree(origin, 2).await;
        assert_eq!(tree["complete"], true, "{how} {tree:#}");
        let (sender, worker) = (node(&tree, "sender"), node(&tree, "worker"));
        assert_eq!(worker["parent"], sender["id"], "{how}");
        assert_eq!(
            (&worker["depth"], &worker["outcome"]),
            (&json!(1), &json!("ok"))
        );
        assert_eq!(worker["operation"], "QUEUE jobs");
        assert_eq!(worker["actions"][0]["operation"], "work", "{worker:#}");
    }
}
