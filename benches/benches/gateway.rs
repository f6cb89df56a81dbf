//! Requests per CPU-second of the gateway beside haproxy and nginx (Debian), and what tracking,
//! ordering and durability each cost.
//!
//! Each subject is a process of its own between the same load (64 connections, one request at a
//! time on each) and the same origin (64-byte answers). What counts is the CPU time that the
//! subject used (user and system, /proc/PID/stat) for the requests it passed on: so the load and
//! the origin, which share the machine, do not count, and neither does how busy the machine is.
//! Subjects take turns; the median of their rounds is shown.
//!
//! `relay` is the packet path alone (crates/relay/examples/relay.rs): it adds one header, as
//! haproxy and nginx do here. The others add to it, row by row.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use selvedge_benches::program::{built, cpu_s, selvedge};
use selvedge_identity::{ClientId, KeyRing, SessionId, SessionToken};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
const BODY: [u8; 64] = [b'x'; 64];

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = origin().await;
    let mut subjects = vec![
        haproxy(folder.path(), origin),
        nginx(folder.path(), origin),
        relay(origin),
    ];
    let token = Some(headers(folder.path()));
    subjects.push(gateway(
        folder.path(),
        "memory",
        "gateway: + tracking, log server",
        &token,
        origin,
    ));
    subjects.push(gateway(
        folder.path(),
        "fdatasync",
        "gateway: + durability",
        &token,
        origin,
    ));
    subjects.push(sidecar(
        folder.path(),
        "memory",
        "sidecar: tracking",
        &None,
        origin,
    ));
    subjects.push(sidecar(
        folder.path(),
        "memory",
        "sidecar: + ordering",
        &token,
        origin,
    ));
    subjects.push(sidecar(
        folder.path(),
        "fdatasync",
        "sidecar: + durability",
        &token,
        origin,
    ));

    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, rates) in subjects.iter().zip(&mut rates) {
            rates.push(round(subject).await);
        }
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let rates: Vec<f64> = rates.iter_mut().map(median).collect();
    println!("requests per CPU-second:");
    for (subject, rate) in subjects.iter().zip(&rates) {
        println!("  {:<36} {rate:8.0}", subject.name);
    }
    let (haproxy, nginx) = (rates[0], rates[1]);
    for (subject, rate) in subjects.iter().zip(&rates).skip(2) {
        println!(
            "| requests per CPU-second, {} | {:.1}k | haproxy {:.1}k, nginx {:.1}k | {:.2}, {:.2} |",
            subject.name,
            rate / 1e3,
            haproxy / 1e3,
            nginx / 1e3,
            rate / haproxy,
            rate / nginx
        );
    }
    for pair in [
        (2, 3, "tracking and log server"),
        (3, 4, "its durability"),
        (5, 6, "ordering"),
        (6, 7, "its durability"),
    ] {
        let (without, with, what) = pair;
        println!(
            "  {what}: {:.1} µs of CPU a request",
            1e6 / rates[with] - 1e6 / rates[without]
        );
    }
}

/// A process between the load and the origin.
struct Subject {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    request: Arc<str>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Drives the subject for a round; its requests per CPU-second.
async fn round(subject: &Subject) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (stop, done) = (stop.clone(), done.clone());
        let (address, request) = (subject.address, subject.request.clone());
        load.spawn(async move {
            let mut stream = connect(address).await;
            let mut buffer = vec![0; 16 << 10];
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(request.as_bytes()).await.expect("sent");
                answer(&mut stream, &mut buffer).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    // Connections are made and caches warm before anything counts.
    tokio::time::sleep(ROUND / 4).await;
    let (requests, cpu) = (done.load(Ordering::Relaxed), cpu_s(subject.child.id()));
    tokio::time::sleep(ROUND).await;
    let requests = done.load(Ordering::Relaxed) - requests;
    let cpu = cpu_s(subject.child.id()) - cpu;
    stop.store(true, Ordering::Relaxed);
    load.join_all().await;
    requests as f64 / cpu
}

async fn connect(address: SocketAddr) -> TcpStream {
    // haproxy and nginx say nowhere that they listen.
    for _ in 0..500 {
        if let Ok(stream) = TcpStream::connect(address).await {
            stream.set_nodelay(true).expect("an option");
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing listens on {address}");
}

/// Reads one answer, whose body has the length that its head says.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("read");
        assert_ne!(
            read,
            0,
            "closed: {}",
            String::from_utf8_lossy(&buffer[..filled])
        );
        filled += read;
        let text = &buffer[..filled];
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            assert!(
                text.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(text)
            );
            if filled >= end + 4 + BODY.len() {
                return;
            }
        }
    }
}

/// Answers every request with 64 bytes.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 << 10];
                let mut filled = 0;
                let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n".to_vec();
                answer.extend_from_slice(&BODY);
                while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
                    filled += read;
                    if buffer[..filled].ends_with(b"\r\n\r\n") {
                        filled = 0;
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

fn request(headers: &str) -> Arc<str> {
    format!("GET /x HTTP/1.1\r\nhost: bench\r\n{headers}\r\n").into()
}

/// The headers of a client that has been here before.
fn headers(folder: &Path) -> String {
    let keys = KeyRing::single([9; 32]);
    std::fs::write(folder.join("keys"), keys.to_text()).expect("written");
    let token = SessionToken::new(SessionId::from_random([1; 16]), []).sign(&keys);
    let client = ClientId::from_random([2; 16]).sign(&keys);
    format!("selvedge-session: {token}\r\nselvedge-client: {client}\r\n")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn haproxy(folder: &Path, origin: SocketAddr) -> Subject {
    let port = free_port();
    let text = format!(
        "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend f\n bind 127.0.0.1:{port}\n http-request set-header x-request-id %[uuid]\n default_backend b\n\
         backend b\n http-reuse always\n server s {origin}\n"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).expect("written");
    let mut command = Command::new("haproxy");
    command.arg("-f").arg(file).arg("-db");
    plain("haproxy", command, port)
}

fn nginx(folder: &Path, origin: SocketAddr) -> Subject {
    let port = free_port();
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
         fastcgi_temp_path {0}/fcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
         upstream o {{ server {origin}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port}; keepalive_requests 100000000; location / {{ proxy_pass http://o;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header x-request-id $request_id; }} }} }}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).expect("written");
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file);
    plain("nginx", command, port)
}

fn plain(name: &'static str, mut command: Command, port: u16) -> Subject {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Subject {
        name,
        child: child
            .unwrap_or_else(|error| panic!("{name} does not run ({error}); it is in Debian")),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        request: request(""),
    }
}

fn relay(origin: SocketAddr) -> Subject {
    let binary = built(
        &["--package", "selvedge-relay", "--example", "relay"],
        "examples/relay",
    );
    let port = free_port();
    let mut command = Command::new(binary);
    command.args([&format!("127.0.0.1:{port}"), &origin.to_string()]);
    plain("relay alone", command, port)
}

fn gateway(
    folder: &Path,
    durability: &str,
    name: &'static str,
    headers: &Option<String>,
    origin: SocketAddr,
) -> Subject {
    let mut command = selvedge();
    command.args([
        "gateway",
        "--bus-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &format!("http://{origin}"),
    ]);
    serving(folder, command, durability, name, headers)
}

fn sidecar(
    folder: &Path,
    durability: &str,
    name: &'static str,
    headers: &Option<String>,
    origin: SocketAddr,
) -> Subject {
    let mut command = selvedge();
    command.args(["sidecar", "--name", "bench", "--bus", "127.0.0.1:1"]);
    command.args(["--listen", "127.0.0.1:0", "--egress", "127.0.0.1:0"]);
    command.args(["--upstream", &format!("http://{origin}")]);
    serving(folder, command, durability, name, headers)
}

/// Starts a role of the program, and waits until it says where it serves.
fn serving(
    folder: &Path,
    mut command: Command,
    durability: &str,
    name: &'static str,
    headers: &Option<String>,
) -> Subject {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let config = folder.join(format!("{plain}.toml"));
    std::fs::write(
        &config,
        format!("[journal]\ndurability = \"{durability}\"\n"),
    )
    .expect("written");
    command
        .arg("--config")
        .arg(config)
        .arg("--data")
        .arg(folder.join(plain));
    command.arg("--keys").arg(folder.join("keys"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("readable");
    let address = line
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|text| text.parse().ok());
    Subject {
        name,
        child,
        address: address.unwrap_or_else(|| panic!("{name} says {line:?}")),
        request: request(headers.as_deref().unwrap_or("")),
    }
}
