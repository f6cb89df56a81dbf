//! Systems that are not ours, between servers that are (D15): one that ignores identifiers, one
//! that copies them, those that speak only W3C Trace Context or B3, proxies.
//!
//! Every hop is a process: Selvedge's roles, a small program in Python for the strangers, HAProxy.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use selvedge_system_tests::{Query, Server, root, selvedge};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fabric::{Viewer, node};

/// A gateway with the hub and the repository, and services behind it.
pub(crate) struct Fleet {
    pub(crate) folder: TempDir,
    gateway: Server,
}

/// A program that is not ours. Dropped, it is killed.
pub(crate) struct Stranger {
    child: Child,
    pub(crate) address: String,
}

/// One behind its sidecar.
pub(crate) struct Service {
    _program: Stranger,
    sidecar: Server,
}

impl Stranger {
    /// The program in Python that speaks this.
    pub(crate) fn speaking(what: &str) -> Self {
        let mut python = Command::new("python3");
        python.arg(root().join("system-tests/scripts/external.py"));
        python.args(["--speaks", what]).stdout(Stdio::piped());
        let mut child = python.spawn().expect("python3 runs");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("readable");
        let address = line.trim().strip_prefix("listening on ");
        let address = address.expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    /// A hop of a plan that calls it directly.
    pub(crate) fn hop(&self) -> Value {
        json!({"to": self.sidecar.url("sidecar")})
    }

    /// A hop that the service `from` makes through its egress.
    pub(crate) fn hop_from(&self, from: &Self) -> Value {
        json!({"to": self.sidecar.url("sidecar"), "via": from.sidecar.address("egress")})
    }

    /// A hop to a stranger that the service makes through its egress.
    fn to(&self, stranger: &Stranger) -> Value {
        let to = format!("http://{}", stranger.address);
        json!({"to": to, "via": self.sidecar.address("egress")})
    }
}

impl Fleet {
    /// With this configuration for all of its processes.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("selvedge.toml");
        std::fs::write(&file, config).expect("written");
        let mut command = selvedge(&["gateway", "--repository"]);
        for flag in ["--listen", "--bus-listen", "--admin-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.arg("--data").arg(folder.path());
        command.arg("--config").arg(&file);
        let gateway = Server::start(command, folder.path());
        Self { folder, gateway }
    }

    /// A sidecar before this address.
    fn sidecar(&self, service: &str, address: &str) -> Server {
        let bus = self.gateway.address("bus");
        let mut command = selvedge(&["sidecar", "--name", service, "--service", service]);
        command.args(["--bus", bus, "--upstream", &format!("http://{address}")]);
        command.arg("--data").arg(self.folder.path());
        command
            .arg("--config")
            .arg(self.folder.path().join("selvedge.toml"));
        Server::start(command, self.folder.path())
    }

    /// A service that speaks this, behind a sidecar.
    pub(crate) fn service(&self, service: &str, speaks: &str) -> Service {
        let program = Stranger::speaking(speaks);
        Service {
            sidecar: self.sidecar(service, &program.address),
            _program: program,
        }
    }

    /// The gateway sends everything to this address from now on.
    pub(crate) fn behind_the_gateway(&self, url: &str) {
        let file = self.folder.path().join("selvedge.toml");
        let mut config = std::fs::read_to_string(&file).expect("readable");
        config += &format!("[[gateway.upstreams]]\nname = \"front\"\nurl = \"{url}\"\n");
        std::fs::write(&file, config).expect("written");
        self.gateway.signal("HUP");
        self.gateway.wait_for("has 1 servers");
    }

    /// A viewer's request, with this plan for what is called one after the other; the answer and
    /// the request's origin.
    pub(crate) async fn ask(&self, plan: &[Value]) -> (Value, String) {
        let mut viewer = Viewer::at(self.gateway.url("gateway"));
        let plan = json!(plan).to_string();
        let plan: String = plan.bytes().map(|b| format!("%{b:02x}")).collect();
        let (answer, _) = viewer.get(&format!("/?plan={plan}")).await;
        assert_eq!(answer.status(), 200);
        let said: Value = answer.json().await.expect("JSON");
        let timeline = self.query().timeline(&viewer.session(), 1).await;
        let origin = timeline["entries"][0]["origin"].as_str();
        (said, origin.expect("an origin").to_owned())
    }

    pub(crate) fn query(&self) -> Query {
        Query::new(self.gateway.url("admin"))
    }
}

/// Asserts that the services are a chain in the tree, each the caller of the next, all observed.
pub(crate) fn assert_chain(tree: &Value, services: &[&str]) {
    assert_eq!(tree["complete"], true, "{tree:#}");
    let nodes = tree["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), services.len(), "{tree:#}");
    let mut parent = &Value::Null;
    for (depth, service) in services.iter().enumerate() {
        let node = node(tree, service);
        assert_eq!(&node["parent"], parent, "{service} in {tree:#}");
        assert_eq!(node["depth"], depth, "{service} in {tree:#}");
        assert_eq!(node["evidence"], "observed", "{service} in {tree:#}");
        parent = &node["id"];
    }
}

#[tokio::test]
async fn a_system_that_ignores_identifiers_is_invisible_and_its_calls_back_are_new_roots() {
    let fleet = Fleet::start("");
    let (front, back) = (
        fleet.service("front", "native"),
        fleet.service("back", "native"),
    );
    fleet.behind_the_gateway(&front.sidecar.url("sidecar"));
    let stranger = Stranger::speaking("nothing");

    let (said, origin) = fleet.ask(&[front.to(&stranger), back.hop()]).await;
    let received = &said["next"]["next"]["received"];
    let of_back = received["traceparent"].as_str().expect("a traceparent");
    let of_back = &of_back[3..35];
    assert_ne!(of_back, origin);

    // What the front knows of the stranger is its own side of the call.
    let path = format!("/api/v1/requests/{origin}");
    let tree = fleet
        .query()
        .until(&path, |tree| {
            let nodes = tree["nodes"].as_array();
            nodes.is_some_and(|nodes| {
                nodes.len() == 3 && nodes.iter().all(|node| node["duration"].is_number())
            })
        })
        .await;
    let nodes = tree["nodes"].as_array().expect("nodes");
    assert!(
        nodes.iter().all(|node| node["service"] != "back"),
        "{tree:#}"
    );
    let front = node(&tree, "front");
    let called = nodes.iter().find(|node| node["parent"] == front["id"]);
    let called = called.expect("the call to the stranger");
    assert_eq!(called["evidence"], "one-sided", "{tree:#}");

    let tree = fleet.query().tree(of_back, 1).await;
    assert_chain(&tree, &["back"]);
}

#[tokio::test]
async fn a_system_that_copies_the_identifier_joins_the_tree() {
    let fleet = Fleet::start("");
    let (front, back) = (
        fleet.service("front", "native"),
        fleet.service("back", "native"),
    );
    fleet.behind_the_gateway(&front.sidecar.url("sidecar"));
    let stranger = Stranger::speaking("copy");
    let (_, origin) = fleet.ask(&[front.to(&stranger), back.hop()]).await;
    let tree = fleet.query().tree(&origin, 3).await;
    // It says that it is the call to the stranger, whose only log it is.
    assert_chain(&tree, &["gateway", "front", "back"]);
}

#[tokio::test]
async fn a_service_that_speaks_only_w3c_joins_through_its_sidecar() {
    let fleet = Fleet::start("");
    let front = fleet.service("front", "native");
    let (middle, back) = (
        fleet.service("middle", "w3c"),
        fleet.service("back", "native"),
    );
    fleet.behind_the_gateway(&front.sidecar.url("sidecar"));
    let plan = [middle.hop_from(&front), back.hop_from(&middle)];
    let (said, origin) = fleet.ask(&plan).await;
    let tree = fleet.query().tree(&origin, 4).await;
    assert_chain(&tree, &["gateway", "front", "middle", "back"]);
    // The span that it made names the call everywhere.
    let received = &said["next"]["next"]["received"];
    let parent = received["traceparent"].as_str().expect("a traceparent");
    assert_eq!(node(&tree, "back")["id"], parent[36..52], "{tree:#}");
}

#[tokio::test]
async fn a_w3c_tracer_without_a_sidecar_is_bridged_by_the_stack_it_passed_on() {
    let fleet = Fleet::start("");
    let (front, back) = (
        fleet.service("front", "native"),
        fleet.service("back", "native"),
    );
    fleet.behind_the_gateway(&front.sidecar.url("sidecar"));
    let stranger = Stranger::speaking("w3c");
    let (_, origin) = fleet.ask(&[front.to(&stranger), back.hop()]).await;
    let path = format!("/api/v1/requests/{origin}");
    let tree = fleet
        .query()
        .until(&path, |tree| {
            let nodes = tree["nodes"].as_array();
            nodes.is_some_and(|nodes| {
                let ended = |node: &&Value| node["duration"].is_number();
                nodes.iter().filter(ended).count() == 4
            })
        })
        .await;
    let back = node(&tree, "back");
    let nodes = tree["nodes"].as_array().expect("nodes");
    let stranger = nodes.iter().find(|node| node["id"] == back["parent"]);
    let stranger = stranger.expect("the call to the stranger");
    assert_eq!(stranger["evidence"], "one-sided", "{tree:#}");
    assert_eq!(stranger["parent"], node(&tree, "front")["id"], "{tree:#}");
    assert_eq!(back["depth"], 3, "{tree:#}");
    let flags = tree["flags"].as_array().expect("flags");
    assert!(flags.contains(&json!("ignored_hop")), "{tree:#}");
}

#[tokio::test]
async fn services_that_speak_only_b3_join_through_their_sidecars() {
    let fleet = Fleet::start(
        "[identifier.services.single]\nwrap = [\"b3\"]\n\
         [identifier.services.several]\nwrap = [\"b3-multi\"]\n",
    );
    let front = fleet.service("front", "native");
    let single = fleet.service("single", "b3");
    let several = fleet.service("several", "b3-multi");
    let back = fleet.service("back", "native");
    fleet.behind_the_gateway(&front.sidecar.url("sidecar"));
    let plan = [
        single.hop_from(&front),
        several.hop_from(&single),
        back.hop_from(&several),
    ];
    let (said, origin) = fleet.ask(&plan).await;
    let tree = fleet.query().tree(&origin, 5).await;
    assert_chain(&tree, &["gateway", "front", "single", "several", "back"]);
    let received = &said["next"]["next"]["received"];
    assert_eq!(received["x-b3-traceid"], json!(origin), "{said:#}");
    assert_eq!(
        node(&tree, "several")["id"],
        received["x-b3-spanid"],
        "{tree:#}"
    );
}

/// HAProxy before an address, with more lines for its `backend`. Its configuration lies in the
/// fleet's folder.
fn haproxy(fleet: &Fleet, address: &str, more: &str) -> Stranger {
    let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"];
    let program = program
        .iter()
        .find(|path| std::fs::exists(path).unwrap_or(false));
    let program =
        program.expect("no haproxy: `cargo xtask test` installs it (or `apt-get install haproxy`)");
    // A port that was free a moment ago, of an address of this process's own.
    let pid = std::process::id();
    let own = format!(
        "127.{}.{}.{}:0",
        1 + pid % 250,
        (pid / 250) % 250,
        1 + address.len()
    );
    let listen = std::net::TcpListener::bind(&own)
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let config = format!(
        "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 20s\n  \
         timeout server 20s\nfrontend in\n  bind {listen}\n  default_backend out\n\
         backend out\n{more}  server one {address}\n"
    );
    let file = fleet.folder.path().join(format!("haproxy-{listen}.cfg"));
    std::fs::write(&file, config).expect("written");
    let child = Command::new(program)
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .spawn()
        .expect("haproxy runs");
    let proxy = Stranger {
        child,
        address: listen.to_string(),
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::net::TcpStream::connect(listen).is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "haproxy does not listen"
        );
        std::thread::yield_now();
    }
    proxy
}

#[tokio::test]
async fn a_transparent_proxy_before_a_service_leaves_the_tree_as_it_is() {
    let fleet = Fleet::start("");
    let (front, back) = (
        fleet.service("front", "native"),
        fleet.service("back", "native"),
    );
    let proxy = haproxy(&fleet, front.sidecar.address("sidecar"), "");
    fleet.behind_the_gateway(&format!("http://{}", proxy.address));
    let (_, origin) = fleet.ask(&[back.hop_from(&front)]).await;
    let tree = fleet.query().tree(&origin, 3).await;
    assert_chain(&tree, &["gateway", "front", "back"]);
}

#[tokio::test]
async fn a_proxy_with_a_sidecar_takes_part_as_a_node() {
    let fleet = Fleet::start("");
    let (front, back) = (
        fleet.service("front", "native"),
        fleet.service("back", "native"),
    );
    // Its sidecar stands before it and takes its calls; it copies all headers, as proxies do. The
    // sidecar's egress is known only once it runs, and the sidecar wants the proxy's address: so
    // the proxy first stands before an address that its sidecar then takes.
    let pid = std::process::id();
    let egress = format!("127.{}.{}.250:7610", 1 + pid % 250, (pid / 250) % 250);
    let more = format!(
        "  http-request set-header selvedge-target {}\n",
        front.sidecar.url("sidecar")
    );
    let proxy = haproxy(&fleet, &egress, &more);
    let file = fleet.folder.path().join("proxy.toml");
    let config = format!(
        "[sidecar]\nupstream = \"http://{}\"\nlisten = \"127.0.0.1:0\"\negress = \"{egress}\"\n",
        proxy.address
    );
    std::fs::write(&file, config).expect("written");
    let bus = fleet.gateway.address("bus");
    let mut command = selvedge(&["sidecar", "--name", "proxy", "--service", "proxy"]);
    command.args(["--bus", bus, "--config"]).arg(&file);
    command.arg("--data").arg(fleet.folder.path());
    let sidecar = Server::start(command, fleet.folder.path());
    fleet.behind_the_gateway(&sidecar.url("sidecar"));
    let (_, origin) = fleet.ask(&[back.hop_from(&front)]).await;
    let tree = fleet.query().tree(&origin, 4).await;
    assert_chain(&tree, &["gateway", "proxy", "front", "back"]);
}
