//! The gateway's own place in the call tree.

use selvedge_entry::{Direction, Opening, Outcome, Record};
use selvedge_gateway::{Gateway, Policy, UpstreamOptions};
use tokio::net::TcpListener;

use crate::fleet::{Fleet, ask, options};

pub(crate) fn flags(record: &Record) -> Vec<String> {
    opening(record).map_or_else(Vec::new, |opening| {
        opening.flags.iter().map(ToString::to_string).collect()
    })
}

fn opening(record: &Record) -> Option<&Opening> {
    match record {
        Record::Opening(opening) | Record::Whole(opening, _) => Some(opening),
        _ => None,
    }
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_request_is_a_root_and_each_attempt_an_interaction_of_its_own() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, node) = fleet
        .gateway(&[], |options| options.policy = Policy::RoundRobin)
        .await;
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let gone = UpstreamOptions::named("gone", format!("http://{gone}"));
    gateway.set_upstreams(&[gone, content.upstream()]).unwrap();
    let answer = ask(gateway.local_addr(), "GET /page?q=1", &[]).await;
    assert_eq!(answer.status, 200);
    gateway.stop().await;
    node.stop().await;
    let records = fleet.records("gateway");
    let whole: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Whole(opening, closing) => Some((opening, closing)),
            _ => None,
        })
        .collect();
    assert_eq!(whole.len(), 3, "{records:?}");
    let of = |direction| whole.iter().filter(move |(o, _)| o.direction == direction);
    let (root, end) = of(Direction::Inbound).next().unwrap();
    let identifier = &root.call.as_ref().unwrap().identifier;
    assert_eq!(identifier.depth(), 0);
    assert!(root.session.is_some() && root.client.is_some() && root.counter.is_none());
    assert_eq!((end.status, end.outcome), (200, Outcome::Ok));
    assert_eq!(end.response_bytes, 3);
    let attempts: Vec<_> = of(Direction::Outbound).collect();
    assert_eq!(attempts.len(), 2);
    let calls: Vec<_> = attempts
        .iter()
        .map(|(o, _)| o.call.as_ref().unwrap())
        .collect();
    for call in &calls {
        assert_eq!(call.identifier.origin(), identifier.origin());
        assert_eq!(call.identifier.depth(), 1);
        assert_eq!(call.identifier.stack()[0], identifier.own());
    }
    assert_ne!(calls[0].interaction, calls[1].interaction);
    assert_eq!(calls[0].peer.as_deref(), Some("gone"));
    assert_eq!(attempts[0].1.outcome, Outcome::Error);
    assert!(attempts[0].1.error.is_some());
    assert_eq!(attempts[1].1.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_trace_is_continued_from_trusted_sources_and_linked_from_others() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, node) = fleet.gateway(&[&content], |_| ()).await;
    ask(gateway.local_addr(), "GET /", &[("traceparent", TRACE)]).await;
    gateway.stop().await;
    node.stop().await;
    let records = fleet.records("gateway");
    let origin = "4bf92f3577b34da6a3ce929d0e0e4736";
    for opening in records.iter().filter_map(opening) {
        let call = opening.call.as_ref().unwrap();
        assert_eq!(call.identifier.origin().to_string(), origin);
    }
    assert!(content.seen()[0].contains(&format!("traceparent: 00-{origin}-")));

    let stranger = fleet
        .node("stranger", |options| options.trusted.clear())
        .await;
    let gateway = Gateway::start(options([content.upstream()]), stranger.clone())
        .await
        .unwrap();
    ask(gateway.local_addr(), "GET /", &[("traceparent", TRACE)]).await;
    gateway.stop().await;
    stranger.stop().await;
    let records = fleet.records("stranger");
    let roots: Vec<_> = records.iter().filter_map(opening).collect();
    let root = roots
        .iter()
        .find(|o| o.direction == Direction::Inbound)
        .unwrap();
    assert_ne!(
        root.call.as_ref().unwrap().identifier.origin().to_string(),
        origin
    );
    assert_eq!(root.links.len(), 1);
    assert_eq!(root.links[0].origin.to_string(), origin);
    assert!(!content.seen()[1].contains(origin));
}
