//! The embedded hub over loopback TCP: the contract's tests, and what links promise beyond it.

#[macro_use]
mod acknowledging;
#[macro_use]
mod contract;
mod reader;

use std::net::SocketAddr;
use std::sync::Arc;

use contract::links::{announce_until_refused, announce_until_taken};
use contract::{Harness, name, publish};
use reader::Model;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{
    Bus, BusError, Holders, Hub, HubOptions, LinkOptions, Subscribe, TcpBus, Terms,
};

const KEY: [u8; 32] = [7; 32];

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An address that nobody else takes while the socket is held, listened on or not.
fn reserve() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(anywhere()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn small_ring() -> Hub {
    Hub::new(HubOptions {
        ring_bytes: 64 * 1024,
        ..HubOptions::default()
    })
}

struct Tcp {
    _hub: Hub,
    address: SocketAddr,
}

impl Harness for Tcp {
    async fn start() -> Self {
        let hub = small_ring();
        let address = hub.listen(anywhere(), KEY).await.unwrap();
        Self { _hub: hub, address }
    }

    async fn link(&self, name: &str) -> Arc<dyn Bus> {
        Arc::new(TcpBus::connect(self.address, KEY, name).await.unwrap())
    }
}

contract_tests!(Tcp);
link_tests!(Tcp);
acknowledging_tests!(Tcp);

/// Some links in the hub's process, some over TCP: `up` with sidecars of their own.
struct Mixed(Tcp);

impl Harness for Mixed {
    async fn start() -> Self {
        Self(Tcp::start().await)
    }

    async fn link(&self, name: &str) -> Arc<dyn Bus> {
        if name.len().is_multiple_of(2) {
            Arc::new(self.0._hub.clone())
        } else {
            self.0.link(name).await
        }
    }
}

mod mixed {
    use super::Mixed;
    contract_tests!(Mixed);
    acknowledging_tests!(Mixed);
}

#[tokio::test]
async fn a_link_survives_restarts_of_the_hub_and_nothing_is_lost() {
    let hub = small_ring();
    let (_reserved, address) = reserve();
    hub.listen(address, KEY).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = TcpBus::connect(address, KEY, "a").await.unwrap();
    let publisher = owner.join(journal.clone()).await.unwrap();
    let follower = TcpBus::connect(address, KEY, "b").await.unwrap();
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    publish(&journal, &*publisher, 1000).await;
    model.catch_up(&mut reader, &journal).await;

    let mut hub = hub;
    for _ in 0..3 {
        hub.stop().await;
        // Announced to nobody: the journal keeps it.
        publish(&journal, &*publisher, 500).await;
        model.until(&mut reader, |m| m.present.is_empty()).await;
        hub = small_ring();
        hub.listen(address, KEY).await.unwrap();
        model.catch_up(&mut reader, &journal).await;
        publish(&journal, &*publisher, 100).await;
        model.catch_up(&mut reader, &journal).await;
    }
    assert_eq!(model.count(&journal), 1 + 1000 + 3 * 600);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
    assert!(owner.metrics().links >= 4, "{:?}", owner.metrics());
}

#[tokio::test]
async fn while_the_hub_is_away_nobody_is_known_to_hold_anything_and_then_it_is_told_again() {
    let hub = small_ring();
    let (_reserved, address) = reserve();
    hub.listen(address, KEY).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    journal.set_terms(Terms {
        holders: 1,
        ..Terms::default()
    });
    let owner = TcpBus::connect(address, KEY, "a").await.unwrap();
    let publisher = owner.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 100).await;
    let follower = TcpBus::connect(address, KEY, "b").await.unwrap();
    let holding = Subscribe::oldest("b").holds(name("b"));
    let mut reader = follower.subscribe(holding).await.unwrap();
    tokio::spawn(async move { while reader.next().await.is_some() {} });
    let held = Holders {
        present: 1,
        to: Some(journal.next()),
    };
    let told = async |wanted: Holders| {
        while journal.holders() != wanted {
            tokio::task::yield_now().await;
        }
    };
    told(held).await;
    hub.stop().await;
    told(Holders::default()).await;
    let hub = small_ring();
    hub.listen(address, KEY).await.unwrap();
    told(held).await;
}

#[tokio::test]
async fn an_owner_that_crashed_while_the_hub_was_down_comes_back_whole() {
    let hub = small_ring();
    let (_reserved, address) = reserve();
    hub.listen(address, KEY).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let first = journal.next().0;
    let follower = TcpBus::connect(address, KEY, "b").await.unwrap();
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    {
        let owner = TcpBus::connect(address, KEY, "a").await.unwrap();
        let publisher = owner.join(journal.clone()).await.unwrap();
        publish(&journal, &*publisher, 100).await;
        model.catch_up(&mut reader, &journal).await;
        hub.stop().await;
        publish(&journal, &*publisher, 100).await;
    }
    journal.begin_epoch();
    let hub = small_ring();
    hub.listen(address, KEY).await.unwrap();
    let owner = TcpBus::connect(address, KEY, "a").await.unwrap();
    let publisher = owner.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.held(&journal, first).records.len(), 201);
    assert_eq!(model.count(&journal), 201 + 11);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

#[tokio::test]
async fn a_bus_started_before_its_hub_connects_once_it_is_there() {
    let (_reserved, address) = reserve();
    let bus = TcpBus::start(address, KEY, "early", LinkOptions::default()).unwrap();
    let mut reader = bus.subscribe(Subscribe::oldest("early")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    journal.append_numbered(10);
    let hub = small_ring();
    let listening = async {
        tokio::task::yield_now().await;
        hub.listen(address, KEY).await.unwrap();
    };
    let (publisher, ()) = tokio::join!(bus.join(journal.clone()), listening);
    let publisher = publisher.unwrap();
    publish(&journal, &*publisher, 10).await;
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 21);
}

#[tokio::test]
async fn a_name_taken_while_the_hub_was_down_is_told_to_the_former_owner_until_it_is_free() {
    let hub = small_ring();
    let (_reserved, address) = reserve();
    hub.listen(address, KEY).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = TcpBus::connect(address, KEY, "a").await.unwrap();
    let publisher = owner.join(journal.clone()).await.unwrap();
    hub.stop().await;
    let hub = small_ring();
    let other = hub.join(Arc::new(MemoryJournal::new("a"))).await.unwrap();
    hub.listen(address, KEY).await.unwrap();
    let error = announce_until_refused(&journal, &*publisher).await;
    assert!(
        matches!(&error, BusError::NameTaken { owner, .. } if owner == "this process"),
        "{error}"
    );
    drop(other);
    announce_until_taken(&journal, &*publisher).await;
    let mut reader = hub.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    model
        .until(&mut reader, |m| m.present.contains_key(&name("a")))
        .await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_counted() {
    let hub = Hub::default();
    let address = hub.listen(anywhere(), KEY).await.unwrap();
    let error = TcpBus::connect(address, [8; 32], "stranger")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, BusError::Refused { reason, .. } if reason == "wrong key"),
        "{error}"
    );
    let metrics = hub.metrics();
    assert_eq!((metrics.links_refused, metrics.links), (1, 0));
}

#[tokio::test]
async fn the_same_program_takes_its_name_over_from_a_dead_link_of_its_own() {
    // The hub does not notice that the first link is dead: a proxy keeps it open.
    let hub = small_ring();
    let address = hub.listen(anywhere(), KEY).await.unwrap();
    let proxy = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let through = proxy.local_addr().unwrap();
    let (cut, mut cutting) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let mut dead = Vec::new();
        loop {
            let (mut near, _) = proxy.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cutting.recv() => dead.push(far),
            }
        }
    });
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = TcpBus::connect(through, KEY, "a").await.unwrap();
    let publisher = owner.join(journal.clone()).await.unwrap();
    let mut reader = hub.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    publish(&journal, &*publisher, 10).await;
    model.catch_up(&mut reader, &journal).await;
    cut.send(()).await.unwrap();
    while owner.metrics().links < 2 {
        tokio::task::yield_now().await;
    }
    journal.append_numbered(10);
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 21);
    assert_eq!(hub.metrics().names_refused, 0);
    assert!(hub.journals()[0].present);
    assert_eq!(hub.journals()[0].server, name("a"));
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_only_its_window() {
    let hub = small_ring();
    let address = hub.listen(anywhere(), KEY).await.unwrap();
    let bus = TcpBus::connect(address, KEY, "slow").await.unwrap();
    let mut slow = bus.subscribe(Subscribe::oldest("slow")).await.unwrap();
    let mut fast = hub.subscribe(Subscribe::oldest("fast")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let (mut of_slow, mut of_fast) = (Model::default(), Model::default());
    publish(&journal, &*publisher, 1).await;
    of_slow.catch_up(&mut slow, &journal).await;
    for _ in 0..20 {
        publish(&journal, &*publisher, 10_000).await;
        of_fast.catch_up(&mut fast, &journal).await;
    }
    // About 5 MB were announced, the window is 1 MiB: part of it cannot have been sent.
    let sent = hub.metrics().delivered - of_fast.count(&journal) as u64;
    assert!(
        sent < 100_000,
        "{sent} records went to a reader that does not read"
    );
    of_slow.catch_up(&mut slow, &journal).await;
    assert_eq!(of_slow.count(&journal), 200_002);
    assert_eq!((of_slow.missing(), of_slow.duplicates), (0, 0));
}

#[tokio::test]
async fn a_stopped_link_ends_its_subscriptions_and_frees_its_names() {
    let hub = small_ring();
    let address = hub.listen(anywhere(), KEY).await.unwrap();
    let bus = TcpBus::connect(address, KEY, "a").await.unwrap();
    let mut reader = bus.subscribe(Subscribe::oldest("a")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    let mut watching = hub.subscribe(Subscribe::oldest("hub")).await.unwrap();
    let mut model = Model::default();
    model
        .until(&mut watching, |m| m.present.contains_key(&name("a")))
        .await;
    bus.stop();
    while reader.next().await.is_some() {}
    let error = publisher
        .announce(journal.append_numbered(1))
        .await
        .unwrap_err();
    assert!(matches!(error, BusError::Closed), "{error}");
    model.until(&mut watching, |m| m.present.is_empty()).await;
}
