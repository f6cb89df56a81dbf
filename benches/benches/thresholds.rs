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

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_benches::crossings::{self, Crossings};
use selvedge_benches::load::{percentile, votes};
use selvedge_benches::program::Running;
use selvedge_identity::{KeyRing, purpose};
use selvedge_monitor::link::LinkListener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// How long the viewers vote as fast as they may.
const SPRINT: Duration = Duration::from_secs(8);
/// Requests a second that are asked for at least (B7).
const ASKED_RATE: f64 = 5_000.0;
/// How long at the fixed rate.
const STEADY: Duration = Duration::from_secs(30);
const LINK: &str = "threshold link";
const WEBHOOK: &str = "webhook";

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let crossed = Arc::new(Crossings::default());
    let config = config(folder.path(), &crossed).await;
    let up = Running::up(folder.path(), &config, &[]);

    let sprint = votes(&up, &crossed, None, SPRINT).await;
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
        crossed.forget();
        at_rate(&up, &crossed, rate, which).await;
    }
}

/// Votes at a rate, and shows how late what they cross is told.
async fn at_rate(up: &Running, crossed: &Arc<Crossings>, rate: f64, which: &str) {
    let steady = votes(up, crossed, Some(rate), STEADY).await;
    println!(
        "at {:.0} requests/s: answers p50 {:.2} ms, p99 {:.2} ms (from when each was due); {} crossings",
        steady.rate(),
        percentile(&steady.answers_ms, 50.0),
        percentile(&steady.answers_ms, 99.0),
        steady.crossings
    );
    for way in [LINK, WEBHOOK] {
        let latencies = crossed.latencies_ms(way, steady.crossings).await;
        let missed = steady.crossings - latencies.len();
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|p| percentile(&latencies, p));
        let first = latencies.iter().filter(|ms| **ms <= 0.0).count();
        println!(
            "{way}: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms; {first} before the answer, {missed} missed"
        );
        println!(
            "| answer to notification by {way} at {:.0} requests/s, {which}: p50; p99; p99.9 | {p50:.1} ms; {p99:.1} ms; {p999:.1} ms | asked for: p99 of 20 ms | {:.2} |",
            steady.rate(),
            p99 / 20.0
        );
    }
}

/// The program's configuration, with receivers in this process.
async fn config(folder: &Path, crossed: &Arc<Crossings>) -> std::path::PathBuf {
    let keys = KeyRing::single([9; 32]);
    std::fs::write(folder.join("keys"), keys.to_text()).expect("written");
    let secret = keys.derive(purpose::THRESHOLD, keys.signer());
    let link = link(secret.expect("a key"), crossed.clone()).await;
    let webhook = webhook(crossed.clone()).await;
    let path = folder.join("thresholds.toml");
    let text = format!(
        "keys = \"{}\"\n\
         [monitor]\n\
         receivers = [{{ link = \"{link}\" }}, {{ webhook = \"http://{webhook}/\" }}]\n\
         {}\
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
        folder.join("keys").display(),
        crossings::RULE
    );
    std::fs::write(&path, text).expect("written");
    path
}

/// Listens for the threshold link as an encoder does.
async fn link(secret: [u8; 32], crossed: Arc<Crossings>) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = LinkListener::start(any, secret).await.expect("a port");
    let address = listener.address();
    tokio::spawn(async move {
        while let Some(arrived) = listener.next().await {
            let group = arrived.notification.group.clone();
            crossed.told(LINK, &group.expect("a group"), Instant::now());
            arrived.acknowledge();
        }
    });
    address
}

/// Takes notifications as POSTs.
async fn webhook(crossed: Arc<Crossings>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let crossed = crossed.clone();
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
                    let group = body["group"].as_str().expect("a group");
                    crossed.told(WEBHOOK, group, Instant::now());
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
