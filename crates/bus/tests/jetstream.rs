//! The bus over NATS JetStream, with a real nats-server: the contract's tests, and what it promises
//! beyond them.
#![cfg(feature = "jetstream")]

#[macro_use]
mod contract;
mod reader;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use contract::links::{announce_until_refused, announce_until_taken};
use contract::{Harness, name, publish};
use reader::Model;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, BusError, JetStreamBus, JetStreamOptions, Source, Subscribe};
use selvedge_identity::Position;
use selvedge_nats::Nats;

const KEY: [u8; 32] = [7; 32];

/// JetStream keeps 64 KiB, as the hubs' rings of the suite do, and so does each process.
fn small(nats: &Nats) -> JetStreamOptions {
    JetStreamOptions {
        retain_bytes: 64 * 1024,
        ring_bytes: 64 * 1024,
        message_bytes: 8 * 1024,
        ..options(nats)
    }
}

fn options(nats: &Nats) -> JetStreamOptions {
    JetStreamOptions {
        heartbeat: Duration::from_millis(50),
        ..JetStreamOptions::new(vec![nats.url()])
    }
}

async fn connect(options: JetStreamOptions, name: &str) -> JetStreamBus {
    JetStreamBus::connect(options, KEY, name).await.unwrap()
}

/// A place in the epoch that a journal writes.
fn position(journal: &MemoryJournal, sequence: u64) -> Position {
    Position {
        server: journal.server(),
        epoch: journal.next().0,
        sequence,
    }
}

struct JetStream(Nats);

impl Harness for JetStream {
    async fn start() -> Self {
        Self(Nats::start())
    }

    async fn link(&self, name: &str) -> Arc<dyn Bus> {
        Arc::new(connect(small(&self.0), name).await)
    }
}

contract_tests!(JetStream);
link_tests!(JetStream);

#[tokio::test]
async fn a_wrong_password_or_key_changes_nothing() {
    let nats = Nats::with("authorization { user: fleet, password: secret }");
    let refused = JetStreamBus::connect(options(&nats), KEY, "stranger").await;
    let error = refused.expect_err("no password");
    assert!(
        error.to_string().to_lowercase().contains("authorization"),
        "{error}"
    );
    let url = format!("nats://fleet:secret@{}", nats.address());
    let of_fleet = JetStreamOptions {
        servers: vec![url],
        ..options(&nats)
    };
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = connect(of_fleet.clone(), "a").await;
    let publisher = owner.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;

    // A stranger who has got the password, but not the key: it owns nothing that others follow.
    let stranger = JetStreamBus::connect(of_fleet.clone(), [8; 32], "stranger").await;
    let stranger = stranger.unwrap();
    let forged = Arc::new(MemoryJournal::new("b"));
    let forging = stranger.join(forged.clone()).await.unwrap();
    publish(&forged, &*forging, 10).await;
    // Nor is it told anything by the owner.
    assert!(stranger.ask(&name("a"), "1".into()).await.is_err());

    let follower = connect(of_fleet, "c").await;
    let mut reader = follower.subscribe(Subscribe::oldest("c")).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    while follower.metrics().refused < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(model.count(&journal), 11);
    assert!(!model.present.contains_key(&name("b")));
    assert!(!model.journals.contains_key(&name("b")));
    assert!(!format!("{follower:?}").contains("secret"));
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_over_kills_of_the_server() {
    let mut nats = Nats::start();
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = connect(options(&nats), "a").await;
    let publisher = owner.join(journal.clone()).await.unwrap();
    let follower = connect(options(&nats), "b").await;
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    publish(&journal, &*publisher, 1000).await;
    model.catch_up(&mut reader, &journal).await;
    for _ in 0..3 {
        // Some of it may be under way.
        publish(&journal, &*publisher, 100).await;
        nats.kill();
        model.until(&mut reader, |m| m.present.is_empty()).await;
        // Announced to nobody: the journal keeps it, and it is published on the server's return.
        publish(&journal, &*publisher, 500).await;
        nats.back();
        model.catch_up(&mut reader, &journal).await;
        publish(&journal, &*publisher, 100).await;
        model.catch_up(&mut reader, &journal).await;
    }
    assert_eq!(model.count(&journal), 1 + 1000 + 3 * 700);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
    assert!(owner.metrics().connections >= 4, "{:?}", owner.metrics());
    // All of it is with JetStream now, whatever happens to the owner.
    owner.stop().await;
    let reads = journal.reads();
    let request = Subscribe::oldest("c").from(vec![position(&journal, 1)]);
    let late = connect(options(&nats), "c").await;
    let mut reader = late.subscribe(request).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 1000 + 3 * 700);
    assert_eq!(journal.reads(), reads, "the owner was not asked");
}

#[tokio::test]
async fn what_jetstream_keeps_is_read_without_its_owner() {
    let nats = Nats::start();
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = connect(options(&nats), "a").await;
    let publisher = owner.join(journal.clone()).await.unwrap();
    for _ in 0..50 {
        publish(&journal, &*publisher, 100).await;
    }
    let reads = journal.reads();
    owner.stop().await;
    drop(publisher);
    // The ring of this one holds nearly nothing: it reads back, in the stream.
    let small = JetStreamOptions {
        ring_bytes: 1024,
        ..options(&nats)
    };
    let follower = connect(small, "b").await;
    let (_, end) = journal.next();
    for from in [1, 17, 2500, 4999] {
        let request = Subscribe::oldest("b").from(vec![position(&journal, from)]);
        let mut reader = follower.subscribe(request).await.unwrap();
        let mut model = Model::default();
        model.catch_up(&mut reader, &journal).await;
        assert_eq!(model.count(&journal) as u64, end - from);
        assert_eq!((model.missing(), model.duplicates), (0, 0));
    }
    assert_eq!(journal.reads(), reads, "the owner was not asked");
    assert!(follower.metrics().stream_reads > 0);
}

#[tokio::test]
async fn a_name_taken_while_nats_was_away_is_told_to_the_former_owner_until_it_is_free() {
    let nats = Nats::start();
    let proxy = Proxy::start(nats.address()).await;
    let through = JetStreamOptions {
        servers: vec![format!("nats://{}", proxy.address)],
        idle_max: Duration::from_millis(300),
        ..options(&nats)
    };
    let journal = Arc::new(MemoryJournal::new("a"));
    let former = connect(through, "former").await;
    let publisher = former.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    let watching = connect(options(&nats), "c").await;
    let mut reader = watching.subscribe(Subscribe::oldest("c")).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    proxy.cut();

    let twin = Arc::new(MemoryJournal::new("a"));
    let other = connect(options(&nats), "other").await;
    let taken = other.join(twin.clone()).await.unwrap();
    proxy.mend();
    let error = announce_until_refused(&journal, &*publisher).await;
    assert!(matches!(error, BusError::NameTaken { .. }), "{error}");
    drop(taken);
    announce_until_taken(&journal, &*publisher).await;
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal) as u64, journal.next().1);
}

#[tokio::test]
async fn what_is_under_way_of_a_former_owner_cannot_come_after_a_claim() {
    let nats = Nats::start();
    let proxy = Proxy::start(nats.address()).await;
    let through = JetStreamOptions {
        servers: vec![format!("nats://{}", proxy.address)],
        ..options(&nats)
    };
    let journal = Arc::new(MemoryJournal::new("a"));
    let former = connect(through, "former").await;
    let publisher = former.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    // What it sends now is held up on the way, and it does not know.
    proxy.hold();
    publish(&journal, &*publisher, 100).await;

    // Its successor, of the same journal: the process was restarted elsewhere.
    let successor = JetStreamOptions {
        answer_max: Duration::from_millis(500),
        ..options(&nats)
    };
    let successor = connect(successor, "successor").await;
    let second = successor.join(journal.clone()).await.unwrap();
    journal.begin_epoch();
    publish(&journal, &*second, 50).await;
    proxy.mend();
    publish(&journal, &*second, 50).await;
    let follower = connect(options(&nats), "b").await;
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 1 + 110 + 1 + 100);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

#[tokio::test]
async fn an_owner_is_told_what_jetstream_has_stored_and_no_more() {
    let nats = Nats::start();
    let proxy = Proxy::start(nats.address()).await;
    let through = JetStreamOptions {
        servers: vec![format!("nats://{}", proxy.address)],
        ..options(&nats)
    };
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = connect(through, "a").await;
    assert!(owner.tells().stored);
    let publisher = owner.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 100).await;
    while journal.stored_to() != Some(journal.next()) {
        tokio::task::yield_now().await;
    }
    let stored = journal.next();
    proxy.hold();
    publish(&journal, &*publisher, 100).await;
    assert_eq!(journal.stored_to(), Some(stored));
    proxy.mend();
    while journal.stored_to() != Some(journal.next()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_announcement_waits_while_jetstream_does_not_acknowledge() {
    let nats = Nats::start();
    let proxy = Proxy::start(nats.address()).await;
    let through = JetStreamOptions {
        servers: vec![format!("nats://{}", proxy.address)],
        window_bytes: 16 * 1024,
        message_bytes: 4 * 1024,
        ..options(&nats)
    };
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = connect(through, "a").await;
    let publisher = owner.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 100).await;
    proxy.hold();
    let mut announced = 0;
    loop {
        let announcing = publisher.announce(journal.append_numbered(50));
        tokio::pin!(announcing);
        // Whatever else can go on has so many turns to make room. What is left waits, and is read
        // from the journal.
        let mut turns = 0..1000;
        let taken = loop {
            let polled = poll_fn(|context| Poll::Ready(announcing.as_mut().poll(context)));
            match polled.await {
                Poll::Ready(taken) => break Some(taken),
                Poll::Pending if turns.next().is_none() => break None,
                Poll::Pending => tokio::task::yield_now().await,
            }
        };
        let Some(taken) = taken else { break };
        taken.unwrap();
        announced += 1;
        // The window, and a message under way: a batch of these is more than 1 KiB.
        assert!(announced < 16 + 4, "{announced} batches were taken");
    }
    proxy.mend();
    let follower = connect(options(&nats), "b").await;
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

/// A way to NATS that can be cut, or held up.
struct Proxy {
    address: std::net::SocketAddr,
    way: tokio::sync::watch::Sender<Way>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing passes; connections stand.
    Held,
    /// Connections are cut, and new ones too.
    Cut,
}

impl Proxy {
    async fn start(to: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = tokio::sync::watch::Sender::new(Way::Open);
        let (to, watching) = (to.to_owned(), way.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = tokio::net::TcpStream::connect(&to).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, watching.clone()));
                tokio::spawn(pass(far_read, near_write, watching.clone()));
            }
        });
        Self { address, way }
    }

    fn hold(&self) {
        self.way.send_replace(Way::Held);
    }

    fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    fn mend(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: tokio::sync::watch::Receiver<Way>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            Ok(_) = way.wait_for(|way| *way == Way::Cut) => return,
            read = from.read(&mut bytes) => read,
        };
        let Ok(count @ 1..) = read else { return };
        match way.wait_for(|way| *way != Way::Held).await {
            Ok(way) if *way == Way::Open => {}
            _ => return,
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
