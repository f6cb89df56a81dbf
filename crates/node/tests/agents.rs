//! The reporting agent of one node on an in-process hub (D7): the last report, and questions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_bus::{Bus, Event, Hub, HubOptions, Subscribe};
use selvedge_entry::{Entry, Fold, Question, Record, Timestamp, Wanted};
use selvedge_identity::{Epoch, KeyRing, ServerName, SessionId, SessionToken};
use selvedge_journal::{EpochStart, read_dir};
use selvedge_node::{AgentMode, AgentOptions, End, Exchange, Inbound, Node, NodeOptions};
use tempfile::TempDir;

struct Fleet {
    folder: TempDir,
    hub: Arc<Hub>,
    keys: KeyRing,
}

impl Fleet {
    /// With a hub that holds next to nothing.
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
            hub: Arc::new(Hub::new(HubOptions {
                ring_bytes: 4096,
                ..HubOptions::default()
            })),
            keys: KeyRing::single([7; 32]),
        }
    }

    async fn start(&self, mode: AgentMode, peers_at_once: bool) -> Node {
        let folder = self.folder.path().join("a");
        let mut options = NodeOptions::new(name(), "content", folder, self.keys.clone());
        options.agent = AgentOptions {
            mode,
            peers_at_once,
        };
        let bus = self.hub.clone();
        Node::start(options, bus).await.expect("started")
    }

    /// Begins a request of a session.
    async fn take(&self, node: &Node, session: u8) -> Exchange {
        let session = SessionId::from_random([session; 16]);
        let token = SessionToken::new(session, []).sign(&self.keys);
        let inbound = Inbound {
            sessions: [token.as_bytes()].into_iter().collect(),
            method: "GET",
            path: "/orders",
            peer: Some([127, 0, 0, 1].into()),
            received: node.now(),
            ..Inbound::default()
        };
        node.take(inbound).await
    }

    /// The entries that the journal's files hold.
    fn on_disk(&self) -> Vec<Entry> {
        let storage = Arc::new(selvedge_journal::DiskStorage);
        let read = read_dir(storage, &self.folder.path().join("a")).expect("readable");
        let records = read.map(|record| {
            let record = record.expect("sound");
            (record.epoch, record.sequence, record.payload)
        });
        entries(records)
    }
}

fn name() -> ServerName {
    ServerName::new("a").expect("valid")
}

fn entries(records: impl Iterator<Item = (Epoch, u64, Bytes)>) -> Vec<Entry> {
    let mut folds: BTreeMap<Epoch, Fold> = BTreeMap::new();
    for (epoch, sequence, payload) in records {
        if EpochStart::decode(&payload).is_some() {
            continue;
        }
        let fold = folds
            .entry(epoch)
            .or_insert_with(|| Fold::new(name(), epoch));
        fold.apply(sequence, Record::decode(&payload).expect("a record"));
    }
    folds.into_values().flat_map(Fold::into_entries).collect()
}

/// Asks page after page: the entries, and how many pages there were.
async fn ask(hub: &Hub, wanted: Wanted) -> (Vec<Entry>, usize) {
    let mut question: Bytes = Question::new(wanted).encode().into();
    let (mut records, mut pages, mut looked) = (Vec::new(), 0, BTreeMap::new());
    loop {
        let page = hub.ask(&name(), question).await.expect("an answer");
        pages += 1;
        for batch in page.batches {
            let epoch = batch.epoch;
            let list = (batch.first..).zip(batch.records);
            records.extend(list.map(|(sequence, record)| (epoch, sequence, record)));
        }
        for part in page.looked {
            let next = looked.insert(part.epoch, part.end).unwrap_or(0);
            assert_eq!(
                next, part.first,
                "no part is left out, none looked at twice"
            );
        }
        assert_eq!(page.gaps, []);
        match page.next {
            Some(next) => question = next,
            None => return (entries(records.into_iter()), pages),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_report_is_taken_before_the_server_leaves_though_the_hub_holds_little() {
    for peers_at_once in [true, false] {
        let fleet = Fleet::new();
        let hour = AgentMode::Period(Duration::from_secs(3600));
        let node = fleet.start(hour, peers_at_once).await;
        let request = Subscribe::oldest("reporter").reports();
        let mut reporter = fleet.hub.subscribe(request).await.expect("subscribed");
        let taking = tokio::spawn(async move {
            let mut records = Vec::new();
            loop {
                match reporter.next().await.expect("the bus goes on") {
                    Event::Batch(batch) => {
                        let epoch = batch.epoch;
                        let list = (batch.first..).zip(batch.records);
                        records.extend(list.map(|(sequence, record)| (epoch, sequence, record)));
                    }
                    Event::Gap { .. } => panic!("nothing is lost"),
                    Event::Left { .. } => return entries(records.into_iter()),
                    Event::Joined { .. } => {}
                }
            }
        });
        for number in 0..200 {
            let exchange = fleet.take(&node, 1 + number % 9).await;
            exchange.answer(200).await;
            exchange.close(End::status(200));
        }
        assert!(node.agent().unreported > 400);
        node.stop().await;
        drop(node);
        let reported = taking.await.expect("it took everything");
        assert_eq!(reported.len(), 200);
        assert_eq!(reported, fleet.on_disk());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_found_whole_over_pages_and_epochs() {
    let fleet = Fleet::new();
    let mut first = None;
    for _run in 0..2 {
        let node = fleet.start(AgentMode::OnDemand, true).await;
        // Long requests: hundreds are open at a time, and end on other pages than they begin on.
        let mut open = std::collections::VecDeque::new();
        for number in 0..6000_u32 {
            let exchange = fleet.take(&node, 1 + (number % 200) as u8).await;
            first.get_or_insert_with(|| exchange.identifier().origin());
            open.push_back(exchange);
            if open.len() > 500
                && let Some(exchange) = open.pop_front()
            {
                exchange.close(End::status(200));
            }
        }
        for exchange in open {
            exchange.close(End::status(200));
        }
        node.stop().await;
    }
    let node = fleet.start(AgentMode::OnDemand, true).await;
    let on_disk = fleet.on_disk();
    assert_eq!(on_disk.len(), 12_000);
    let origin = first.expect("a request");
    let middle = on_disk[6000].opening.at;
    let session = SessionId::from_random([7; 16]);
    for (wanted, entries_least, pages_least) in [
        (Wanted::Origin(origin), 1, 1),
        (Wanted::Session(session), 60, 1),
        (
            Wanted::Between {
                from: middle,
                to: Timestamp(i64::MAX),
            },
            6000,
            2,
        ),
    ] {
        let (found, pages) = ask(&fleet.hub, wanted).await;
        let expected = on_disk.iter().filter(|entry| wanted.holds(&entry.opening));
        let expected: Vec<Entry> = expected.cloned().collect();
        assert!(expected.len() >= entries_least, "{wanted:?}");
        assert!(pages >= pages_least, "{pages} pages for {wanted:?}");
        assert!(found == expected, "{wanted:?}");
    }
    node.stop().await;
}
