//! How long after a request's answer a crossing that it caused is told, while the rig is at half
//! of what it can do (B7).
//!
//! One `selvedge up` (gateway, three content servers, repository, monitor, durable as by default)
//! is voted on by viewers of this process, who begin a new visit every 32 requests. First as fast
//! as they may: that is what the rig can do, this load included. Then at a fixed rate, half of
//! that, and where that is less than is asked for, at the rate that is. Every hundredth vote is the
//! first for its choice and so crosses a threshold; its notification comes by webhook and over the
//! threshold link, both into this process. What is shown is the time from the end of the vote's
//! answer to the notification, signed: a notification may come first.
//!
//! The rig is what a user runs first: `selvedge up`, all of it in one process.
//!
//! Where the time went (`perf record -e cpu-clock --call-graph dwarf` of that process, before and
//! after; two cores that others were using too, so the shares count and not the microseconds): of
//! 270-340 µs a request, the transaction processor took 12 % (it wrote its place to SQLite with
//! every batch), seven memories 15 % (each read every record, the gateway's and those of services
//! too, and six of them kept them), the monitor 6 %, the repository 7 %, its judge 5 %, fdatasyncs
//! of the journals 5 %, HTTP in the gateway 19 % and in the content servers 20 %. Since the place is
//! written when there was something to carry out, memories and monitors look at a record before they
//! read it, the services behind an order remember no visits, and whoever can wait takes what comes
//! within some milliseconds together, it is 165-215 µs under the same load, of which HTTP in the
//! gateway takes 24 %, three memories 13 %, the journals 9 %, the repository 8 %, its judge 6 %, the
//! monitor 5 %.
//!
//! The other rules are what others would have: different clients since the start (exactly, then by
//! sketch) and a percentile over a sliding window. All of the monitor's state is durable before a
//! crossing is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selvedge_benches::program::selvedge;
use selvedge_benches::viewer::Viewer;
use selvedge_identity::{KeyRing, purpose};
use selvedge_monitor::link::LinkListener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const VIEWERS: u64 = 64;
/// How long the viewers vote as fast as they may, after a quarter of it for warming up.
const SPRINT: Duration = Duration::from_secs(8);
/// Requests a second that are asked for at least (B7).
const ASKED_RATE: f64 = 5_000.0;
/// How long at the fixed rate.
const STEADY: Duration = Duration::from_secs(30);
/// Every so many votes one crosses a threshold.
const CROSSING_EVERY: u64 = 100;
/// How long what is told late may take, before it counts as missed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clock ticks a second in /proc/PID/stat (Linux, x86 and ARM).
const TICKS: f64 = 100.0;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Arc::new(Told::default());
    let config = config(folder.path(), &told).await;
    let up = Up::start(folder.path(), &config);

    let sprint = votes(&up, &told, None, SPRINT).await;
    let greatest = sprint.rate();
    println!(
        "greatest rate: {greatest:.0} requests/s; CPU a request: {:.0} µs of the program, {:.0} µs of load and receivers",
        sprint.program_us, sprint.own_us
    );
    let mut rates = vec![(greatest / 2.0, "half of the rig's greatest rate")];
    if greatest / 2.0 < ASKED_RATE {
        // A machine that cannot do twice the rate that is asked for is asked for it all the same.
        rates.push((ASKED_RATE, "more than half of the rig's greatest rate"));
    }
    for (rate, which) in rates {
        told.forget();
        at_rate(&up, &told, rate, which).await;
    }
}

/// Votes at a rate, and shows how late what they cross is told.
async fn at_rate(up: &Up, told: &Arc<Told>, rate: f64, which: &str) {
    let steady = votes(up, told, Some(rate), STEADY).await;
    println!(
        "at {:.0} requests/s: answers p50 {:.2} ms, p99 {:.2} ms (from when each was due); {} crossings",
        steady.rate(),
        percentile(&steady.answers_ms, 50.0),
        percentile(&steady.answers_ms, 99.0),
        steady.crossings
    );
    for (way, name) in [(LINK, "threshold link"), (WEBHOOK, "webhook")] {
        let latencies = told.all(way, steady.crossings).await;
        let missed = steady.crossings - latencies.len();
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|p| percentile(&latencies, p));
        let first = latencies.iter().filter(|ms| **ms <= 0.0).count();
        println!(
            "{name}: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms; {first} before the answer, {missed} missed"
        );
        println!(
            "| answer to notification by {name} at {:.0} requests/s, {which}: p50; p99; p99.9 | {p50:.1} ms; {p99:.1} ms; {p999:.1} ms | asked for: p99 of 20 ms | {:.2} |",
            steady.rate(),
            p99 / 20.0
        );
    }
}

/// The program's configuration, with receivers in this process.
async fn config(folder: &Path, told: &Arc<Told>) -> std::path::PathBuf {
    let keys = KeyRing::single([9; 32]);
    std::fs::write(folder.join("keys"), keys.to_text()).expect("written");
    let secret = keys.derive(purpose::THRESHOLD, keys.signer());
    let link = link(secret.expect("a key"), told.clone()).await;
    let webhook = webhook(told.clone()).await;
    let path = folder.join("thresholds.toml");
    let text = format!(
        "keys = \"{}\"\n\
         [monitor]\n\
         receivers = [{{ link = \"{link}\" }}, {{ webhook = \"http://{webhook}/\" }}]\n\
         [[threshold]]\n\
         name = \"choices\"\n\
         filter = 'service = content and direction = inbound and request.choice ~ \"crossing-*\"'\n\
         group_by = \"request.choice\"\n\
         groups_max = 100000\n\
         raise = 1\n\
         [[threshold]]\n\
         name = \"clients\"\n\
         filter = 'service = content and direction = inbound'\n\
         count = \"distinct client\"\n\
         raise = 1000000000\n\
         [[threshold]]\n\
         name = \"slow\"\n\
         filter = 'service = content and direction = inbound'\n\
         count = \"p99 duration\"\n\
         window = \"sliding 1m\"\n\
         raise = \"1h\"\n",
        folder.join("keys").display()
    );
    std::fs::write(&path, text).expect("written");
    path
}

/// Listens for the threshold link as an encoder does.
async fn link(secret: [u8; 32], told: Arc<Told>) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = LinkListener::start(any, secret).await.expect("a port");
    let address = listener.address();
    tokio::spawn(async move {
        while let Some(arrived) = listener.next().await {
            let group = arrived.notification.group.clone();
            told.take(LINK, &group.expect("a group"));
            arrived.acknowledge();
        }
    });
    address
}

/// Takes notifications as POSTs.
async fn webhook(told: Arc<Told>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                let mut filled = 0;
                while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
                    filled += read;
                    // The head, and an object without braces within.
                    if !buffer[..filled].ends_with(b"}") {
                        continue;
                    }
                    let body = buffer[..filled].iter().position(|b| *b == b'{');
                    let body = &buffer[body.expect("an object")..filled];
                    let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
                    told.take(WEBHOOK, body["group"].as_str().expect("a group"));
                    filled = 0;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

const LINK: usize = 0;
const WEBHOOK: usize = 1;

/// When crossing votes were answered, and when they were told.
#[derive(Default)]
struct Told {
    crossings: Mutex<HashMap<String, Crossing>>,
    came: Notify,
}

#[derive(Default)]
struct Crossing {
    answered: Option<Instant>,
    told: [Option<Instant>; 2],
}

impl Told {
    fn answered(&self, choice: &str) {
        let now = Instant::now();
        let mut crossings = self.crossings.lock().expect("whole");
        crossings.entry(choice.to_owned()).or_default().answered = Some(now);
    }

    fn take(&self, way: usize, choice: &str) {
        let now = Instant::now();
        {
            let mut crossings = self.crossings.lock().expect("whole");
            let told = &mut crossings.entry(choice.to_owned()).or_default().told[way];
            told.get_or_insert(now);
        }
        self.came.notify_waiters();
    }

    fn forget(&self) {
        self.crossings.lock().expect("whole").clear();
    }

    /// Milliseconds from each answer to its notification, once all are here or given up.
    async fn all(&self, way: usize, expected: usize) -> Vec<f64> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let came = self.came.notified();
            let known = self.latencies(way);
            if known.len() >= expected || tokio::time::timeout_at(deadline, came).await.is_err() {
                return known;
            }
        }
    }

    fn latencies(&self, way: usize) -> Vec<f64> {
        let crossings = self.crossings.lock().expect("whole");
        let known = crossings.values().filter_map(|crossing| {
            let (answered, told) = (crossing.answered?, crossing.told[way]?);
            let after = told.saturating_duration_since(answered).as_secs_f64();
            let before = answered.saturating_duration_since(told).as_secs_f64();
            Some((after - before) * 1e3)
        });
        known.collect()
    }
}

/// What came of some seconds of votes.
struct Votes {
    requests: u64,
    seconds: f64,
    crossings: usize,
    /// From when each was due to the end of its answer.
    answers_ms: Vec<f64>,
    program_us: f64,
    own_us: f64,
}

impl Votes {
    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Votes, at a rate or as fast as the viewers may.
async fn votes(up: &Up, told: &Arc<Told>, rate: Option<f64>, time: Duration) -> Votes {
    let numbers = Arc::new(AtomicU64::new(0));
    let start = tokio::time::Instant::now();
    // Connections are made and caches warm before anything counts.
    let (from, until) = (start + time / 4, start + time / 4 + time);
    let mut viewers = JoinSet::new();
    for viewer in 0..VIEWERS {
        let (told, gateway, numbers) = (told.clone(), up.gateway, numbers.clone());
        viewers.spawn(async move {
            let mut connection = Viewer::connect(gateway).await;
            let mut answers_ms = Vec::new();
            let mut crossings = 0;
            let mut turn = viewer;
            loop {
                let due = match rate {
                    Some(rate) => start + Duration::from_secs_f64(turn as f64 / rate),
                    None => tokio::time::Instant::now(),
                };
                if due >= until {
                    return (answers_ms, crossings);
                }
                tokio::time::sleep_until(due).await;
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number.is_multiple_of(CROSSING_EVERY) {
                    let choice = format!("crossing-{}-{number}", rate.unwrap_or_default());
                    connection.vote(&choice).await;
                    if due >= from {
                        told.answered(&choice);
                        crossings += 1;
                    }
                } else {
                    connection.vote("plain").await;
                }
                if due >= from {
                    answers_ms.push(due.elapsed().as_secs_f64() * 1e3);
                }
                turn += VIEWERS;
            }
        });
    }
    tokio::time::sleep_until(from).await;
    let cpu = [cpu_s(up.child.id()), cpu_s(std::process::id())];
    tokio::time::sleep_until(until).await;
    let cpu_after = [cpu_s(up.child.id()), cpu_s(std::process::id())];
    let done = viewers.join_all().await;
    let mut answers_ms: Vec<f64> = done.iter().flat_map(|(ms, _)| ms).copied().collect();
    answers_ms.sort_by(f64::total_cmp);
    let requests = answers_ms.len() as u64;
    let each = |index: usize| (cpu_after[index] - cpu[index]) * 1e6 / requests as f64;
    Votes {
        requests,
        seconds: time.as_secs_f64(),
        crossings: done.iter().map(|(_, crossings)| crossings).sum(),
        answers_ms,
        program_us: each(0),
        own_us: each(1),
    }
}

fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// User and system time that a process has used, in seconds.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let after_name = stat.rsplit(')').next().expect("fields");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / TICKS
}

/// The running program.
struct Up {
    child: Child,
    gateway: SocketAddr,
}

impl Up {
    fn start(folder: &Path, config: &Path) -> Self {
        let ports = folder.join("ports.json");
        let mut command = selvedge();
        command
            .args(["up", "--ephemeral", "--ports-file"])
            .arg(&ports);
        command.arg("--data").arg(folder.join("data"));
        command.arg("--config").arg(config);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).expect("readable");
        assert!(line.contains("serves"), "{line}");
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let ports = std::fs::read_to_string(ports).expect("written");
        let ports: serde_json::Value = serde_json::from_str(&ports).expect("JSON");
        let gateway = ports["gateway"].as_str().expect("a gateway");
        Self {
            child,
            gateway: gateway.parse().expect("an address"),
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
