//! Nodes of one fleet on an in-process hub: what a session is on several servers (A1, A2, A9, B2,
//! E6).

mod state;

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Hub, HubOptions};
use selvedge_entry::{Direction, Entry, Outcome};
use selvedge_identity::{ClientId, KeyRing, ServerName, SessionId, SessionToken};
use selvedge_journal::read_dir;
use selvedge_node::{End, Inbound, Node, NodeOptions, WaitOptions};
use tempfile::TempDir;

struct Fleet {
    folder: TempDir,
    hub: Arc<Hub>,
    keys: KeyRing,
}

impl Fleet {
    fn new() -> Self {
        Self::delayed(Duration::ZERO)
    }

    fn delayed(delay: Duration) -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
            hub: Arc::new(Hub::new(HubOptions {
                delay,
                ..HubOptions::default()
            })),
            keys: KeyRing::single([7; 32]),
        }
    }

    fn options(&self, name: &str) -> NodeOptions {
        let server = ServerName::new(name).expect("valid");
        let folder = self.folder.path().join(name);
        let mut options = NodeOptions::new(server, "content", folder, self.keys.clone());
        options.wait.longest = Duration::from_secs(60);
        options
    }

    async fn start(&self, name: &str) -> Node {
        self.start_with(self.options(name)).await
    }

    async fn start_with(&self, options: NodeOptions) -> Node {
        Node::start(options, self.hub.clone())
            .await
            .expect("started")
    }

    fn fresh_token(&self) -> String {
        let session = SessionId::from_random([9; 16]);
        SessionToken::new(session, []).sign(&self.keys)
    }
}

/// One request with these tokens; returns the answer's token.
async fn visit(node: &Node, tokens: &[&str]) -> String {
    let exchange = node.take(inbound(tokens)).await;
    let answer = exchange.answer(200).await;
    exchange.close(End::status(200));
    answer.session.expect("the session moved on")
}

fn inbound<'a>(tokens: &[&'a str]) -> Inbound<'a> {
    Inbound {
        sessions: tokens.iter().map(|token| token.as_bytes()).collect(),
        method: "GET",
        path: "/orders?page=2",
        peer: Some([127, 0, 0, 1].into()),
        ..Inbound::default()
    }
}

/// What `node` holds of the session once it holds what `token` proves.
async fn seen(node: &Node, token: &str) -> Vec<Entry> {
    let exchange = node.take(inbound(&[token])).await;
    let mut history = exchange.history().into_actions();
    history.retain(|entry| entry.effect.is_some());
    history
}

fn session(fleet: &Fleet, token: &str) -> SessionId {
    SessionToken::verify(token.as_bytes(), &fleet.keys)
        .expect("valid")
        .session
}

fn counters(entries: &[Entry]) -> Vec<u64> {
    entries.iter().filter_map(|e| e.opening.counter).collect()
}

#[tokio::test]
async fn a_session_goes_on_in_order_on_whichever_server_takes_it() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let mut token = fleet.fresh_token();
    for node in [&a, &b, &b, &a, &b] {
        token = visit(node, &[&token]).await;
    }
    let session = session(&fleet, &token);
    let history = seen(&a, &token).await;
    assert_eq!(counters(&history), [1, 2, 3, 4, 5]);
    for (before, entry) in history.iter().zip(&history[1..]) {
        let after: Vec<_> = entry.opening.after.iter().map(|f| &f.position).collect();
        assert_eq!(after, [&before.position]);
    }
    assert!(history.iter().all(|e| e.opening.session == Some(session)));
    assert!(history.iter().all(|e| e.opening.unseen.is_empty()));
}

#[tokio::test]
async fn requests_that_did_not_know_of_each_other_both_become_heads() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let first = visit(&a, &[&fleet.fresh_token()]).await;
    let left = visit(&a, &[&first]).await;
    let right = visit(&b, &[&first]).await;
    let joined = visit(&b, &[&left, &right]).await;
    let token = SessionToken::verify(joined.as_bytes(), &fleet.keys).expect("valid");
    assert_eq!(token.heads.len(), 1);
    let history = seen(&b, &joined).await;
    let last = history.last().expect("not empty");
    assert_eq!(last.opening.after.len(), 2);
    assert!(last.opening.counter > history[2].opening.counter);
}

#[tokio::test]
async fn an_order_placed_on_one_server_is_seen_by_the_next_request_on_any_other() {
    let fleet = Fleet::delayed(Duration::from_millis(20));
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let token = visit(&a, &[&fleet.fresh_token()]).await;
    let exchange = b.take(inbound(&[&token])).await;
    assert_eq!(
        exchange.history().actions().len(),
        1,
        "it waited for the bus"
    );
    assert_eq!(b.metrics().counts().waits_in_time, 1);
}

#[tokio::test]
async fn a_wait_in_vain_is_recorded_and_paid_for_once() {
    let fleet = Fleet::delayed(Duration::from_millis(400));
    let mut options = fleet.options("b");
    options.wait = WaitOptions {
        longest: Duration::from_millis(10),
        ..WaitOptions::default()
    };
    let (a, b) = (fleet.start("a").await, fleet.start_with(options).await);
    let first = visit(&a, &[&fleet.fresh_token()]).await;
    let second = visit(&b, &[&first]).await;
    let third = visit(&b, &[&second]).await;
    let history = seen(&b, &third).await;
    assert_eq!(b.metrics().counts().waits_in_vain, 1);
    let head = SessionToken::verify(first.as_bytes(), &fleet.keys).expect("valid");
    assert_eq!(history[0].opening.unseen, [head.heads[0].position.clone()]);
    assert!(history[1].opening.unseen.is_empty());
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_left() {
    let fleet = Fleet::delayed(Duration::from_secs(3600));
    let mut options = fleet.options("b");
    options.wait.longest = Duration::from_secs(3600);
    let (a, b) = (fleet.start("a").await, fleet.start_with(options).await);
    let token = visit(&a, &[&fleet.fresh_token()]).await;
    a.stop().await;
    let exchange = b.take(inbound(&[&token])).await;
    assert!(exchange.history().actions().is_empty());
}

#[tokio::test]
async fn a_restarted_server_holds_its_own_and_its_peers_history_and_repeats_no_counter() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let first = visit(&a, &[&fleet.fresh_token()]).await;
    let second = visit(&b, &[&first]).await;
    a.stop().await;
    drop(a);
    let a = fleet.start("a").await;
    // The first token again: a fork, which must not get the counter that the first run gave.
    let fork = visit(&a, &[&fleet.fresh_token()]).await;
    let joined = visit(&a, &[&second, &fork]).await;
    let history = seen(&a, &joined).await;
    assert_eq!(history.len(), 4);
    let mut ids: Vec<_> = history.iter().filter_map(Entry::ordering).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn actions_of_one_request_have_ordering_ids_of_their_own() {
    let fleet = Fleet::new();
    let a = fleet.start("a").await;
    let fresh = fleet.fresh_token();
    let exchange = a.take(inbound(&[&fresh])).await;
    exchange.action("reserve").finish();
    exchange.action("charge").fail("card refused");
    let token = exchange.answer(200).await.session.expect("a token");
    exchange.close(End::status(200));
    let verified = SessionToken::verify(token.as_bytes(), &fleet.keys).expect("valid");
    assert_eq!(
        verified.heads.len(),
        1,
        "the last action follows the others"
    );
    assert_eq!(verified.heads[0].counter, 3);
    let history = seen(&a, &token).await;
    let names: Vec<&str> = history.iter().map(|e| &*e.opening.action).collect();
    assert_eq!(names, ["GET /orders", "reserve", "charge"]);
    assert_eq!(history[2].outcome(), Outcome::Error);
    assert_eq!(history[2].opening.after[0].position, history[1].position);
}

#[tokio::test]
async fn forged_tokens_are_counted_and_trusted_into_no_session() {
    let fleet = Fleet::new();
    let a = fleet.start("a").await;
    let token = fleet.fresh_token();
    let mut forged = token.clone();
    forged.replace_range(0..1, if token.starts_with('0') { "1" } else { "0" });
    let exchange = a.take(inbound(&[&forged, "what"])).await;
    assert_eq!(exchange.session(), None);
    assert_eq!(exchange.answer(200).await.session, None);
    let counts = a.metrics().counts();
    assert_eq!((counts.tokens_forged, counts.tokens_malformed), (1, 1));
}

#[tokio::test]
async fn a_deeper_server_carries_the_session_and_advances_it_only_by_actions() {
    let fleet = Fleet::new();
    let (front, deep) = (fleet.start("front").await, fleet.start("deep").await);
    let fresh = fleet.fresh_token();
    let exchange = front.take(inbound(&[&fresh])).await;

    let call = exchange.call(Some("stock"), None, "POST", "/reserve");
    let headers = call.headers(true);
    let carried = headers.carried.expect("there is a session");
    let deeper = Inbound {
        carried: Some(carried.as_bytes()),
        headers: selvedge_identity::carrier::Headers {
            request: Some(headers.request.as_bytes()),
            ..Default::default()
        },
        ..inbound(&[])
    };
    let inner = deep.take(deeper).await;
    assert_eq!(inner.session(), exchange.session());
    assert_eq!(
        inner.identifier().depth(),
        exchange.identifier().depth() + 1
    );
    assert_eq!(inner.identifier().origin(), exchange.identifier().origin());
    inner.action("reserved").finish();
    let answer = inner
        .answer(200)
        .await
        .session
        .expect("an action was recorded");
    inner.close(End::status(200));
    call.answered(answer.as_bytes());
    call.close(End::status(200));

    let token = exchange.answer(200).await.session.expect("a token");
    let verified = SessionToken::verify(token.as_bytes(), &fleet.keys).expect("valid");
    let heads: Vec<_> = verified
        .heads
        .iter()
        .map(|h| h.position.server.as_str())
        .collect();
    assert_eq!(
        heads,
        ["deep"],
        "the deeper action follows the request's own"
    );
}

#[tokio::test]
async fn one_journal_holds_only_its_own_servers_entries_and_short_ones_as_one_record() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let client = ClientId::from_random([3; 16]);
    let exchange = a.enter(&inbound(&[]), None, Some(client));
    exchange.close(End::status(404));
    visit(&b, &[&fleet.fresh_token()]).await;
    a.stop().await;
    let storage = selvedge_journal::DiskStorage;
    let records: Vec<_> = read_dir(Arc::new(storage), &fleet.folder.path().join("a"))
        .expect("readable")
        .map(|record| record.expect("sound"))
        .collect();
    assert!(records.iter().all(|r| r.server.as_str() == "a"));
    let entry = selvedge_entry::Record::decode(&records[1].payload).expect("a record");
    let selvedge_entry::Record::Whole(opening, closing) = entry else {
        panic!("expected a whole record, got {entry:?}");
    };
    assert_eq!(opening.direction, Direction::Inbound);
    assert_eq!(opening.client, Some(client));
    assert_eq!(&*opening.action, "GET /orders");
    assert_eq!(closing.outcome, Outcome::Refused);
    assert_eq!(records.len(), 2);
}
