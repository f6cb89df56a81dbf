//! The bus: entries from one publisher to three subscribers, in process, over loopback TCP and
//! over NATS JetStream, beside what others do with the same bytes in the same run.
//!
//! Beside the embedded bus stands a plain relay: the same bytes over as many sockets, copied by a
//! loop that neither checks, parses, bounds nor remembers anything. Beside our bus over JetStream
//! stands raw JetStream: the same bytes in messages of the same size, published and consumed with
//! NATS's own client. JetStream syncs before it acknowledges (`sync_interval: always`).
//!
//! *Throughput.* A run counts as done when all three subscribers have every record. Making the
//! records is not timed. The publisher announces as fast as it may; in process that means unpaced,
//! so the subscribers also read from the journal what fell out of the ring.
//!
//! *Latency.* At half of the rate that is asked for, in batches as a journal's commits make them,
//! one each 250 µs: from when a batch was due to when a subscriber has it, each record and each
//! subscriber counted, so that a publisher that lags behind counts, too.

#[path = "bus/jetstream.rs"]
mod jetstream;
#[path = "bus/latency.rs"]
mod latency;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Batch, Bus, Event, Hub, Publisher, Subscribe, Subscription, TcpBus};
use selvedge_nats::Nats;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use self::latency::{Latencies, Pace};

const SUBSCRIBERS: usize = 3;
const RECORD: usize = 100;
const ROUNDS: usize = 3;
const KEY: [u8; 32] = [1; 32];

/// What is asked for, in records a second: latency is measured at half of it.
const ASKED_IN_PROCESS: usize = 1_000_000;
const ASKED_OVER_TCP: usize = 300_000;
const ASKED_OVER_JETSTREAM: usize = 200_000;
/// The 99th percentile of the latency that is asked for, at half of these.
const ASKED_MS: f64 = 2.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("bus, {RECORD}-byte records/s to {SUBSCRIBERS} subscribers (best of {ROUNDS})");
    println!(
        "{:<22}{:>14}{:>14}{:>14}",
        "", "in process", "loopback TCP", "plain relay"
    );
    for (batch, count) in [(1, 100_000), (10, 500_000), (100, 1_000_000)] {
        let inside = millions(count, || runtime.block_on(in_process(count, batch)));
        let tcp = millions(count, || runtime.block_on(over_tcp(count, batch)));
        let plain = millions(count, || runtime.block_on(plain(count, batch)));
        println!(
            "{:<22}{inside:>12.2} M{tcp:>12.2} M{plain:>12.2} M",
            format!("batches of {batch}")
        );
        println!(
            "| bus to {SUBSCRIBERS} subscribers, batches of {batch}: entries/s in process; over TCP | {inside:.2} M; {tcp:.2} M | plain TCP relay {plain:.2} M | {:.2}; {:.2} |",
            inside / plain,
            tcp / plain
        );
    }
    over_jetstream(&runtime);
    latencies(&runtime);
}

fn over_jetstream(runtime: &tokio::runtime::Runtime) {
    let (count, batch) = (1_000_000, 100);
    let nats = Nats::start();
    let ours = millions(count, || {
        runtime.block_on(jetstream::ours(&nats, count, batch))
    });
    let raw = millions(count, || runtime.block_on(jetstream::raw(&nats, count)));
    println!("over JetStream {ours:.2} M, raw JetStream {raw:.2} M");
    println!(
        "| bus over JetStream to {SUBSCRIBERS} subscribers, batches of {batch}, synced: entries/s | {ours:.2} M | raw JetStream, the same bytes in messages of {} KiB {raw:.2} M | {:.2} |",
        jetstream::MESSAGE / 1024,
        ours / raw
    );
}

fn latencies(runtime: &tokio::runtime::Runtime) {
    println!("latency at half of the asked rate: p50; p99");
    let rows: [(&str, usize, Latencies); 5] = {
        let pace = |asked: usize| Pace::of(asked / 2);
        let inside = runtime.block_on(paced_in_process(pace(ASKED_IN_PROCESS)));
        let tcp = runtime.block_on(paced_over_tcp(pace(ASKED_OVER_TCP)));
        let plain = runtime.block_on(paced_plain(pace(ASKED_OVER_TCP)));
        let nats = Nats::start();
        let ours = runtime.block_on(jetstream::paced_ours(&nats, pace(ASKED_OVER_JETSTREAM)));
        let raw = runtime.block_on(jetstream::paced_raw(&nats, pace(ASKED_OVER_JETSTREAM)));
        [
            ("in process", ASKED_IN_PROCESS, inside),
            ("over TCP", ASKED_OVER_TCP, tcp),
            ("plain TCP relay", ASKED_OVER_TCP, plain),
            ("over JetStream", ASKED_OVER_JETSTREAM, ours),
            ("raw JetStream", ASKED_OVER_JETSTREAM, raw),
        ]
    };
    for (way, asked, latencies) in &rows {
        println!("{way:<18} at {:>7}/s: {latencies}", asked / 2);
    }
    for (way, asked, latencies) in &rows[..2] {
        let plain = &rows[2].2;
        println!(
            "| bus {way} at {} entries/s: p50; p99 | {latencies} | asked for: p99 of {ASKED_MS} ms; plain TCP relay at {}/s {plain} | {:.2} |",
            asked / 2,
            ASKED_OVER_TCP / 2,
            latencies.p99_ms() / ASKED_MS
        );
    }
    let (ours, raw) = (&rows[3].2, &rows[4].2);
    println!(
        "| bus over JetStream, synced, at {} entries/s: p50; p99 | {ours} | raw JetStream {raw} | {:.2} |",
        ASKED_OVER_JETSTREAM / 2,
        ours.p99_ms() / raw.p99_ms()
    );
}

/// Millions of records a second, in the best round.
fn millions(count: usize, run: impl Fn() -> Duration) -> f64 {
    let best = (0..ROUNDS).map(|_| run()).min().unwrap_or_default();
    count as f64 / best.as_secs_f64() / 1e6
}

async fn in_process(count: usize, batch: usize) -> Duration {
    let hub = Hub::default();
    run(of_hub(&hub), count, batch).await
}

async fn paced_in_process(pace: Pace) -> Latencies {
    let hub = Hub::default();
    paced(of_hub(&hub), pace).await
}

async fn over_tcp(count: usize, batch: usize) -> Duration {
    let hub = Hub::default();
    let time = run(linked(&hub).await, count, batch).await;
    hub.stop().await;
    time
}

async fn paced_over_tcp(pace: Pace) -> Latencies {
    let hub = Hub::default();
    let latencies = paced(linked(&hub).await, pace).await;
    hub.stop().await;
    latencies
}

/// The publisher's bus, and the subscribers'.
type Buses = (Arc<dyn Bus>, Vec<Arc<dyn Bus>>);

fn of_hub(hub: &Hub) -> Buses {
    let followers = (0..SUBSCRIBERS).map(|_| Arc::new(hub.clone()) as Arc<dyn Bus>);
    (Arc::new(hub.clone()), followers.collect())
}

async fn linked(hub: &Hub) -> Buses {
    let address = hub.listen(anywhere(), KEY).await.expect("listening");
    let mut buses: Vec<Arc<dyn Bus>> = Vec::new();
    for n in 0..=SUBSCRIBERS {
        let bus = TcpBus::connect(address, KEY, &format!("bench-{n}")).await;
        buses.push(Arc::new(bus.expect("connected")));
    }
    (buses.remove(0), buses)
}

/// One publisher, whose journal this is, and its subscribers.
async fn joined(
    (owner, followers): Buses,
) -> (Arc<MemoryJournal>, Box<dyn Publisher>, Vec<Subscription>) {
    let journal = Arc::new(MemoryJournal::new("bench"));
    let publisher = owner.join(journal.clone()).await.expect("joined");
    let mut readers = Vec::new();
    for bus in &followers {
        let subscription = bus.subscribe(Subscribe::now("bench")).await;
        readers.push(subscription.expect("subscribed"));
    }
    (journal, publisher, readers)
}

async fn run(buses: Buses, count: usize, batch: usize) -> Duration {
    let (journal, publisher, readers) = joined(buses).await;
    let batches: Vec<Batch> = (0..count / batch)
        .map(|_| journal.append(records(batch)))
        .collect();
    let begun = Instant::now();
    let reading: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(drain(reader, count as u64 + 1)))
        .collect();
    for batch in batches {
        publisher.announce(batch).await.expect("announced");
    }
    for reading in reading {
        reading.await.expect("read");
    }
    begun.elapsed()
}

/// Batches of records at a pace.
async fn paced(buses: Buses, pace: Pace) -> Latencies {
    let (journal, publisher, readers) = joined(buses).await;
    let begun = pace.begin();
    let reading: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            tokio::spawn(async move {
                let mut latencies = Latencies::new(begun);
                while let Some(event) = reader.next().await {
                    if let Event::Batch(batch) = event
                        && latencies.came(batch.end() as usize - 1)
                    {
                        break;
                    }
                }
                latencies
            })
        })
        .collect();
    begun
        .drive(async |count| {
            let batch = journal.append(records(count));
            publisher.announce(batch).await.expect("announced");
        })
        .await;
    Latencies::of_all(reading).await
}

fn records(count: usize) -> impl Iterator<Item = Bytes> {
    (0..count).map(|_| Bytes::from(vec![b'x'; RECORD]))
}

/// Reads up to the sequence `end`.
async fn drain(mut subscription: Subscription, end: u64) {
    while let Some(event) = subscription.next().await {
        if let Event::Batch(batch) = event
            && batch.end() >= end
        {
            return;
        }
    }
}

/// Writer, relay, readers: the same records, framed by a length each.
async fn plain(count: usize, batch: usize) -> Duration {
    let chunk = chunk(batch);
    let total = count / batch * chunk.len();
    let (mut writer, readers) = relay().await;
    let begun = Instant::now();
    let reading: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(read(reader, move |seen| seen >= total)))
        .collect();
    for _ in 0..count / batch {
        writer.write_all(&chunk).await.expect("written");
    }
    for reading in reading {
        reading.await.expect("read");
    }
    begun.elapsed()
}

async fn paced_plain(pace: Pace) -> Latencies {
    let (mut writer, readers) = relay().await;
    let begun = pace.begin();
    let reading = readers.into_iter().map(|reader| {
        tokio::spawn(async move {
            let mut latencies = Latencies::new(begun);
            read(reader, |seen| latencies.came(seen / (RECORD + 4))).await;
            latencies
        })
    });
    let reading = reading.collect();
    let chunk = chunk(pace.batch);
    begun
        .drive(async |_| writer.write_all(&chunk).await.expect("written"))
        .await;
    Latencies::of_all(reading).await
}

fn chunk(batch: usize) -> Vec<u8> {
    vec![b'x'; batch * (RECORD + 4)]
}

/// A running relay: who writes to it, and who reads from it.
async fn relay() -> (TcpStream, Vec<TcpStream>) {
    let listener = TcpListener::bind(anywhere()).await.expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut readers = Vec::new();
    let mut out = Vec::new();
    for _ in 0..SUBSCRIBERS {
        readers.push(TcpStream::connect(address).await.expect("connected"));
        let (stream, _) = listener.accept().await.expect("accepted");
        stream.set_nodelay(true).expect("an option");
        out.push(stream);
    }
    let writer = TcpStream::connect(address).await.expect("connected");
    writer.set_nodelay(true).expect("an option");
    let (mut inbound, _) = listener.accept().await.expect("accepted");
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = inbound.read(&mut buffer).await {
            for stream in &mut out {
                stream.write_all(&buffer[..read]).await.expect("written");
            }
        }
    });
    (writer, readers)
}

/// Reads until so many bytes are enough.
async fn read(mut stream: TcpStream, mut enough: impl FnMut(usize) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    let mut seen = 0;
    while !enough(seen) {
        seen += stream.read(&mut buffer).await.expect("read");
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
