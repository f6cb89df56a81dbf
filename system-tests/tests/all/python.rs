//! A content server in Python's standard library behind a sidecar process of its own: any language
//! works.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use selvedge_system_tests::{Query, Server, selvedge};
use serde_json::{Value, json};

use crate::fabric::{Viewer, node};

/// The program, and where it listens.
struct Python {
    child: Child,
    address: String,
}

impl Python {
    fn start(egress: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python/shop.py");
        let mut python = Command::new("python3");
        python.args([script, "--listen", "127.0.0.1:0", "--egress", egress]);
        let mut child = python.stdout(Stdio::piped()).spawn().expect("python3 runs");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("readable");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("an address");
        Self {
            address: address.to_owned(),
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

#[tokio::test]
async fn an_order_through_the_python_server_makes_the_same_tree() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |mut command: Command| {
        command.arg("--data").arg(folder.path());
        Server::start(command, folder.path())
    };
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, "").expect("written");
    let mut gateway = selvedge(&["gateway", "--repository", "--listen", "127.0.0.1:0"]);
    gateway.args([
        "--bus-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    gateway.arg("--config").arg(&config);
    let gateway = start(gateway);
    let bus = gateway.address("bus").to_owned();
    let names = ["catalogue", "payment", "stock"];
    let services = names.map(|name| {
        let args = ["content", "--service", name, "--name", name, "--bus", &bus];
        start(selvedge(&args))
    });

    // The sidecar needs the program's address and the program the sidecar's: all of 127/8 is this
    // host, and this address is this process's own.
    let pid = std::process::id();
    let egress = format!("127.{}.{}.9:7610", 1 + pid % 250, (pid / 250) % 250);
    let python = Python::start(&egress);
    let mut text = format!(
        "[sidecar]\nupstream = \"http://{}\"\nlisten = \"127.0.0.1:0\"\negress = \"{egress}\"\n[sidecar.routes]\n",
        python.address
    );
    for (name, server) in names.iter().zip(&services) {
        text += &format!("{name} = \"{}\"\n", server.url(name));
    }
    let sidecar_config = folder.path().join("sidecar.toml");
    std::fs::write(&sidecar_config, text).expect("written");
    let mut sidecar = selvedge(&["sidecar", "--name", "python-1", "--bus", &bus]);
    sidecar.args([
        "--service",
        "content",
        "--service-version",
        "3",
        "--keep-json",
    ]);
    sidecar.arg("--config").arg(&sidecar_config);
    let sidecar = start(sidecar);
    let upstream = format!(
        "[[gateway.upstreams]]\nurl = \"{}\"\n",
        sidecar.url("sidecar")
    );
    std::fs::write(&config, upstream).expect("written");
    gateway.signal("HUP");
    gateway.wait_for("has 1 servers");

    let mut viewer = Viewer::at(gateway.url("gateway"));
    let (answer, _) = viewer
        .post("/orders", &json!({"item": "kettle", "quantity": 1}))
        .await;
    assert_eq!(answer.status(), 201);
    let (answer, _) = viewer.get("/orders").await;
    let orders: Value = answer.json().await.expect("JSON");
    assert_eq!(
        orders["orders"].as_array().map(Vec::len),
        Some(1),
        "{orders}"
    );

    let query = Query::new(gateway.url("admin"));
    let timeline = query.timeline(&viewer.session(), 2).await;
    let action = &timeline["entries"][0];
    assert_eq!(
        (&action["server"], &action["version"]),
        (&json!("python-1"), &json!("3"))
    );
    assert_eq!(action["request"]["body"]["item"], "kettle");
    let tree = query
        .tree(action["origin"].as_str().expect("an origin"), 5)
        .await;
    assert_eq!(tree["complete"], true, "{tree:#}");
    let content = node(&tree, "content");
    assert_eq!(content["parent"], node(&tree, "gateway")["id"]);
    for service in names {
        assert_eq!(node(&tree, service)["parent"], content["id"]);
        assert!(node(&tree, service)["latency_in"].is_i64());
    }
}
