//! Broadcasts of a request: actions of the sessions that they address, heads that only those can
//! use, and one record that everybody on the back-end network gets (A10).

use std::sync::Arc;

use bytes::Bytes;
use selvedge_bus::{Bus, Hub, HubOptions};
use selvedge_entry::{Direction, Entry};
use selvedge_identity::{KeyRing, ServerName, SessionId, SessionToken};
use selvedge_node::{
    BroadcastError, Broadcasted, Broadcasts, End, Exchange, Inbound, Node, NodeOptions,
};
use selvedge_transmit::{CONTENT_MAX, Message};
use tempfile::TempDir;

struct Fleet {
    folder: TempDir,
    hub: Arc<Hub>,
    keys: KeyRing,
}

impl Fleet {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
            hub: Arc::new(Hub::new(HubOptions::default())),
            keys: KeyRing::single([7; 32]),
        }
    }

    async fn node(&self, name: &str) -> Node {
        let server = ServerName::new(name).expect("valid");
        let folder = self.folder.path().join(name);
        let options = NodeOptions::new(server, "content", folder, self.keys.clone());
        Node::start(options, self.hub.clone())
            .await
            .expect("started")
    }

    async fn follow(&self) -> Broadcasts {
        let hub: &dyn Bus = &*self.hub;
        let followed = Broadcasts::follow(hub, "test", Vec::new()).await;
        followed.expect("followed")
    }

    /// A session that has been at this node once: its token.
    async fn visit(&self, node: &Node, session: u8) -> String {
        let session = SessionId::from_random([session; 16]);
        let fresh = SessionToken::new(session, []).sign(&self.keys);
        let token = answered(take(node, &[&fresh]).await).await;
        // A server knows its own journal a moment after the client has its answer.
        while node.memory().history(session).is_empty() {
            tokio::task::yield_now().await;
        }
        token
    }
}

async fn take(node: &Node, tokens: &[&str]) -> Exchange {
    let inbound = Inbound {
        sessions: tokens.iter().map(|token| token.as_bytes()).collect(),
        method: "POST",
        path: "/broadcast",
        peer: Some([127, 0, 0, 1].into()),
        ..Inbound::default()
    };
    node.take(inbound).await
}

async fn answered(exchange: Exchange) -> String {
    let answer = exchange.answer(200).await;
    exchange.close(End::status(200));
    answer.session.expect("the session moved on")
}

async fn next(broadcasts: &mut Broadcasts) -> Message {
    match broadcasts.next().await {
        Some(Broadcasted::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn head(message: &Message, session: u8) -> Option<String> {
    let session = SessionId::from_random([session; 16]);
    let sealed = message.broadcast.head_for(session)?;
    Some(sealed.text())
}

/// The action that a request with these tokens was, and all of its session, as `node` has them.
async fn last(node: &Node, tokens: &[&str]) -> (Entry, Vec<Entry>) {
    let exchange = take(node, tokens).await;
    let session = exchange.session().expect("a session");
    let token = answered(exchange).await;
    let token = SessionToken::verify(token.as_bytes(), node.keys()).expect("valid");
    loop {
        // A server knows its own journal a moment after the client has its answer.
        let history = node.memory().history(session);
        let own = |entry: &&Entry| entry.position == token.heads[0].position;
        if let Some(entry) = history.iter().find(own) {
            return (entry.clone(), history);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_addressed_session_goes_on_from_the_head_that_the_broadcast_brings() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.node("a").await, fleet.node("b").await);
    let mut broadcasts = fleet.follow().await;
    let tokens = [fleet.visit(&a, 1).await, fleet.visit(&a, 2).await];
    let exchange = take(&a, &[&tokens[0]]).await;
    let to = [1, 2].map(|n| SessionId::from_random([n; 16]));
    let content = Bytes::from_static(b"goal");
    let sent = exchange.broadcast("goal", "text/plain", content.clone(), &to);
    let sent = sent.await.expect("sent");
    assert_eq!(sent.addressed, 2);
    let message = next(&mut broadcasts).await;
    assert_eq!(message.position, sent.position);
    assert_eq!(message.broadcast.content(), &content);

    // The other session's client sends the head beside the token that it has, to another server.
    let other = head(&message, 2).expect("addressed");
    let (entry, history) = last(&b, &[&tokens[1], &other]).await;
    let goal = history
        .iter()
        .find(|entry| &*entry.opening.action == "goal");
    let goal = goal.expect("an action of its session");
    assert_eq!(goal.opening.direction, Direction::Internal);
    assert_eq!(goal.position.server.as_str(), "a");
    // It follows what the server knew of the session, and the request follows it.
    assert_eq!(goal.opening.after[0].position, history[0].position);
    let after: Vec<_> = entry.opening.after.iter().map(|f| &f.position).collect();
    assert!(after.contains(&&goal.position), "{after:?}");
    assert!(entry.opening.counter > goal.opening.counter);
    // It is linked to the request that caused it, and is no part of that request's tree.
    assert_eq!(goal.opening.call, None);
    assert_eq!(goal.opening.links[0].origin, exchange.identifier().origin());

    // The sender's own is an action of the request.
    answered(exchange.clone()).await;
    let own = head(&message, 1).expect("addressed");
    let (entry, history) = last(&b, &[&tokens[0], &own]).await;
    let goal = history
        .iter()
        .find(|entry| &*entry.opening.action == "goal");
    let goal = goal.expect("an action of its session");
    assert!(goal.opening.call.is_some());
    assert!(
        entry
            .opening
            .after
            .iter()
            .any(|f| f.position == goal.position)
    );
}

#[tokio::test]
async fn a_head_beside_another_sessions_token_is_refused_counted_and_flagged() {
    let fleet = Fleet::new();
    let node = fleet.node("a").await;
    let mut broadcasts = fleet.follow().await;
    let tokens = [fleet.visit(&node, 1).await, fleet.visit(&node, 2).await];
    let exchange = take(&node, &[&tokens[0]]).await;
    let to = [SessionId::from_random([2; 16])];
    let sent = exchange.broadcast("goal", "text/plain", Bytes::new(), &to);
    sent.await.expect("sent");
    let message = next(&mut broadcasts).await;
    assert_eq!(head(&message, 1), None, "not addressed");
    let stolen = head(&message, 2).expect("addressed");
    let (entry, history) = last(&node, &[&tokens[0], &stolen]).await;
    assert_eq!(node.metrics().counts().heads_refused, 1);
    assert!(
        entry
            .opening
            .flags
            .iter()
            .any(|flag| &**flag == "refused_head")
    );
    let of_two = |entry: &&Entry| entry.opening.session == Some(to[0]);
    assert_eq!(history.iter().filter(of_two).count(), 0);
    // Alone it opens nothing.
    let alone = take(&node, &[&stolen]).await;
    assert_eq!(alone.session(), None);
    assert_eq!(node.metrics().counts().heads_refused, 2);
}

#[tokio::test]
async fn who_follows_again_gets_what_came_since_and_nothing_twice() {
    let fleet = Fleet::new();
    let node = fleet.node("a").await;
    let mut broadcasts = fleet.follow().await;
    let exchange = take(&node, &[&fleet.visit(&node, 1).await]).await;
    let send = |text: &'static str| {
        let content = Bytes::from_static(text.as_bytes());
        exchange.broadcast("goal", "text/plain", content, &[])
    };
    send("one").await.expect("sent");
    assert_eq!(&next(&mut broadcasts).await.broadcast.content()[..], b"one");
    let positions = broadcasts.positions();
    drop(broadcasts);
    send("two").await.expect("sent");
    send("three").await.expect("sent");
    let hub: &dyn Bus = &*fleet.hub;
    let mut again = Broadcasts::follow(hub, "test", positions)
        .await
        .expect("followed");
    assert_eq!(&next(&mut again).await.broadcast.content()[..], b"two");
    assert_eq!(&next(&mut again).await.broadcast.content()[..], b"three");
}

#[tokio::test]
async fn what_cannot_be_broadcast_is_refused_before_anything_is_written() {
    let fleet = Fleet::new();
    let node = fleet.node("a").await;
    let exchange = take(&node, &[&fleet.visit(&node, 1).await]).await;
    let long = Bytes::from(vec![0; CONTENT_MAX + 1]);
    let refused = exchange.broadcast("goal", "text/plain", long, &[]).await;
    assert!(
        matches!(refused, Err(BroadcastError::Form(_))),
        "{refused:?}"
    );
    assert_eq!(node.metrics().counts().broadcasts, 0);
    node.stop().await;
    let late = exchange.broadcast("goal", "text/plain", Bytes::new(), &[]);
    assert_eq!(late.await, Err(BroadcastError::NotWritten));
}
