//! Identifiers over channels of any kind: what one node sends, another receives, and both sides'
//! entries say the same call.

mod common;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use common::Server;
use proptest::prelude::*;
use selvedge::{Arrival, Batch, Channels as _, End, Exchange, Pairs};
use selvedge_entry::{Direction, Entry, Outcome};
use selvedge_identity::{RequestIdentifier, SessionId, SessionToken};
use selvedge_node::Inbound;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn as_bytes(pairs: &Pairs) -> impl Iterator<Item = (&str, &[u8])> {
    pairs.iter().map(|(key, value)| (*key, value.as_bytes()))
}

fn call(entry: &Entry) -> &selvedge_entry::Call {
    entry.opening.call.as_ref().unwrap()
}

/// A request of a session, as a gateway sends it.
async fn request(server: &Server) -> Exchange {
    let token = SessionToken::new(SessionId::from_random([9; 16]), []).sign(&server.keys);
    let inbound = Inbound {
        sessions: [token.as_bytes()].into_iter().collect(),
        method: "POST",
        path: "/orders",
        peer: Some(LOCAL),
        ..Inbound::default()
    };
    server.node.take(inbound).await
}

#[tokio::test]
async fn a_message_is_one_call_however_often_it_is_received() {
    let sender = Server::start("desk").await;
    let receiver = Server::start("packing").await;
    let exchange = request(&sender).await;
    let sending = exchange.message("orders.new");
    let pairs = sending.pairs();
    let sent = sending.identifier().clone();
    sending.accepted();
    exchange.close(End::status(200));
    for _ in 0..2 {
        let arrival = Arrival::message("orders.new").from(LOCAL);
        let received = arrival.pairs(as_bytes(&pairs)).take(&receiver.node).await;
        assert_eq!(received.identifier(), &sent);
        assert_eq!(received.session(), exchange.session());
        received.finish(End::status(200)).await;
    }
    let out = sender.entries().await;
    let out = out
        .iter()
        .find(|e| e.opening.direction == Direction::Outbound);
    let out = out.unwrap();
    assert_eq!(&*out.opening.action, "SEND orders.new");
    assert_eq!(out.outcome(), Outcome::Ok);
    let deliveries = receiver.entries().await;
    assert_eq!(deliveries.len(), 2);
    for delivery in &deliveries {
        assert_eq!(&*delivery.opening.action, "RECEIVE orders.new");
        assert_eq!(call(delivery).interaction, call(out).interaction);
        assert_eq!(call(delivery).peer.as_deref(), Some("desk"));
        assert_eq!(
            delivery.opening.counter, None,
            "it never advances the session"
        );
    }
}

#[tokio::test]
async fn a_message_from_a_stranger_is_a_new_root_with_a_link_unless_it_is_vouched_for() {
    let server = Server::start("desk").await;
    let exchange = request(&server).await;
    let sending = exchange.message("orders.new");
    let stranger: IpAddr = [203, 0, 113, 7].into();
    let pairs = sending.pairs();
    for (arrival, continued) in [
        (Arrival::message("t").from(stranger), false),
        (Arrival::message("t"), false),
        (Arrival::message("t").vouched(), true),
    ] {
        let received = arrival.pairs(as_bytes(&pairs)).take(&server.node).await;
        let same = received.identifier().origin() == exchange.identifier().origin();
        assert_eq!(same, continued);
        received.close(End::status(200));
    }
    sending.failed("no broker");
    let entries = server.entries().await;
    let linked = entries.iter().filter(|e| !e.opening.links.is_empty());
    assert_eq!(linked.count(), 2);
    let failed = entries
        .iter()
        .find(|e| &*e.opening.action == "SEND orders.new");
    let closing = failed.unwrap().closing.as_ref().unwrap();
    assert_eq!(closing.error.as_deref(), Some("no broker"));
}

#[tokio::test]
async fn a_batch_is_a_root_of_its_own_linked_with_each_of_its_messages() {
    let server = Server::start("reporter").await;
    let mut all = Vec::new();
    for _ in 0..130 {
        let exchange = selvedge::begin(&server.node, "source");
        let sending = exchange.message("orders.new");
        all.push((sending.pairs(), exchange.identifier().origin()));
        sending.accepted();
        exchange.close(End::status(200));
    }
    let arrivals = all.iter().map(|(pairs, _)| {
        let arrival = Arrival::message("orders.new").from(LOCAL);
        arrival.pairs(as_bytes(pairs))
    });
    let batch = Batch::take(&server.node, "report", arrivals.collect()).await;
    let root = batch.identifier().origin();
    assert_eq!(batch.messages().len(), 130);
    batch.close(End {
        error: Some("no paper".to_owned()),
        ..End::default()
    });
    let entries = server.entries().await;
    let of = |action: &str| -> Vec<&Entry> {
        let all = entries.iter();
        all.filter(|e| &*e.opening.action == action).collect()
    };
    let report = of("RUN report")[0];
    assert_eq!(report.opening.links.len(), 128, "the first of them");
    assert_eq!(report.attributes()["messages"], "130");
    let origins: Vec<_> = report
        .opening
        .links
        .iter()
        .map(|link| link.origin)
        .collect();
    let sent: Vec<_> = all.iter().take(128).map(|(_, origin)| *origin).collect();
    assert_eq!(origins, sent);
    let received = of("RECEIVE orders.new");
    assert_eq!(received.len(), 130);
    for message in received {
        assert_eq!(message.opening.links[0].origin, root);
        assert_eq!(message.outcome(), Outcome::Error);
    }
}

#[tokio::test]
async fn an_envelope_carries_the_identifier_and_a_bad_one_is_served_and_flagged() {
    let server = Server::start("ledger").await;
    let exchange = request(&server).await;
    let sending = exchange.sending("ledger", None, "SOAP", "Book");
    let plain =
        "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Body/></e:Envelope>";
    let envelope = sending.soap(plain.as_bytes()).unwrap();
    assert!(sending.soap(b"<!DOCTYPE x>").is_err());
    for (envelope, continued) in [(&*envelope, true), (b"<!DOCTYPE x>", false)] {
        let arrival = Arrival::new("SOAP", "Book").from(LOCAL).soap(envelope);
        let received = arrival.take(&server.node).await;
        assert_eq!(received.identifier() == sending.identifier(), continued);
        received.close(End::status(200));
    }
    sending.accepted();
    let entries = server.entries().await;
    let flagged = entries
        .iter()
        .find(|e| !e.opening.flags.is_empty())
        .unwrap();
    assert_eq!(&*flagged.opening.flags[0], "refused_soap_header");
}

#[tokio::test]
async fn a_message_of_its_own_names_its_request() {
    let server = Server::start("printer").await;
    let exchange = request(&server).await;
    let sending = exchange.sending("printer", Some("127.0.0.1:9"), "PRINT", "kettle");
    let message = sending.separate(b"job-7").unwrap();
    let beside = selvedge::Beside::new(server.node.clone(), selvedge::BesideOptions::default());
    beside.came(message.as_bytes(), LOCAL).unwrap();
    let found = beside.of(b"job-7", Duration::ZERO).await;
    assert_eq!(found.as_ref(), Some(sending.identifier()));
    let arrival = Arrival::new("PRINT", "kettle").from(LOCAL);
    let received = arrival.identifier(found.as_ref()).take(&server.node).await;
    assert_eq!(received.identifier(), sending.identifier());
    assert_eq!(sending.separate(&[b'x'; 193]), None);
    received.close(End::status(200));
    sending.accepted();
}

#[cfg(all(feature = "client", feature = "axum"))]
#[tokio::test]
async fn references_are_found_until_they_are_gone_and_never_fail_a_request() {
    use selvedge::{References, Shelf, reference_store};
    let server = Server::start("printer").await;
    let shelf = std::sync::Arc::new(Shelf::new(1, Duration::from_secs(60)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = reference_store(shelf.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let references = References::new(http.clone(), &url);

    let exchange = request(&server).await;
    let sending = exchange.sending("printer", None, "STORE", "kettle");
    let first = references.put(&sending).await.unwrap().to_string();
    for _ in 0..2 {
        let found = references.get(first.as_bytes()).await;
        assert_eq!(
            found.as_ref(),
            Some(sending.identifier()),
            "a request may come twice"
        );
    }
    // There is room for one.
    references.put(&sending).await.unwrap();
    assert_eq!(references.get(first.as_bytes()).await, None);
    assert_eq!(references.get(b"../../metrics").await, None);
    let put = http.put(format!("{url}selvedge/v1/references/{first}"));
    let refused = put.body("no identifier").send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let put = http.put(format!("{url}selvedge/v1/references/{first}"));
    let refused = put.body("x".repeat(10_000)).send().await.unwrap();
    assert_eq!(refused.status(), 413);
    serving.abort();
    let _ = serving.await;
    assert_eq!(references.put(&sending).await, None);
    assert_eq!(references.get(first.as_bytes()).await, None);
    let counts = references.counts();
    assert_eq!(
        (counts.put, counts.found, counts.gone, counts.failed),
        (2, 2, 2, 2)
    );
    let counts = shelf.counts();
    assert_eq!(
        (counts.put, counts.found, counts.gone, counts.dropped),
        (2, 2, 1, 1)
    );
    sending.accepted();
}

/// What happens to a pair on the way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Shouted,
    Lost,
    Damaged,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Kept),
        1 => Just(Fate::Shouted),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Damaged),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a channel does to the pairs, the request is taken; it belongs to the sender's
    /// tree if the native identifier, or Trace Context, came through, and is a new root else.
    #[test]
    fn what_is_left_of_the_pairs_decides(fates in prop::collection::vec(fate(), 5)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = Server::start("desk").await;
            let exchange = request(&server).await;
            let sending = exchange.message("t");
            let mut came: Vec<(String, String)> = vec![("content-type".into(), "text/plain".into())];
            let mut whole = HashMap::new();
            for ((key, value), fate) in sending.pairs().into_iter().zip(&fates) {
                whole.insert(key, matches!(fate, Fate::Kept | Fate::Shouted));
                match fate {
                    Fate::Kept => came.push((key.to_owned(), value)),
                    Fate::Shouted => came.push((key.to_ascii_uppercase(), value)),
                    Fate::Lost => {}
                    Fate::Damaged => came.push((key.to_owned(), value.replacen(['0', '1', '.'], "\u{1}", 9))),
                }
            }
            let pairs = came.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
            let arrival = Arrival::message("t").from(LOCAL).pairs(pairs);
            let received = arrival.take(&server.node).await;
            let joined = received.identifier().origin() == exchange.identifier().origin();
            let expected = whole["selvedge-request"] || whole["traceparent"];
            assert_eq!(joined, expected, "{fates:?}");
            if whole["selvedge-request"] {
                assert_eq!(received.identifier(), sending.identifier());
            }
            if whole["traceparent"] && whole["tracestate"] {
                let stack = |id: &RequestIdentifier| -> Vec<Vec<u8>> {
                    id.stack().iter().map(|id| id.as_bytes()[..4].to_vec()).collect()
                };
                assert_eq!(stack(received.identifier()), stack(sending.identifier()));
                assert_eq!(received.identifier().depth(), sending.identifier().depth());
            }
            let carried = received.session() == exchange.session();
            assert_eq!(carried, whole["selvedge-carried"], "{fates:?}");
            sending.accepted();
        });
    }
}
