//! The bus: records a second from one publisher to three subscribers, in process and over loopback
//! TCP, beside a plain relay in the same run: the same bytes over as many sockets, copied by a
//! loop that neither checks, parses, bounds nor remembers anything.
//!
//! A run counts as done when all three subscribers have every record. Making the records is not
//! timed. The publisher announces as fast as it may; in process that means unpaced, so the
//! subscribers also read from the journal what fell out of the ring.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Batch, Bus, Event, Hub, Subscribe, Subscription, TcpBus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SUBSCRIBERS: usize = 3;
const RECORD: usize = 100;
const ROUNDS: usize = 3;
const KEY: [u8; 32] = [1; 32];

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
        let millions = |run: &dyn Fn() -> Duration| {
            let best = (0..ROUNDS).map(|_| run()).min().unwrap_or_default();
            count as f64 / best.as_secs_f64() / 1e6
        };
        let inside = millions(&|| runtime.block_on(in_process(count, batch)));
        let tcp = millions(&|| runtime.block_on(over_tcp(count, batch)));
        let plain = millions(&|| runtime.block_on(plain(count, batch)));
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
}

async fn in_process(count: usize, batch: usize) -> Duration {
    let hub = Hub::default();
    let buses = (0..SUBSCRIBERS).map(|_| Arc::new(hub.clone()) as Arc<dyn Bus>);
    run(Arc::new(hub.clone()), buses.collect(), count, batch).await
}

async fn over_tcp(count: usize, batch: usize) -> Duration {
    let hub = Hub::default();
    let address = hub.listen(anywhere(), KEY).await.expect("listening");
    let mut buses: Vec<Arc<dyn Bus>> = Vec::new();
    for n in 0..=SUBSCRIBERS {
        let bus = TcpBus::connect(address, KEY, &format!("bench-{n}")).await;
        buses.push(Arc::new(bus.expect("connected")));
    }
    let publisher = buses.remove(0);
    let time = run(publisher, buses, count, batch).await;
    hub.stop().await;
    time
}

async fn run(
    owner: Arc<dyn Bus>,
    followers: Vec<Arc<dyn Bus>>,
    count: usize,
    batch: usize,
) -> Duration {
    let journal = Arc::new(MemoryJournal::new("bench"));
    let publisher = owner.join(journal.clone()).await.expect("joined");
    let mut readers = Vec::new();
    for bus in &followers {
        let subscription = bus.subscribe(Subscribe::now("bench")).await;
        readers.push(subscription.expect("subscribed"));
    }
    let batches: Vec<Batch> = (0..count / batch)
        .map(|_| journal.append((0..batch).map(|_| Bytes::from(vec![b'x'; RECORD]))))
        .collect();
    let begun = Instant::now();
    let reading: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(drain(reader, count as u64 + 1)))
        .collect();
    for batch in batches {
        publisher.announce(batch).await.expect("announced");
    }
    for reader in reading {
        reader.await.expect("read");
    }
    begun.elapsed()
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
    let chunk = vec![b'x'; batch * (RECORD + 4)];
    let total = count / batch * chunk.len();
    let listener = TcpListener::bind(anywhere()).await.expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut readers = Vec::new();
    let mut out = Vec::new();
    for _ in 0..SUBSCRIBERS {
        readers.push(TcpStream::connect(address).await.expect("connected"));
        out.push(listener.accept().await.expect("accepted").0);
    }
    let mut writer = TcpStream::connect(address).await.expect("connected");
    let (mut inbound, _) = listener.accept().await.expect("accepted");
    let begun = Instant::now();
    let reading: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(count_bytes(reader, total)))
        .collect();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = inbound.read(&mut buffer).await {
            for stream in &mut out {
                stream.write_all(&buffer[..read]).await.expect("written");
            }
        }
    });
    for _ in 0..count / batch {
        writer.write_all(&chunk).await.expect("written");
    }
    for reader in reading {
        reader.await.expect("read");
    }
    begun.elapsed()
}

async fn count_bytes(mut stream: TcpStream, total: usize) {
    let mut buffer = vec![0; 64 * 1024];
    let mut seen = 0;
    while seen < total {
        seen += stream.read(&mut buffer).await.expect("read");
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
