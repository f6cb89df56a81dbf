//! How long after a request's answer the indication of a crossing that it caused leaves the encoder
//! inside the video, while the rig is at half of what it can do (B7, B8).
//!
//! One `selvedge up` (gateway, three content servers, repository, monitor, durable as by default)
//! is voted on as in the bench of thresholds, every hundredth vote crossing one. `selvedge encoder`
//! is a process of its own: it plays a stream of 5 Mb/s that `cargo xtask media` made, takes the
//! crossings over the threshold link, and sends the stream as datagrams to this process, which
//! finds the timed ID3 in them as any receiver would. What is shown is the time from the end of
//! the vote's answer to the arrival of the datagram that completes the crossing's tag.
//!
//! Where the time goes, on two cores that load, program and encoder share: the packets of 5 Mb/s
//! leave by sevens, every 2.1 ms, and the encoder looks for what is to be placed before each seven;
//! a crossing that is told at once so waits for half of that. It is told before its answer or soon
//! after (the bench of thresholds), and what was placed goes out at once, before the next packet,
//! not in place of a null packet that may be far away: 0.1 ms to this process. The longest waits
//! are those of the threshold link for a processor, and for the crossing before, which is
//! acknowledged once it is on the encoder's disk.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use selvedge_benches::crossings::{self, Crossings};
use selvedge_benches::load::{percentile, votes};
use selvedge_benches::program::{Running, cpu_s, selvedge};
use selvedge_identity::KeyRing;
use selvedge_video::{Placed, Reader, Seen};

/// How long the viewers vote as fast as they may.
const SPRINT: Duration = Duration::from_secs(8);
/// Requests a second that are asked for at least.
const ASKED_RATE: f64 = 5_000.0;
/// How long at the fixed rate: some 1,500 crossings.
const STEADY: Duration = Duration::from_secs(30);
/// What is asked for: the time of a picture.
const ASKED_MS: f64 = 40.0;
const PACKET: &str = "packet";

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let crossed = Arc::new(Crossings::default());
    let ways = Arc::new(Mutex::new(Ways::default()));
    let keys = KeyRing::single([9; 32]);
    std::fs::write(folder.path().join("keys"), keys.to_text()).expect("written");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let encoder = encoder(folder.path(), &socket);
    std::thread::spawn({
        let (crossed, ways) = (crossed.clone(), ways.clone());
        move || receive(&socket, &crossed, &ways)
    });
    let config = config(folder.path(), &encoder);
    let up = Running::up(folder.path(), &config, &[]);

    let greatest = votes(&up, &crossed, None, SPRINT).await.rate();
    println!("greatest rate: {greatest:.0} requests/s");
    crossed.forget();
    *ways.lock().expect("whole") = Ways::default();
    let rate = (greatest / 2.0).max(ASKED_RATE);
    let cpu = cpu_s(encoder.pid());
    let begun = Instant::now();
    let steady = votes(&up, &crossed, Some(rate), STEADY).await;
    let used = (cpu_s(encoder.pid()) - cpu) / begun.elapsed().as_secs_f64();
    let latencies = crossed.latencies_ms(PACKET, steady.crossings).await;
    println!(
        "at {:.0} requests/s: answers p50 {:.2} ms, p99 {:.2} ms (from when each was due); {} crossings, {} missed; the encoder takes {:.1} % of a core",
        steady.rate(),
        percentile(&steady.answers_ms, 50.0),
        percentile(&steady.answers_ms, 99.0),
        steady.crossings,
        steady.crossings - latencies.len(),
        used * 100.0
    );
    let shown = |ms: &[f64]| {
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|p| percentile(ms, p));
        format!("{p50:.1} ms; {p99:.1} ms; {p999:.1} ms")
    };
    let ways = ways.lock().expect("whole");
    println!(
        "from crossing to placing: {}; from placing to here: {} (p50; p99; p99.9)",
        shown(&ways.to_placing_ms),
        shown(&ways.to_here_ms)
    );
    println!(
        "| answer to the packet that leaves the encoder, at {:.0} requests/s (greatest rate {greatest:.0}), video of 5 Mb/s: p50; p99; p99.9 | {} | asked for: p99 of {ASKED_MS} ms | {:.2} |",
        steady.rate(),
        shown(&latencies),
        percentile(&latencies, 99.0) / ASKED_MS
    );
}

/// Plays the stream to this socket.
fn encoder(folder: &Path, to: &UdpSocket) -> Running {
    let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/media/five.ts");
    let to = to.local_addr().expect("its address");
    let mut command = selvedge();
    command.args(["encoder", "--simulate-source", "--listen", "127.0.0.1:0"]);
    command.arg("--input").arg(media);
    command.args(["--output", &format!("udp://{to}")]);
    command.arg("--data").arg(folder.join("encoder"));
    command.arg("--keys").arg(folder.join("keys"));
    Running::start(command, folder)
}

/// The program's configuration, with the encoder as receiver.
fn config(folder: &Path, encoder: &Running) -> PathBuf {
    let path = folder.join("channel.toml");
    let text = format!(
        "keys = \"{}\"\n[monitor]\nreceivers = [{{ link = \"{}\" }}]\n{}",
        folder.join("keys").display(),
        encoder.address("threshold"),
        crossings::RULE
    );
    std::fs::write(&path, text).expect("written");
    path
}

/// Parts of the way, by the host's clock.
#[derive(Default)]
struct Ways {
    /// From the crossing, as the monitor saw it, to when the encoder placed it.
    to_placing_ms: Vec<f64>,
    /// From there to this process.
    to_here_ms: Vec<f64>,
}

/// Takes the stream, and notes when each crossing came.
fn receive(socket: &UdpSocket, crossed: &Crossings, ways: &Mutex<Ways>) {
    let mut reader = Reader::default();
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).expect("the stream goes on");
        let (now, clock) = (Instant::now(), SystemTime::now());
        reader.push(&buffer[..length], |seen| {
            let Seen::Id3(Placed {
                indication,
                placed,
                repeat: false,
                ..
            }) = seen
            else {
                return;
            };
            crossed.told(PACKET, &indication.group.expect("a group"), now);
            let here = clock.duration_since(SystemTime::UNIX_EPOCH);
            let here_ns = here.expect("after 1970").as_nanos() as i64;
            let mut ways = ways.lock().expect("whole");
            let ms = |from: i64, to: i64| (to - from) as f64 / 1e6;
            ways.to_placing_ms.push(ms(indication.at.0, placed.0));
            ways.to_here_ms.push(ms(placed.0, here_ns));
        });
    }
}
