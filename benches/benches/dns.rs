//! Static answers of the name server on one core beside NSD's (Debian), and raced answers, with
//! dnsperf, in one run.
//!
//! Both serve the same zone of 10,000 names, without a limit on equal answers, with one thread that
//! is pinned to a core; dnsperf is pinned to another one. The questions are the same for both: of
//! ten, seven for an address, one for a name that does not exist, one for a type that a name does
//! not have, one below a wildcard. Subjects take turns; medians of their rounds are shown. Answers a
//! second show what a client gets; answers for a second of the server's CPU time (user and system,
//! /proc/PID/stat) do not depend on how busy the machine is.

#[path = "dns/races.rs"]
mod races;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use selvedge_benches::program::built;

const NAMES: usize = 10_000;
const ROUNDS: usize = 5;
const ROUND_S: u32 = 3;
/// Clock ticks a second in /proc/PID/stat (Linux, x86 and ARM).
const TICKS: f64 = 100.0;

struct Subject {
    name: &'static str,
    child: Child,
    port: u16,
    /// Of each round: answers a second, answers for a second of its CPU time.
    rounds: Vec<(f64, f64)>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let zone = folder.path().join("zone");
    std::fs::write(&zone, zone_text()).expect("written");
    let questions = folder.path().join("questions");
    std::fs::write(&questions, question_text()).expect("written");
    let mut subjects = [ours(&zone), nsd(folder.path(), &zone)];
    for round in 0..=ROUNDS {
        for subject in &mut subjects {
            let measured = one(subject, &questions);
            // The first warms up.
            if round > 0 {
                println!(
                    "{:8} {:9.0} answers/s {:9.0} answers/CPU-s",
                    subject.name, measured.0, measured.1
                );
                subject.rounds.push(measured);
            }
        }
    }
    type Rate = fn(&(f64, f64)) -> f64;
    let median = |subject: &Subject, of: Rate| {
        let mut values: Vec<f64> = subject.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [ours, nsd] = &subjects;
    let rates: [(&str, Rate); 2] = [
        ("static DNS answers/s, one core", |r| r.0),
        ("static DNS answers for a second of CPU time", |r| r.1),
    ];
    for (what, of) in rates {
        let (ours, nsd) = (median(ours, of), median(nsd, of));
        println!(
            "| {what} | {:.0}k | NSD {:.0}k | {:.2} |",
            ours / 1e3,
            nsd / 1e3,
            ours / nsd
        );
    }
    races::races(folder.path());
}

fn zone_text() -> String {
    let mut text = String::from(
        "$TTL 300\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n*.wild A 192.0.2.2\n",
    );
    for number in 0..NAMES {
        let (a, b) = (number / 250, number % 250);
        let _ = writeln!(text, "host{number} A 10.0.{a}.{b}");
    }
    text
}

fn question_text() -> String {
    let mut text = String::new();
    for number in 0..NAMES {
        // A walk through all of them that is not their order.
        let host = number * 7919 % NAMES;
        let _ = match number % 10 {
            7 => writeln!(text, "none{host}.bench.example A"),
            8 => writeln!(text, "host{host}.bench.example AAAA"),
            9 => writeln!(text, "x{host}.wild.bench.example A"),
            _ => writeln!(text, "host{host}.bench.example A"),
        };
    }
    text
}

fn ours(zone: &Path) -> Subject {
    let args = ["--package", "selvedge-dns", "--example", "serve"];
    let program = built(&args, "examples/serve");
    let mut command = pinned(0);
    command
        .arg(program)
        .args(["127.0.0.1:0", "bench.example"])
        .arg(zone)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("readable");
    let port = line.trim().rsplit(':').next().and_then(|p| p.parse().ok());
    Subject {
        name: "selvedge",
        child,
        port: port.expect("a port"),
        rounds: Vec::new(),
    }
}

fn nsd(folder: &Path, zone: &Path) -> Subject {
    let port = {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address").port()
    };
    let config = folder.join("nsd.conf");
    let text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{dir}\"\n  database: \"\"\n  pidfile: \"{dir}/nsd.pid\"\n  \
         xfrdfile: \"{dir}/xfrd\"\n  zonelistfile: \"{dir}/list\"\n  xfrdir: \"{dir}\"\n  \
         rrl-ratelimit: 0\n  minimal-responses: yes\n  verbosity: 1\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: bench.example\n  zonefile: \"{zone}\"\n",
        dir = folder.display(),
        zone = zone.display(),
    );
    std::fs::write(&config, text).expect("written");
    let mut command = pinned(0);
    command
        .args(["/usr/sbin/nsd", "-d", "-c"])
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("nsd (Debian) is installed");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    let started = lines.any(|line| line.contains("nsd started"));
    assert!(started, "nsd did not start");
    // Whatever else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Subject {
        name: "NSD",
        child,
        port,
        rounds: Vec::new(),
    }
}

/// A command that runs on one core.
fn pinned(core: u32) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]);
    command
}

fn one(subject: &Subject, questions: &Path) -> (f64, f64) {
    let before = cpu(subject.child.id());
    let told = told(&mut dnsperf(subject.port, questions, ROUND_S, 200));
    let used = cpu(subject.child.id()) - before;
    let completed = told.value("Queries completed");
    let lost = told.value("Queries lost");
    assert!(lost < completed / 1000.0, "{lost} of {completed} lost");
    let rate = told.value("Queries per second");
    (rate, completed / used.as_secs_f64())
}

/// dnsperf for some seconds, on the other core, with so many questions under way.
fn dnsperf(port: u16, questions: &Path, seconds: u32, under_way: u32) -> Command {
    let mut command = pinned(1);
    command
        .args(["dnsperf", "-s", "127.0.0.1", "-T", "1", "-c", "4"])
        .args(["-p", &port.to_string(), "-l", &seconds.to_string()])
        .args(["-q", &under_way.to_string(), "-d"])
        .arg(questions);
    command
}

/// What dnsperf says at its end.
struct Told(String);

/// Runs it; no answer may be an error.
fn told(dnsperf: &mut Command) -> Told {
    let out = dnsperf.output().expect("dnsperf (Debian) is installed");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let wrong = text.lines().any(|line| {
        let codes = line.contains("Response codes");
        codes && (line.contains("SERVFAIL") || line.contains("REFUSED"))
    });
    assert!(!wrong, "{text}");
    Told(text)
}

impl Told {
    fn value(&self, what: &str) -> f64 {
        let line = self.0.lines().find(|line| line.contains(what));
        let word = line.and_then(|line| line.split(':').nth(1)?.split_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("{what} is not in {}", self.0))
    }
}

/// CPU time of a process and of all below it.
fn cpu(pid: u32) -> Duration {
    let mut total = 0.0;
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything, and ends with the last parenthesis.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
        total += ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0);
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        pids.extend(
            children
                .split_whitespace()
                .filter_map(|c| c.parse::<u32>().ok()),
        );
    }
    Duration::from_secs_f64(total / TICKS)
}
