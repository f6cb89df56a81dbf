//! The back-end network is apart from the clients' one (B2): hosts in network namespaces, what
//! passes captured on both sides, and either cut.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use selvedge_system_tests::{Server, binary, run};
use serde_json::{Value, json};

/// Prints `ready`, then each new flow that passes an interface: `address:port address:port`.
const CAPTURE: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
print("ready", flush=True)
seen = set()
while True:
    frame = s.recv(65535)
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == 0x0806:
        flow = "arp"
    elif kind == 0x86DD:
        flow = "ipv6 neighbour discovery" if frame[20] in (0, 58) else "ipv6"
    elif kind != 0x0800:
        flow = hex(kind)
    else:
        ip = frame[14:]
        head = (ip[0] & 15) * 4
        ports = struct.unpack("!HH", ip[head:head + 4]) if ip[9] in (6, 17) else (0, 0)
        flow = "%s:%d %s:%d" % (socket.inet_ntoa(ip[12:16]), ports[0], socket.inet_ntoa(ip[16:20]), ports[1])
    if flow not in seen:
        seen.add(flow)
        print(flow, flush=True)
"#;

/// Namespaces with links between them, removed at the end.
pub(crate) struct Hosts {
    pub(crate) names: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(names: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let pid = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let names = names.iter();
        let names = names.map(|name| format!("selvedge-{pid}-{count}-{name}"));
        let hosts = Self {
            names: names.collect(),
        };
        for name in &hosts.names {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        hosts
    }

    /// Links two hosts; returns the interfaces' names.
    pub(crate) fn link(&self, a: (usize, &str), b: (usize, &str), number: u32) {
        let (left, right) = (format!("sv{number}a"), format!("sv{number}b"));
        let (na, nb) = (&self.names[a.0], &self.names[b.0]);
        let peer = ["type", "veth", "peer", "name", &right, "netns", nb];
        let mut args = vec!["link", "add", &left, "netns", na];
        args.extend(peer);
        ip(&args);
        for (host, link, address) in [(na, &left, a.1), (nb, &right, b.1)] {
            ip(&[
                "-n",
                host,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                link,
            ]);
            ip(&["-n", host, "link", "set", link, "up"]);
        }
    }

    /// Cuts a link at one of its ends, or mends it.
    fn set(&self, host: usize, interface: &str, to: &str) {
        ip(&["-n", &self.names[host], "link", "set", interface, to]);
    }

    /// A command that runs on a host.
    pub(crate) fn on(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[host], program]);
        command
    }

    fn capture(&self, host: usize, interface: &str) -> Capture {
        let mut command = self.on(host, "python3");
        command
            .args(["-c", CAPTURE, interface])
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("python runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut ready = String::new();
        out.read_line(&mut ready).expect("readable");
        assert_eq!(ready, "ready\n");
        Capture { child, out }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

pub(crate) fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().expect("ip runs");
    assert!(status.success(), "ip {args:?}: {status}");
}

struct Capture {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Capture {
    /// The flows that passed.
    fn flows(mut self) -> Vec<String> {
        self.child.kill().expect("it ran");
        let _ = self.child.wait();
        self.out.lines().map_while(Result::ok).collect()
    }
}

const CLIENT: usize = 0;
const GATEWAY: usize = 1;
const SERVER: usize = 2;

/// Whether there can be namespaces.
fn is_root() -> bool {
    let root = run(Command::new("id").arg("-u")).trim() == "0";
    if !root {
        eprintln!("skipped: network namespaces need root");
    }
    root
}

#[test]
fn no_bus_frame_appears_on_the_clients_side() {
    if !is_root() {
        return;
    }
    let hosts = Hosts::new(&["client", "gateway", "server"]);
    hosts.link((CLIENT, "10.77.1.2"), (GATEWAY, "10.77.1.1"), 1);
    hosts.link((GATEWAY, "10.77.2.1"), (SERVER, "10.77.2.2"), 2);
    let front = hosts.capture(CLIENT, "sv1a");
    let back = hosts.capture(SERVER, "sv2b");

    let folder = tempfile::tempdir().expect("a folder");
    let program = binary().to_str().expect("text");
    let mut gateway = hosts.on(GATEWAY, program);
    gateway.args([
        "gateway",
        "--listen",
        "10.77.1.1:8080",
        "--bus-listen",
        "10.77.2.1:7600",
    ]);
    gateway.args(["--upstream", "http://10.77.2.2:9000"]);
    let mut server = hosts.on(SERVER, program);
    server.args(["content", "--name", "content-1", "--bus", "10.77.2.1:7600"]);
    server.args(["--listen", "10.77.2.2:9000"]);
    for service in ["--catalogue", "--payment", "--stock"] {
        server.args([service, "http://10.77.2.2:1"]);
    }
    let start = |mut command: Command| {
        command.arg("--data").arg(folder.path());
        Server::start(command, folder.path())
    };
    let mut gateway = start(gateway);
    let mut server = start(server);
    for number in 0..50 {
        let mut curl = hosts.on(CLIENT, "curl");
        curl.args([
            "--silent",
            "--fail",
            "--json",
            &format!("{{\"choice\":\"{number}\"}}"),
        ]);
        let _ = run(curl.arg("http://10.77.1.1:8080/vote"));
    }
    // Stopped in good order, everything written has been announced.
    server.stop();
    gateway.stop();

    let back = back.flows();
    assert!(
        back.iter().any(|flow| flow.contains("10.77.2.1:7600")),
        "the bus's frames pass on the back-end side: {back:?}"
    );
    let front = front.flows();
    println!("clients' side: {front:?}\nback-end side: {back:?}");
    assert!(front.iter().any(|flow| flow.ends_with(" 10.77.1.1:8080")));
    for flow in &front {
        let ours = flow.starts_with("10.77.1.1:8080 10.77.1.2:")
            || flow.starts_with("10.77.1.2:") && flow.ends_with(" 10.77.1.1:8080");
        let link = flow == "arp" || flow == "ipv6 neighbour discovery";
        assert!(ours || link, "{flow} on the clients' side");
    }
}

/// A gateway with hub and repository, and two content servers, each a host of its own. Between the
/// gateway and each server there are two links, one for requests and one for the bus.
struct Fleet {
    hosts: Hosts,
    _folder: tempfile::TempDir,
    _servers: [Server; 3],
}

/// Hosts of the fleet.
const MIDDLE: usize = 0;
const FIRST: usize = 1;
const SECOND: usize = 2;
/// The first server's ends of its links.
const REQUESTS: &str = "sv11b";
const BUS: &str = "sv12b";

const GATEWAY_URL: &str = "http://127.0.0.1:8080";
const REPOSITORY_URL: &str = "http://127.0.0.1:8090";
/// The servers', from the gateway's host.
const FIRST_URL: &str = "http://10.78.1.2:9000";
const SECOND_URL: &str = "http://10.78.3.2:9000";

/// Bounds a failing test; no passing one waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

impl Fleet {
    fn start() -> Self {
        let hosts = Hosts::new(&["middle", "first", "second"]);
        hosts.link((MIDDLE, "10.78.1.1"), (FIRST, "10.78.1.2"), 11);
        hosts.link((MIDDLE, "10.78.2.1"), (FIRST, "10.78.2.2"), 12);
        hosts.link((MIDDLE, "10.78.3.1"), (SECOND, "10.78.3.2"), 13);
        hosts.link((MIDDLE, "10.78.4.1"), (SECOND, "10.78.4.2"), 14);
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("gateway.toml");
        // What was not sent is soon tried elsewhere; on a kept connection nobody could tell.
        let limits = "[gateway.upstream_limits]\nconnect_timeout_ms = 500\nidle_max = 0\n";
        std::fs::write(&config, limits).expect("written");
        let program = binary().to_str().expect("text");
        let start = |mut command: Command| {
            command.arg("--data").arg(folder.path());
            Server::start(command, folder.path())
        };
        let mut gateway = hosts.on(MIDDLE, program);
        gateway.args(["gateway", "--repository", "--bus-listen", "0.0.0.0:7600"]);
        gateway.args([
            "--upstream",
            FIRST_URL,
            "--upstream",
            SECOND_URL,
            "--config",
        ]);
        gateway.arg(&config);
        let gateway = start(gateway);
        let content = |host: usize, name: &str, listen: &str, bus: &str| {
            let mut server = hosts.on(host, program);
            server.args(["content", "--name", name, "--listen", listen, "--bus", bus]);
            server.args(["--admin-listen", "127.0.0.1:8091"]);
            for service in ["--catalogue", "--payment", "--stock"] {
                server.args([service, "http://127.0.0.1:1"]);
            }
            start(server)
        };
        let first = content(FIRST, "content-1", "10.78.1.2:9000", "10.78.2.1:7600");
        let second = content(SECOND, "content-2", "10.78.3.2:9000", "10.78.4.1:7600");
        Self {
            hosts,
            _folder: folder,
            _servers: [gateway, first, second],
        }
    }

    /// What `curl` says on a host.
    fn curl(&self, host: usize, args: &[&str]) -> String {
        let mut curl = self.hosts.on(host, "curl");
        run(curl.args(["--silent", "--fail"]).args(args))
    }

    /// Votes at this URL with this token; the next one.
    fn vote(&self, url: &str, token: Option<&str>) -> String {
        let header = token.map(|token| format!("selvedge-session: {token}"));
        let url = format!("{url}/vote");
        let mut args = vec!["--dump-header", "-", "--json", "{\"choice\":\"yes\"}", &url];
        args.extend(header.iter().flat_map(|header| ["--header", header]));
        let answer = self.curl(MIDDLE, &args);
        let next = answer
            .lines()
            .find_map(|line| line.strip_prefix("selvedge-session: "));
        next.expect("the session moved on").trim().to_owned()
    }

    /// The actions that a server's memory holds.
    fn held(&self, host: usize) -> u64 {
        let text = self.curl(host, &["http://127.0.0.1:8091/metrics"]);
        let held = text.lines().find_map(|line| {
            line.strip_prefix("selvedge_memory_entries{")?
                .rsplit_once(' ')
        });
        held.expect("the metric").1.parse().expect("a number")
    }

    /// Waits until both servers hold so many actions.
    fn both_hold(&self, count: u64) {
        let deadline = Instant::now() + PATIENCE;
        while [FIRST, SECOND].map(|host| self.held(host)) != [count; 2] {
            assert!(Instant::now() < deadline, "not all was caught up");
        }
    }

    /// A session's timeline, once it has so many entries.
    fn timeline(&self, token: &str, count: usize) -> Vec<Value> {
        let session = token.split_once('.').expect("a token").0;
        let url = format!("{REPOSITORY_URL}/api/v1/sessions/{session}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.curl(MIDDLE, &[&url]);
            let timeline: Value = serde_json::from_str(&text).expect("JSON");
            let entries = timeline["entries"].as_array().expect("entries");
            if entries.len() == count {
                return entries.clone();
            }
            assert!(Instant::now() < deadline, "{count} entries? {timeline:#}");
        }
    }
}

#[test]
fn a_server_cut_off_from_the_bus_serves_on_says_what_it_did_not_see_and_catches_up() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::start();
    let mut token = fleet.vote(GATEWAY_URL, None);
    fleet.both_hold(1);

    fleet.hosts.set(FIRST, BUS, "down");
    token = fleet.vote(SECOND_URL, Some(&token));
    token = fleet.vote(FIRST_URL, Some(&token));
    // Through the gateway, too: the servers answer, so they are not out.
    for _ in 0..10 {
        token = fleet.vote(GATEWAY_URL, Some(&token));
    }

    fleet.hosts.set(FIRST, BUS, "up");
    fleet.both_hold(13);
    let entries = fleet.timeline(&token, 13);
    let place = |entry: &Value| {
        let part = |name| entry[name].as_str().expect("text");
        format!("{}/{}/{}", part("server"), part("epoch"), entry["sequence"])
    };
    assert_eq!(entries[1]["server"], "content-2");
    assert_eq!(entries[1]["unseen"], json!([]));
    assert_eq!(entries[2]["server"], "content-1");
    assert_eq!(entries[2]["unseen"], json!([place(&entries[1])]));
}

#[test]
fn a_server_cut_off_from_its_clients_still_follows_the_bus() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::start();
    let mut token = fleet.vote(GATEWAY_URL, None);
    fleet.both_hold(1);

    fleet.hosts.set(FIRST, REQUESTS, "down");
    // Safe requests go to the other server.
    for _ in 0..5 {
        let header = format!("selvedge-session: {token}");
        let url = format!("{GATEWAY_URL}/orders");
        let args = ["--dump-header", "-", "--header", &header, &url];
        let answer = fleet.curl(MIDDLE, &args);
        assert!(answer.contains("content-2"), "{answer}");
    }
    token = fleet.vote(SECOND_URL, Some(&token));
    fleet.both_hold(7);

    fleet.hosts.set(FIRST, REQUESTS, "up");
    token = fleet.vote(FIRST_URL, Some(&token));
    let entries = fleet.timeline(&token, 8);
    assert_eq!(entries[7]["server"], "content-1");
    assert!(entries.iter().all(|entry| entry["unseen"] == json!([])));
}
