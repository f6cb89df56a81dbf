//! The back-end network is apart from the clients' one (B2): hosts in network namespaces, what
//! passes captured on both sides.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use selvedge_system_tests::{Server, binary, run};

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
        let pid = std::process::id();
        let names = names.iter().map(|name| format!("selvedge-{pid}-{name}"));
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

#[test]
fn no_bus_frame_appears_on_the_clients_side() {
    let root = run(Command::new("id").arg("-u"));
    if root.trim() != "0" {
        eprintln!("skipped: network namespaces need root");
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
