//! Raced answers a second: `selvedge up` with three sites, asked by dnsperf for names that nobody
//! has asked for yet, so that each question is a race of its own (C1, C5).
//!
//! Every race is one question, three forwards, three answers and three reports over loopback. The
//! delay is constant, so that what an answer takes beyond it is what the race costs.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_benches::program::Running;
use serde_json::Value;

use super::{cpu, dnsperf};

const SITES: usize = 3;
const DELAY_MS: f64 = 10.0;
/// Races a second that are asked for.
const RATES: [u32; 2] = [1_000, 0];
const SECONDS: u32 = 5;

/// Prints how many races a second there are, and what an answer takes.
pub(super) fn races(folder: &Path) {
    let questions = folder.join("raced");
    // More than can be asked: a question that comes again at once is answered plainly.
    let text = (0..400_000).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "host{number}.raced.bench.example A");
        text
    });
    std::fs::write(&questions, text).expect("written");
    let up = start(folder);
    for rate in RATES {
        let before = (count(&up, "raced"), cpu(up.pid()));
        // So many are under way at once as a resolver of many users would have.
        let mut perf = dnsperf(up.address("dns").port(), &questions, SECONDS, 64);
        if rate > 0 {
            perf.args(["-Q", &rate.to_string()]);
        }
        let told = super::told(&mut perf);
        let raced = (count(&up, "raced") - before.0) as f64;
        let took_ms = told.value("Average Latency") * 1e3;
        let used = (cpu(up.pid()) - before.1).as_secs_f64();
        let completed = told.value("Queries completed");
        println!(
            "{:.0} questions/s, {:.1} % of them raced, {:.0} lost: {took_ms:.2} ms on average, {:.0} µs of CPU each",
            told.value("Queries per second"),
            raced / completed * 100.0,
            told.value("Queries lost"),
            used * 1e6 / completed
        );
        println!(
            "| raced DNS answers/s of {SITES} sites: rate; mean latency | {:.0}; {took_ms:.2} ms | the delay that was set: {DELAY_MS} ms | {:.2} |",
            raced / f64::from(SECONDS),
            took_ms / DELAY_MS
        );
    }
}

/// The program, once all its sites race.
fn start(folder: &Path) -> Running {
    let zone = folder.join("raced.zone");
    let mut records =
        String::from("$TTL 30\n@ SOA ns admin 1 3600 600 86400 30\n@ NS ns\nns A 127.0.0.1\n");
    let mut config = format!(
        "[dns.race]\nproven = [\"127.0.0.0/8\"]\n[dns.limit]\nper_s = 0\n\
         [race]\ndelay = \"{DELAY_MS}ms\"\n\
         [[dns.zone]]\norigin = \"bench.example\"\nfile = \"{}\"\n\
         [[dns.name]]\nname = \"*.raced.bench.example\"\npolicy = \"race\"\n",
        zone.display()
    );
    for site in 1..=SITES {
        let _ = writeln!(records, "*.raced A 127.0.1.{site}");
        let _ = writeln!(
            config,
            "[[dns.site]]\nname = \"content-{site}\"\naddresses = [\"127.0.1.{site}\"]"
        );
    }
    let path = folder.join("raced.toml");
    std::fs::write(&zone, records).expect("written");
    std::fs::write(&path, config).expect("written");
    let up = Running::up(folder, &path, &["--servers", &SITES.to_string()]);
    let start = Instant::now();
    while racing(&up) < SITES {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "not all race within a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    up
}

/// How many sites race.
fn racing(up: &Running) -> usize {
    let status: Value = serde_json::from_str(&get(up, "/api/v1/races")).unwrap_or_default();
    let replicas = status["replicas"].as_array();
    let racing = |replica: &&Value| replica["racing"] == true;
    replicas.map_or(0, |all| all.iter().filter(racing).count())
}

/// What the name server counted.
fn count(up: &Running, what: &str) -> u64 {
    let metrics = get(up, "/metrics");
    let name = format!("selvedge_dns_{what}_total ");
    let line = metrics.lines().find(|line| line.starts_with(&name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{what} is not counted"))
}

/// The body of an answer of the admin port.
fn get(up: &Running, path: &str) -> String {
    let mut stream = TcpStream::connect(up.address("admin")).expect("it listens");
    write!(stream, "GET {path} HTTP/1.0\r\nhost: bench\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    body.expect("an answer")
}
