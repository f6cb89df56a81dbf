//! Spreading, failing over, and what the client sees when nothing works.

use std::time::Duration;

use selvedge_gateway::{Policy, UpstreamOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fleet::{Fleet, ask};

#[tokio::test]
async fn round_robin_gives_every_server_its_turn() {
    let fleet = Fleet::new();
    let (a, b, c) = (
        fleet.content("a").await,
        fleet.content("b").await,
        fleet.content("c").await,
    );
    let (gateway, _) = fleet
        .gateway(&[&a, &b, &c], |options| options.policy = Policy::RoundRobin)
        .await;
    for _ in 0..30 {
        ask(gateway.local_addr(), "GET /", &[]).await;
    }
    assert_eq!([a.requests(), b.requests(), c.requests()], [10; 3]);
}

#[tokio::test]
async fn a_dead_server_costs_nothing_but_time() {
    let fleet = Fleet::new();
    let (a, b, c) = (
        fleet.content("a").await,
        fleet.content("b").await,
        fleet.content("c").await,
    );
    for policy in [Policy::RoundRobin, Policy::Random, Policy::LeastLoad] {
        let (gateway, node) = fleet
            .gateway(&[&a, &b, &c], |options| options.policy = policy)
            .await;
        let names: Vec<_> = [&a, &b].iter().map(|content| content.upstream()).collect();
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = dead.local_addr().unwrap();
        drop(dead);
        let mut list = names;
        list.push(UpstreamOptions::named("dead", format!("http://{address}")));
        gateway.set_upstreams(&list).unwrap();
        for i in 0..30 {
            // What was certainly not sent may be repeated, whatever the method.
            let line = ["GET /", "POST /order", "PUT /x"][i % 3];
            let answer = ask(gateway.local_addr(), line, &[]).await;
            assert_eq!(answer.status, 200, "{policy:?} {line}");
        }
        let counts = gateway.metrics().counts();
        let dead = counts.upstreams.iter().find(|u| u.name == "dead").unwrap();
        assert!(dead.unanswered <= 5, "{policy:?}: {counts:?}");
        assert_eq!(dead.unanswered, counts.retries);
        gateway.stop().await;
        node.stop().await;
    }
}

/// A server that takes requests and dies with them.
async fn killer() -> UpstreamOptions {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
        }
    });
    UpstreamOptions::named("killer", format!("http://{address}"))
}

#[tokio::test]
async fn safe_requests_in_flight_on_a_dying_server_go_elsewhere_and_others_are_told() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, node) = fleet
        .gateway(&[], |options| {
            options.policy = Policy::RoundRobin;
            options.health.failures_max = 1000;
        })
        .await;
    gateway
        .set_upstreams(&[killer().await, content.upstream()])
        .unwrap();
    let get = ask(gateway.local_addr(), "GET /", &[]).await;
    assert_eq!((get.status, get.body.as_str()), (200, "a 0"));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(gateway.local_addr(), "POST /order", &[]).await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    let counts = gateway.metrics().counts();
    assert_eq!(counts.retries, 1);
    assert_eq!(counts.own_answers.get(&502), Some(&2));
    gateway.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn a_server_out_by_use_comes_back() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet
        .gateway(&[], |options| {
            options.policy = Policy::RoundRobin;
            options.health.backoff_ms = 1;
            options.health.failures_max = 1;
        })
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let flaky = UpstreamOptions::named("flaky", format!("http://{address}"));
    gateway.set_upstreams(&[flaky, content.upstream()]).unwrap();
    ask(gateway.local_addr(), "GET /", &[]).await;
    let healthy = |gateway: &selvedge_gateway::RunningGateway| gateway.upstreams()[0].healthy;
    assert!(!healthy(&gateway));
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nflaky")
                .await;
        }
    });
    while !healthy(&gateway) {
        assert_eq!(ask(gateway.local_addr(), "GET /", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn a_probe_takes_a_server_out_without_a_request() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.content("a").await, fleet.content("b").await);
    let (gateway, _) = fleet
        .gateway(&[&a, &b], |options| {
            options.policy = Policy::RoundRobin;
            options.health.probe = Some(selvedge_gateway::ProbeOptions {
                interval_ms: 5,
                bad: 1,
                ..Default::default()
            });
        })
        .await;
    b.server.stop(Duration::from_secs(5)).await;
    while gateway.upstreams()[1].healthy {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        assert!(
            ask(gateway.local_addr(), "GET /", &[])
                .await
                .body
                .starts_with('a')
        );
    }
    assert_eq!(gateway.metrics().counts().retries, 0);
}

#[tokio::test]
async fn without_a_server_the_answer_says_which_way_it_failed() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet
        .gateway(&[], |options| {
            options.upstream_limits.answer_timeout_ms = 50;
        })
        .await;
    let address = gateway.local_addr();
    let none = ask(address, "GET /", &[]).await;
    assert_eq!(
        (none.status, none.body.as_str()),
        (503, "503 Service Unavailable\n")
    );
    assert!(
        none.get("selvedge-session").is_some(),
        "the visit has begun all the same"
    );
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    gateway
        .set_upstreams(&[UpstreamOptions::new(format!("http://{gone}"))])
        .unwrap();
    assert_eq!(ask(address, "GET /", &[]).await.status, 502);
    gateway.set_upstreams(&[content.upstream()]).unwrap();
    assert_eq!(ask(address, "GET /slow", &[]).await.status, 504);
    assert_eq!(ask(address, "GET /", &[]).await.status, 200);
    let twice = [content.upstream(), content.upstream()];
    assert!(gateway.set_upstreams(&twice).is_err());
    assert_eq!(gateway.upstreams().len(), 1, "a wrong list changes nothing");
    let text = gateway.metrics().counts().to_prometheus();
    assert!(
        text.contains("selvedge_gateway_own_answers_total{status=\"504\"} 1"),
        "{text}"
    );
    assert!(text.contains("{upstream=\"a\",class=\"2xx\"} 1"), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let fleet = Fleet::new();
    let (gateway, node) = fleet.gateway(&[], |_| ()).await;
    let mut options = crate::fleet::options([]);
    options.listen = vec![gateway.local_addr()];
    let error = selvedge_gateway::Gateway::start(options, node)
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains(&gateway.local_addr().to_string()),
        "{error}"
    );
}
