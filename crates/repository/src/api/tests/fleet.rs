//! A bus with journals, a repository on it, and a client of its admin port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, Hub, HubOptions, Publisher};
use selvedge_entry::{Direction, Outcome};
use selvedge_identity::Position;
use selvedge_journal::testing::FaultyStorage;
use selvedge_spans::Span;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fixture::{self, Form, Spec, Written};
use crate::{AdminExtras, Repository, RepositoryOptions, StoreOptions, TakenSpans, serve};

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A running repository and its bus.
pub(super) struct Fleet {
    pub(super) hub: Arc<Hub>,
    pub(super) disk: FaultyStorage,
    repository: Option<Repository>,
    address: SocketAddr,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    publishers: Vec<(Arc<MemoryJournal>, Box<dyn Publisher>)>,
}

impl Fleet {
    pub(super) async fn start() -> Self {
        let hub = Arc::new(Hub::new(HubOptions::default()));
        let disk = FaultyStorage::new();
        let mut fleet = Self {
            hub,
            disk,
            repository: None,
            address: ([127, 0, 0, 1], 0).into(),
            serving: None,
            publishers: Vec::new(),
        };
        fleet.open(AdminExtras::default()).await;
        fleet
    }

    /// Starts the repository on what the disk holds.
    pub(super) async fn open(&mut self, extras: AdminExtras) {
        let options = RepositoryOptions {
            dir: "/repository".into(),
            storage: Arc::new(self.disk.clone()),
            store: StoreOptions::default(),
            quiet: Duration::ZERO,
            in_tasks: false,
        };
        let bus: Arc<dyn Bus> = self.hub.clone();
        let repository = Repository::start(options, bus).await.expect("starts");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
        self.address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let router = repository.router(extras);
        let serving = tokio::spawn(serve(listener, router, async { _ = stopped.await }));
        self.repository = Some(repository);
        self.serving = Some((stop, serving));
    }

    pub(super) async fn close(&mut self) {
        let (stop, serving) = self.serving.take().expect("open");
        drop(stop);
        // Its routes hold the store, and the store its folder.
        serving.await.expect("ends");
        self.repository.take().expect("open").stop().await;
    }

    /// A server that has its journal on the bus.
    pub(super) async fn join(&mut self, server: &str) -> usize {
        let journal = Arc::new(MemoryJournal::new(server));
        let publisher = self.hub.join(journal.clone()).await.expect("joins");
        self.publishers.push((journal, publisher));
        self.publishers.len() - 1
    }

    /// Writes entries into a server's journal; their positions.
    pub(super) async fn write(&self, server: usize, specs: &[Spec]) -> Vec<Position> {
        let (journal, publisher) = &self.publishers[server];
        let (epoch, next) = journal.next();
        let written = fixture::records_from(next, specs);
        let batch = journal.append(written.iter().map(Written::bytes));
        let position = |at: u64| Position {
            server: batch.server.clone(),
            epoch,
            sequence: at,
        };
        let openings = written
            .iter()
            .zip(next..)
            .filter(|(written, _)| written.opens());
        let positions = openings.map(|(_, at)| position(at)).collect();
        publisher.announce(batch).await.expect("announced");
        positions
    }

    /// Asks until the answer is as wanted: a repository hears of an entry a moment after the bus.
    pub(super) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let enough = |text: &str| wanted(&serde_json::from_str(text).expect("JSON"));
        let text = self.text_until(path, enough).await;
        serde_json::from_str(&text).expect("JSON")
    }

    /// The same for text.
    pub(super) async fn text_until(&self, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(path).await;
            if answer.status == 200 && wanted(&answer.body) {
                return answer.body;
            }
            assert!(Instant::now() < deadline, "{path} says:\n{}", answer.body);
            tokio::task::yield_now().await;
        }
    }

    /// Hands spans to the repository.
    pub(super) async fn take_spans(&self, spans: Vec<Span>) -> TakenSpans {
        let repository = self.repository.as_ref().expect("open");
        repository.take_spans(spans).await.expect("taken")
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.expect("answers");
        let text = String::from_utf8(text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let head = head.to_ascii_lowercase();
        let body = match head.contains("transfer-encoding: chunked") {
            true => of_chunks(body),
            false => body.to_owned(),
        };
        Answer {
            status: status.expect("a status"),
            head,
            body,
        }
    }
}

/// A body that came in chunks, up to the empty one that ends it.
fn of_chunks(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (length, more) = rest.split_once("\r\n").expect("a chunk");
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            return body;
        }
        body.push_str(&more[..length]);
        rest = &more[length + 2..];
    }
}

/// A visit of three actions: the first, then two that were sent side by side. The second one calls
/// a catalogue, which fails.
pub(super) async fn a_visit(fleet: &mut Fleet) -> Vec<Position> {
    let gateway = fleet.join("gateway").await;
    let one = fleet.join("content-1").await;
    let two = fleet.join("content-2").await;
    let catalogue = fleet.join("catalogue").await;
    let action = |origin: u8, counter, after: &[&Position], at| Spec {
        origin: Some(origin),
        session: Some(1),
        client: Some(1),
        depth: 1,
        stack: vec![origin, origin + 10],
        service: 2,
        action: origin,
        counter: Some(counter),
        after: after.iter().map(|&position| position.clone()).collect(),
        at,
        ..Spec::default()
    };
    let enter = |origin: u8, at| Spec {
        origin: Some(origin),
        session: Some(1),
        client: Some(1),
        stack: vec![origin],
        service: 1,
        action: origin,
        at,
        duration: u64::from(origin) * 10_000_000,
        ..Spec::default()
    };
    let out = |spec: Spec| Spec {
        direction: Direction::Outbound,
        service: 1,
        counter: None,
        after: Vec::new(),
        ..spec
    };
    let first = action(1, 1, &[], 1_000);
    fleet
        .write(gateway, &[enter(1, 900), out(first.clone())])
        .await;
    let mut positions = fleet.write(one, &[first]).await;
    let second = action(2, 2, &[&positions[0]], 2_000);
    let third = Spec {
        outcome: Outcome::Refused,
        flag: true,
        ..action(3, 2, &[&positions[0]], 2_100)
    };
    fleet
        .write(
            gateway,
            &[
                enter(2, 1_900),
                out(second.clone()),
                enter(3, 1_950),
                out(third.clone()),
            ],
        )
        .await;
    let call = Spec {
        depth: 2,
        stack: vec![2, 12, 22],
        direction: Direction::Outbound,
        counter: None,
        after: Vec::new(),
        action: 4,
        at: 2_020,
        outcome: Outcome::Error,
        ..second.clone()
    };
    let mut more = fleet.write(one, &[second, call.clone()]).await;
    positions.push(more.swap_remove(0));
    positions.extend(fleet.write(two, &[third]).await);
    let received = Spec {
        direction: Direction::Inbound,
        service: 3,
        at: 2_050,
        attribute: Some(1),
        form: Form::Whole,
        ..call
    };
    fleet.write(catalogue, &[received]).await;
    positions
}
