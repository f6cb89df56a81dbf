//! When answers go out, by level, on an in-process hub (B2).

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Hub, HubOptions};
use selvedge_identity::{KeyRing, ServerName, SessionId, SessionToken};
use selvedge_node::{
    Acknowledge, End, Inbound, MemoryOptions, Node, NodeCounts, NodeError, NodeOptions,
};
use tempfile::TempDir;

/// Longer than any test.
const EVER: Duration = Duration::from_secs(3600);

struct Fleet {
    folder: TempDir,
    hub: Arc<Hub>,
    keys: KeyRing,
}

impl Fleet {
    /// Whose bus delivers so late.
    fn new(delay: Duration) -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
            hub: Arc::new(Hub::new(HubOptions {
                delay,
                ..HubOptions::default()
            })),
            keys: KeyRing::single([7; 32]),
        }
    }

    fn options(&self, name: &str, level: &str, longest: Duration) -> NodeOptions {
        let server = ServerName::new(name).expect("valid");
        let folder = self.folder.path().join(name);
        let mut options = NodeOptions::new(server, "content", folder, self.keys.clone());
        options.acknowledge.level = level.parse().expect("a level");
        options.acknowledge.longest = longest;
        options
    }

    async fn start(&self, options: NodeOptions) -> Node {
        let bus = self.hub.clone();
        Node::start(options, bus).await.expect("started")
    }
}

/// Once the network has told of so many peers.
async fn with_peers(node: &Node, count: usize) {
    while node.holders().present != count {
        tokio::task::yield_now().await;
    }
}

fn session(number: u8) -> SessionId {
    SessionId::from_random([number; 16])
}

async fn visit(node: &Node, number: u8) {
    let token = SessionToken::new(session(number), []).sign(node.keys());
    let inbound = Inbound {
        sessions: [token.as_bytes()].into_iter().collect(),
        method: "POST",
        path: "/vote",
        peer: Some([127, 0, 0, 1].into()),
        ..Inbound::default()
    };
    let exchange = node.take(inbound).await;
    let answer = exchange.finish(End::status(200)).await;
    assert!(answer.session.is_some());
}

/// Answers by what they had reached, those short of peers, those that waited in vain.
fn counts(node: &Node) -> [u64; 5] {
    let NodeCounts {
        answers_journal,
        answers_peers,
        answers_bus,
        acknowledgements_short,
        acknowledgements_in_vain,
        ..
    } = node.metrics().counts();
    [
        answers_journal,
        answers_peers,
        answers_bus,
        acknowledgements_short,
        acknowledgements_in_vain,
    ]
}

#[tokio::test]
async fn as_many_peers_as_asked_for_hold_an_effect_before_its_answer_goes_out() {
    let fleet = Fleet::new(Duration::ZERO);
    let node = fleet.start(fleet.options("a", "peers:2", EVER)).await;
    let mut peers = Vec::new();
    for name in ["b", "c"] {
        let options = fleet.options(name, "journal", EVER);
        peers.push(fleet.start(options).await);
    }
    with_peers(&node, 2).await;
    for number in 0..50 {
        visit(&node, number).await;
        for peer in &peers {
            let history = peer.memory().history(session(number));
            assert_eq!(history.len(), 1, "{number} at {}", peer.server());
            assert!(history[0].closing.is_some());
        }
    }
    assert_eq!(counts(&node), [0, 50, 0, 0, 0]);
    let waits = node.metrics().acknowledge_waits();
    assert_eq!(waits.count, 50);
    assert!(waits.sum > 0.0);
    visit(&peers[0], 99).await;
    assert_eq!(counts(&peers[0]), [1, 0, 0, 0, 0]);
    assert_eq!(peers[0].holders().present, 0, "it does not ask");
}

#[tokio::test]
async fn with_fewer_peers_than_asked_for_an_answer_goes_out_and_is_counted() {
    let fleet = Fleet::new(Duration::ZERO);
    let node = fleet.start(fleet.options("a", "peers:2", EVER)).await;
    visit(&node, 1).await;
    assert_eq!(counts(&node), [1, 0, 0, 1, 0]);
    let peer = fleet.start(fleet.options("b", "journal", EVER)).await;
    with_peers(&node, 1).await;
    visit(&node, 2).await;
    assert_eq!(peer.memory().history(session(2)).len(), 1);
    assert_eq!(counts(&node), [2, 0, 0, 2, 0]);
    peer.stop().await;
    with_peers(&node, 0).await;
    visit(&node, 3).await;
    assert_eq!(counts(&node), [3, 0, 0, 3, 0]);
}

#[tokio::test]
async fn an_answer_waits_no_longer_than_it_may_and_is_counted() {
    let fleet = Fleet::new(EVER);
    let longest = Duration::from_millis(20);
    let node = fleet.start(fleet.options("a", "peers:1", longest)).await;
    let _peer = fleet.start(fleet.options("b", "journal", EVER)).await;
    with_peers(&node, 1).await;
    visit(&node, 1).await;
    assert_eq!(counts(&node), [1, 0, 0, 0, 1]);
    assert_eq!(node.metrics().acknowledge_waits().count, 1);
}

#[tokio::test]
async fn a_server_that_keeps_no_entries_is_no_holder() {
    let fleet = Fleet::new(Duration::ZERO);
    let mut options = fleet.options("gateway", "journal", EVER);
    options.memory = MemoryOptions::positions_only();
    let gateway = fleet.start(options).await;
    let node = fleet.start(fleet.options("a", "peers:1", EVER)).await;
    while gateway.metrics().counts().batches_taken == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.holders().present, 0);
}

#[tokio::test]
async fn a_level_that_the_bus_cannot_keep_is_refused_at_the_start() {
    let fleet = Fleet::new(Duration::ZERO);
    let options = fleet.options("a", "bus", EVER);
    assert_eq!(options.acknowledge.level, Acknowledge::Bus);
    let refused = Node::start(options, fleet.hub.clone()).await;
    let Err(error @ NodeError::Acknowledge { .. }) = refused else {
        panic!("it started, or failed otherwise");
    };
    let said = error.to_string();
    assert!(said.contains("\"bus\""), "{said}");
    assert!(said.contains("stores nothing"), "{said}");
}
