//! One broadcast to a hundred receivers that lose every twentieth datagram, each of which goes on
//! with its own session from the ordering id in it (A10).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use selvedge_identity::SessionId;
use selvedge_system_tests::{Up, selvedge};
use selvedge_transmit::{AssemblerOptions, Listener, Message};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UdpSocket;
use tokio::process::{Child, ChildStdout, Command};

/// Receivers that live in this process, and real ones: over UDP, and at the gateway's stream.
const OURS: usize = 96;
const OVER_UDP: usize = 3;
const AT_THE_STREAM: usize = 1;

const LOSS_PERCENT: u64 = 5;

/// What decides which datagrams are lost.
const SEED: u64 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_receivers_go_on_from_one_broadcast_that_every_twentieth_datagram_of_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let up = up(&folder, relay.local_addr().expect("an address"));
    let gateway = up.gateway();

    // Every receiver votes at both servers, one after the other, and both remember it.
    let mut viewers = Vec::new();
    for _ in 0..OURS {
        viewers.push(Viewer::open(&gateway).await);
    }
    let mut programs = Vec::new();
    for number in 0..OVER_UDP + AT_THE_STREAM {
        programs.push(Program::start(&folder, number, &gateway).await);
    }
    let heard_at = programs.iter().filter_map(|program| program.heard_at);
    let to = viewers.iter().map(Viewer::heard_at).chain(heard_at);
    let lossy = Lossy::start(relay, to.collect());

    // Somebody orders content.
    let client = reqwest::Client::new();
    let ordered = client.post(format!("{gateway}/broadcast"));
    let ordered = ordered.json(&json!({"content": "the goal"})).send().await;
    assert_eq!(ordered.expect("an answer").status(), 202);

    let query = up.query();
    let mut heads = BTreeSet::new();
    let mut last = None;
    for viewer in &mut viewers {
        let message = viewer.listener.next().await.expect("a message");
        let head = viewer.head(&message).expect("addressed");
        let said: Value = serde_json::from_slice(message.broadcast.content()).expect("JSON");
        assert_eq!(said["now"]["content"], "the goal");
        assert_eq!(
            message.broadcast.addressed(),
            OURS + OVER_UDP + AT_THE_STREAM + 1
        );
        viewer.ask("GET", "/channel", Some(&head)).await;
        assert!(heads.insert(head), "a head of its own");
        last = Some(message);
    }
    for viewer in &viewers {
        let timeline = query.timeline(&viewer.session(), 4).await;
        follows_the_broadcast(&timeline, "GET /channel");
    }
    for program in programs {
        let session = program.end().await;
        let timeline = query.timeline(&session, 5).await;
        follows_the_broadcast(&timeline, "POST /vote");
    }
    assert!(lossy.dropped.load(Relaxed) * 100 > lossy.came.load(Relaxed) * OURS as u64 * 3);

    // One viewer gives back what another was brought: it gains nothing, and it is counted.
    let message = last.expect("a message");
    let stolen = viewers[0].head(&message).expect("addressed");
    let [victim, thief] = viewers.first_chunk_mut().expect("two");
    thief.ask("GET", "/orders", Some(&stolen)).await;
    assert_eq!(refused(&up, &client).await, 1);
    let timeline = query.timeline(&thief.session(), 5).await;
    let orders = action(&timeline, "GET /orders");
    assert_eq!(
        orders["after"].as_array().map(Vec::len),
        Some(1),
        "{orders:#}"
    );
    let theirs = query.timeline(&victim.session(), 4).await;
    assert_eq!(theirs["entries"].as_array().map(Vec::len), Some(4));
    let broadcasts = [&timeline, &theirs].map(|t| position(action(t, "broadcast content")));
    assert_ne!(
        broadcasts[0], broadcasts[1],
        "each session has an action of its own"
    );
}

/// Two servers that take turns, and a transmitter that sends to the relay.
fn up(folder: &TempDir, relay: SocketAddr) -> Up {
    let config = folder.path().join("selvedge.toml");
    let text = format!(
        "[gateway]\npolicy = \"round-robin\"\n[transmitter]\nto = [\"{relay}\"]\nspacing_ms = 5\n"
    );
    std::fs::write(&config, text).expect("written");
    Up::start(&["--servers", "2", "--config", config.to_str().expect("text")])
}

/// How many heads the gateway refused.
async fn refused(up: &Up, client: &reqwest::Client) -> u64 {
    let metrics = client.get(format!("{}/metrics", up.admin())).send().await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    let refused = metrics
        .lines()
        .filter(|line| line.contains("heads_refused") && line.contains("server=\"gateway\""));
    let values = refused.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

/// A request of this action follows the broadcast, in its session's timeline.
fn follows_the_broadcast(timeline: &Value, wanted: &str) {
    let broadcast = action(timeline, "broadcast content");
    let position = position(broadcast);
    let follows = |entry: &&Value| {
        let after = entry["after"].as_array().expect("a list");
        entry["action"] == wanted && after.iter().any(|after| *after == position.as_str())
    };
    let mut entries = timeline["entries"].as_array().expect("a list").iter();
    let next = entries.find(follows);
    let next = next.unwrap_or_else(|| panic!("nothing follows {position}: {timeline:#}"));
    assert!(next["ordering"][0].as_u64() > broadcast["ordering"][0].as_u64());
    assert_eq!(next["unseen"], json!([]), "its server had it");
    // What the viewer did before is before it.
    assert!(!broadcast["after"].as_array().expect("a list").is_empty());
}

/// The last entry of an action.
fn action<'t>(timeline: &'t Value, wanted: &str) -> &'t Value {
    let entries = timeline["entries"].as_array().expect("a list");
    let found = entries.iter().rfind(|entry| entry["action"] == wanted);
    found.unwrap_or_else(|| panic!("no {wanted} in {timeline:#}"))
}

fn position(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().expect("text");
    format!("{}/{}/{}", text("server"), text("epoch"), entry["sequence"])
}

/// A viewer in this process, who holds a session and hears broadcasts.
struct Viewer {
    client: reqwest::Client,
    gateway: String,
    token: String,
    listener: Listener,
}

impl Viewer {
    async fn open(gateway: &str) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::start(any, None, AssemblerOptions::default());
        let mut viewer = Self {
            client: reqwest::Client::new(),
            gateway: gateway.to_owned(),
            token: String::new(),
            listener: listener.expect("a port"),
        };
        let mut servers = BTreeSet::new();
        for _ in 0..2 {
            servers.insert(viewer.ask("POST", "/vote", None).await);
        }
        assert_eq!(servers.len(), 2, "they take turns");
        viewer
    }

    fn heard_at(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    fn session(&self) -> String {
        let session = self.token.split('.').next();
        session.expect("a session").to_owned()
    }

    /// The head that a message brings its session.
    fn head(&self, message: &Message) -> Option<String> {
        let session: SessionId = self.session().parse().ok()?;
        Some(message.broadcast.head_for(session)?.text())
    }

    /// One request; returns the name of the server that took it.
    async fn ask(&mut self, method: &str, path: &str, head: Option<&str>) -> String {
        let url = format!("{}{path}", self.gateway);
        let mut request = match method {
            "POST" => self.client.post(url).json(&json!({"choice": "red"})),
            _ => self.client.get(url),
        };
        for value in [Some(self.token.as_str()), head].into_iter().flatten() {
            if !value.is_empty() {
                request = request.header("selvedge-session", value);
            }
        }
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let field = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        self.token = field("selvedge-session");
        field("server")
    }
}

/// A `selvedge receiver listen`.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    heard_at: Option<SocketAddr>,
}

impl Program {
    /// Starts one, and waits until it listens.
    async fn start(folder: &TempDir, number: usize, gateway: &str) -> Self {
        let state = folder.path().join(format!("receiver-{number}.json"));
        let mut command = selvedge(&["receiver", "listen", "--json", "--count", "1"]);
        command.args(["--walk", "vote,vote", "--gateway", gateway]);
        command.arg("--state").arg(state);
        let over_udp = number < OVER_UDP;
        if over_udp {
            command.args(["--udp", "127.0.0.1:0"]);
        }
        let mut child = Command::from(command)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let out = child.stdout.take().expect("piped");
        let mut program = Self {
            child,
            lines: BufReader::new(out).lines(),
            heard_at: None,
        };
        let listening = program.until("listening").await;
        let to = listening["to"].as_str().expect("an address");
        program.heard_at = over_udp.then(|| to.parse().expect("an address"));
        program
    }

    /// The next line of this event.
    async fn until(&mut self, event: &str) -> Value {
        while let Some(line) = self.lines.next_line().await.expect("readable") {
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["event"] == event {
                return line;
            }
        }
        panic!("it ended without {event}")
    }

    /// Waits for its end; returns its session.
    async fn end(mut self) -> String {
        let broadcast = self.until("broadcast").await;
        assert_eq!(broadcast["addressed"], true);
        let end = self.until("end").await;
        assert_eq!((&end["addressed"], &end["failed"]), (&json!(1), &json!(0)));
        assert!(self.child.wait().await.expect("it ends").success());
        end["session"].as_str().expect("a session").to_owned()
    }
}

/// Brings datagrams to many, and loses some of each one's.
struct Lossy {
    came: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    relaying: tokio::task::JoinHandle<()>,
}

impl Lossy {
    fn start(relay: UdpSocket, to: Vec<SocketAddr>) -> Self {
        let (came, dropped) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (counted, lost) = (came.clone(), dropped.clone());
        let relaying = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = relay.recv(&mut buffer).await {
                let number = counted.fetch_add(1, Relaxed);
                for (receiver, to) in (0..).zip(&to) {
                    if draw(receiver, number) % 100 < LOSS_PERCENT {
                        lost.fetch_add(1, Relaxed);
                    } else {
                        let _ = relay.send_to(&buffer[..length], to).await;
                    }
                }
            }
        });
        Self {
            came,
            dropped,
            relaying,
        }
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

/// A number by chance, the same for the same receiver and datagram (splitmix64).
fn draw(receiver: u64, datagram: u64) -> u64 {
    let mut bits = SEED
        .wrapping_add(receiver << 32)
        .wrapping_add(datagram)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
