//! Takes one large trace and says how long everything about it takes, and how much memory.
//!
//! ```text
//! cargo run --release -p selvedge-repository --example large -- [SPANS] [CALLERS] [deep]
//! ```
//! The spans come in batches of 512 from that many callers at the same time, as exporters send
//! them: a batch counts once it is durable. `deep` makes a chain, else a tree of twenty children a
//! node. Then the store is asked as the API asks it, over a real socket, and opened again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_bus::{Bus, Hub, HubOptions};
use selvedge_entry::Timestamp;
use selvedge_identity::{Interaction, Origin};
use selvedge_repository::{AdminExtras, Repository, RepositoryOptions, Store, serve};
use selvedge_spans::{Kind, Resource, Scope, Span, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const BATCH: u64 = 512;
const FANOUT: u64 = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let callers: u64 = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let deep = arguments.next().is_some();
    let dir = std::env::temp_dir().join(format!("selvedge-large-{}", std::process::id()));
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let options = RepositoryOptions {
        quiet: Duration::from_secs(3600),
        ..RepositoryOptions::new(&dir)
    };
    let repository = Repository::start(options.clone(), Arc::clone(&bus)).await?;
    let resources: Vec<Arc<Resource>> = (0..10).map(resource).collect();

    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (taker, resources) = (repository.span_taker(), resources.clone());
        tasks.spawn(async move {
            let mut at = caller * BATCH;
            while at < count {
                let batch = (at..count.min(at + BATCH)).map(|n| span(n, deep, &resources));
                let batch = batch.collect();
                taker.take(batch).await.expect("taken");
                at += callers * BATCH;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    let took = begun.elapsed();
    let counts = repository.store().counts();
    let rate = counts.spans as f64 / took.as_secs_f64();
    println!(
        "taken durable    {:>9.2?}  {} spans by {callers} callers, {rate:.0} a second",
        took, counts.spans
    );
    println!("memory           {:>9}", memory());

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let router = repository.router(AdminExtras::default());
    let serving = tokio::spawn(serve(listener, router, std::future::pending()));
    let origin = origin();
    for path in [
        "/api/v1/requests".to_owned(),
        "/api/v1/requests".to_owned(),
        "/api/v1/requests?attribute=item:7&service=service-3".to_owned(),
        "/api/v1/services".to_owned(),
        "/api/v1/dependencies".to_owned(),
        format!("/api/v1/requests/{origin}/diagnosis"),
        format!("/api/v1/requests/{origin}"),
    ] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = vec![0; 15];
        stream.read_exact(&mut head).await?;
        let (mut bytes, mut part) = (head.len(), vec![0; 1 << 16]);
        loop {
            match stream.read(&mut part).await? {
                0 => break,
                read => bytes += read,
            }
        }
        let status = String::from_utf8_lossy(&head[9..12]).into_owned();
        println!(
            "{:>9.2?}  {status}  {bytes:>10} bytes  {path}  memory {}",
            begun.elapsed(),
            memory()
        );
    }
    serving.abort();
    _ = serving.await;
    repository.stop().await;

    let begun = Instant::now();
    let store = Store::open(options.storage, &dir, options.store)?;
    println!(
        "opened again     {:>9.2?}  {} spans",
        begun.elapsed(),
        store.counts().spans
    );
    drop(store);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn origin() -> Origin {
    Origin::new(1_790_000_000_000, [7; 10])
}

fn resource(n: u64) -> Arc<Resource> {
    let mut resource = Resource::default();
    let mut put = |name: &str, value: String| {
        let value = Value::Text(value.into());
        resource.attributes.push((name.into(), value));
    };
    put("service.name", format!("service-{n}"));
    put("service.version", "1.2.3".to_owned());
    put("host.name", format!("host-{n}"));
    put("telemetry.sdk.language", "python".to_owned());
    Arc::new(resource)
}

fn span(n: u64, deep: bool, resources: &[Arc<Resource>]) -> Span {
    let id = |n: u64| Interaction::from_random((n + 1).to_be_bytes());
    let resource = &resources[(n % resources.len() as u64) as usize];
    let scope = Arc::new(Scope::default());
    let mut span = Span::new(origin(), id(n), Arc::clone(resource), scope);
    let parent = match deep {
        true => n.checked_sub(1),
        false => n.checked_sub(1).map(|n| n / FANOUT),
    };
    span.parent = parent.map(id);
    span.kind = Kind::Server;
    span.name = format!("GET /{}", n % 50).into();
    span.start = Some(Timestamp(1_790_000_000_000_000_000 + n as i64 * 1000));
    span.duration_ns = Some(1_000_000);
    let mut put = |name: &str, value: Value| span.attributes.push((name.into(), value));
    put("http.request.method", "GET".into());
    put("http.route", "/{item}".into());
    put("http.response.status_code", Value::Int(200));
    put("url.path", "/things/and/others".into());
    put("item", Value::Int((n % 1000) as i64));
    span
}

/// What the process holds now, and held at most.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.unwrap_or(0)
    };
    format!(
        "{} MiB, at most {} MiB",
        field("VmRSS:") >> 10,
        field("VmHWM:") >> 10
    )
}
