//! The encoder's packet path beside `ffmpeg -c copy` and tstools' `tsfilter`, and the pacing of its
//! datagrams beside multicat (B8).
//!
//! *Packet path.* A stream of 5 Mb/s that `cargo xtask media` made, again and again, in pieces of a datagram's size, with an indication a second,
//! from memory to memory; the peers from a file in memory to nowhere, as whole processes, less what
//! they take for a file of a tenth. By processor time, since the machine is shared; of several runs
//! together, since the system counts it in hundredths of a second.
//!
//! *Pacing.* A stream of 20 Mb/s over loopback. A datagram's residual is how far it comes from where
//! the stream's constant rate puts it, from the median. The encoder is `selvedge encoder`.

use std::hint::black_box;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge_benches::program::selvedge;
use selvedge_entry::Timestamp;
use selvedge_video::packet::PACKET;
use selvedge_video::testing::{Made, VIDEO, indication};
use selvedge_video::{InsertOptions, Inserter, Repeat};

/// Bits a second.
const RATE: u64 = 20_000_000;
/// Packets of a second.
const SECOND: usize = RATE as usize / 8 / PACKET;
const RUNS: usize = 5;

fn main() {
    let made = Made {
        packets: 60 * SECOND,
        rate: RATE,
        from: 0,
        pcr_every: 200,
        tables_every: 1000,
        nulls: 5,
        ..Made::default()
    };
    let bytes = made.bytes();
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/media/five.ts");
    let media = std::fs::read(&media).expect("cargo xtask media makes it");
    let repeat = Repeat::new(media).expect("it has a clock");
    let long: Vec<u8> = repeat.take(600_000).flatten().collect();
    packet_path(&long, folder.path());
    pacing(&bytes, folder.path());
}

fn packet_path(bytes: &[u8], folder: &Path) {
    let ours = processor_time(4 * RUNS, || insert(bytes));
    let rate = bytes.len() as f64 / ours;
    println!("packet path: {:.2} GB/s from memory to memory", rate / 1e9);
    let channels = rate * 8.0 / 5e6;
    println!("channels of 5 Mb/s that one core carries: {channels:.0}");
    let whole = folder.join("whole.ts");
    let part = folder.join("part.ts");
    std::fs::write(&whole, bytes).expect("written");
    let tenth = bytes.len() / 10 / PACKET * PACKET;
    std::fs::write(&part, &bytes[..tenth]).expect("written");
    type Peer = (&'static str, fn(&Path) -> Command);
    let peers: [Peer; 2] = [("ffmpeg -c copy", ffmpeg), ("tsfilter", tsfilter)];
    for (name, command) in peers {
        let time = |file: &Path| processor_time(RUNS, || ran(command(file)));
        let seconds = time(&whole) - time(&part);
        let theirs = (bytes.len() - tenth) as f64 / seconds;
        println!(
            "| packet path beside {name}, GB/s | {:.2} | {:.2} | {:.1} |",
            rate / 1e9,
            theirs / 1e9,
            rate / theirs
        );
    }
}

/// Passes a stream through with an indication a second.
fn insert(bytes: &[u8]) {
    let mut inserter = Inserter::new(InsertOptions::default());
    let mut out = Vec::with_capacity(1 << 20);
    for (number, packets) in bytes.chunks(7 * PACKET).enumerate() {
        // 475 datagrams are a second of 5 Mb/s.
        if number % 475 == 0 {
            inserter.place(indication(number as u64)).expect("it fits");
        }
        out.clear();
        inserter
            .push(packets, Timestamp(0), &mut out)
            .expect("taken");
        black_box(&out);
    }
    assert!(inserter.take_placed().len() >= 50, "they are in it");
}

fn ffmpeg(file: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-y", "-i"])
        .arg(file);
    command.args([
        "-map",
        "0:v?",
        "-map",
        "0:a?",
        "-c",
        "copy",
        "-f",
        "mpegts",
        "/dev/null",
    ]);
    command
}

fn tsfilter(file: &Path) -> Command {
    // Every packet but one identifier's goes through.
    let mut command = Command::new("tsfilter.tstools");
    command
        .arg("-i")
        .arg(file)
        .args(["-o", "/dev/null", "-invert", "8000"]);
    command
}

fn ran(mut command: Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{command:?} failed"
    );
}

/// Seconds of a run, of so many: this process's and those of its children that have ended.
fn processor_time(runs: usize, mut run: impl FnMut()) -> f64 {
    let now = || -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
        // After the name, in brackets, which may hold anything: fields 14 to 17 of all.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields = after.split_whitespace().skip(11).take(4);
        fields.filter_map(|field| field.parse::<u64>().ok()).sum()
    };
    let begun = now();
    for _ in 0..runs {
        run();
    }
    (now() - begun) as f64 / 100.0 / runs as f64
}

fn pacing(bytes: &[u8], folder: &Path) {
    let file = folder.join("paced.ts");
    std::fs::write(&file, &bytes[..10 * SECOND * PACKET]).expect("written");
    let encode = |to: &str| {
        let mut command = selvedge();
        command
            .args(["encoder", "--listen", "127.0.0.1:0", "--input"])
            .arg(&file);
        command.arg("--output").arg(format!("udp://{to}"));
        command.arg("--data").arg(folder.join("data"));
        command
    };
    let ours = residual(encode);
    let indexed = Command::new("ingests")
        .arg("-p")
        .arg(VIDEO.to_string())
        .arg(&file)
        .status();
    assert!(
        indexed.is_ok_and(|status| status.success()),
        "ingests (Debian: multicat)"
    );
    let multicat = |to: &str| {
        let mut command = Command::new("multicat");
        command.args(["-u", "-U"]).arg(&file).arg(to);
        command
    };
    let theirs = residual(multicat);
    println!(
        "| datagrams of 20 Mb/s off their time, p99, beside multicat, ms | {:.2} | {:.2} | {:.1} |",
        ours * 1e3,
        theirs * 1e3,
        ours / theirs
    );
}

/// The 99th percentile of the datagrams' residuals, in seconds.
fn residual(command: impl Fn(&str) -> Command) -> f64 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let wait = socket.set_read_timeout(Some(Duration::from_secs(3)));
    wait.expect("a limit");
    let to = socket.local_addr().expect("its address").to_string();
    let mut sender = command(&to);
    let sender = sender.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut sender = sender.expect("it runs");
    let mut buffer = [0; 4096];
    let mut packets = 0_u64;
    let mut offs = Vec::new();
    let begun = Instant::now();
    while let Ok(length) = socket.recv(&mut buffer) {
        let due = packets as f64 * PACKET as f64 * 8.0 / RATE as f64;
        offs.push(begun.elapsed().as_secs_f64() - due);
        packets += (length / PACKET) as u64;
    }
    sender.wait().expect("it ends");
    // Until the source's rate is known it is not paced.
    let mut offs = offs.split_off(offs.len() / 10);
    offs.sort_by(f64::total_cmp);
    let middle = offs[offs.len() / 2];
    let mut residuals: Vec<f64> = offs.iter().map(|off| (off - middle).abs()).collect();
    residuals.sort_by(f64::total_cmp);
    residuals[residuals.len() * 99 / 100]
}
