//! Sessions and clients: who gets what, and that nobody gets another's.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use selvedge_identity::{ClientId, KeyRing, SessionId, SessionToken};

use crate::fleet::{Fleet, Jar, ask};

#[tokio::test]
async fn a_program_keeps_its_session_over_all_servers_by_one_header() {
    let fleet = Fleet::new();
    let servers = [fleet.content("a").await, fleet.content("b").await];
    let (gateway, _) = fleet
        .gateway(&[&servers[0], &servers[1]], |options| {
            options.policy = selvedge_gateway::Policy::RoundRobin;
        })
        .await;
    let first = ask(gateway.local_addr(), "GET /", &[]).await;
    assert_eq!(first.status, 200);
    let client = first.get("selvedge-client").unwrap().to_owned();
    let mut token = first.get("selvedge-session").unwrap().to_owned();
    let session = SessionToken::verify(token.as_bytes(), &fleet.keys)
        .unwrap()
        .session;
    for counter in 2..8 {
        let fields = [
            ("selvedge-session", token.as_str()),
            ("Selvedge-Client", &client),
        ];
        let answer = ask(gateway.local_addr(), "GET /x", &fields).await;
        assert!(answer.all("set-cookie").is_empty());
        assert!(answer.get("selvedge-client").is_none());
        token = answer.get("selvedge-session").unwrap().to_owned();
        let read = SessionToken::verify(token.as_bytes(), &fleet.keys).unwrap();
        assert_eq!(read.session, session);
        assert_eq!(read.heads.len(), 1);
        assert_eq!(read.heads[0].counter, counter);
    }
    assert_eq!((servers[0].requests(), servers[1].requests()), (4, 3));
    let counts = gateway.metrics().counts();
    assert_eq!(counts.sessions_fresh.get("new"), Some(&1));
    assert_eq!(counts.clients_fresh.get("new"), Some(&1));
}

#[tokio::test]
async fn a_browser_keeps_its_session_by_cookies_that_servers_never_see() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet.gateway(&[&content], |_| ()).await;
    let first = ask(gateway.local_addr(), "GET /", &[("Cookie", "theme=dark")]).await;
    assert!(
        first.get("selvedge-session").is_some(),
        "it may be a program, too"
    );
    let set = first.all("set-cookie");
    assert_eq!(set.len(), 2, "{set:?}");
    let name = &jar_name(set[0]);
    assert_eq!(name.len(), 8, "sv and six characters: {set:?}");
    assert!(
        set[0].ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{set:?}"
    );
    let mut jar = Jar::default();
    jar.take(&first);
    let cookies = format!("theme=dark; {}", jar.field());
    let second = ask(gateway.local_addr(), "GET /", &[("Cookie", &cookies)]).await;
    assert!(second.get("selvedge-session").is_none());
    assert!(second.get("selvedge-client").is_none());
    let set = second.all("set-cookie");
    assert_eq!(set.len(), 2, "{set:?}");
    assert_ne!(jar_name(set[0]), *name, "no name is used twice");
    assert!(
        set[1].starts_with(&format!("{name}=; Max-Age=0")),
        "what it followed is cleared: {set:?}"
    );
    jar.take(&second);
    jar.take(&ask(gateway.local_addr(), "GET /", &[("Cookie", &jar.field())]).await);
    assert_eq!(jar.tokens().len(), 1);
    let token = SessionToken::verify(jar.tokens()[0].1.as_bytes(), &fleet.keys).unwrap();
    assert_eq!(token.heads[0].counter, 3);
    let seen = content.seen();
    assert!(
        seen.iter()
            .all(|seen| !seen.contains(name) && !seen.contains("svc"))
    );
    assert!(seen[1].contains("cookie: theme=dark\n"), "{}", seen[1]);
    assert!(!seen[2].to_lowercase().contains("cookie"), "{}", seen[2]);
    assert!(seen[2].contains("selvedge-session: "));
    assert!(seen[2].contains("selvedge-caller: gateway\n"));
}

#[tokio::test]
async fn several_heads_go_on_as_one_token_and_all_their_cookies_are_cleared() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet.gateway(&[&content], |_| ()).await;
    let first = ask(gateway.local_addr(), "GET /", &[]).await;
    let mut jar = Jar::default();
    jar.take(&first);
    let cookies = jar.field();
    let left = ask(gateway.local_addr(), "GET /left", &[("Cookie", &cookies)]).await;
    let right = ask(gateway.local_addr(), "GET /right", &[("Cookie", &cookies)]).await;
    jar.take(&left);
    jar.take(&right);
    assert_eq!(jar.tokens().len(), 2, "both heads are kept side by side");
    jar.take(
        &ask(
            gateway.local_addr(),
            "GET /both",
            &[("Cookie", &jar.field())],
        )
        .await,
    );
    assert_eq!(jar.tokens().len(), 1, "one head follows both");
    let seen = content.seen().pop().unwrap();
    let lines: Vec<_> = seen
        .lines()
        .filter(|l| l.starts_with("selvedge-session"))
        .collect();
    let token = lines[0].split_once(": ").unwrap().1;
    assert_eq!(lines.len(), 1);
    let token = SessionToken::verify(token.as_bytes(), &fleet.keys).unwrap();
    assert_eq!(token.heads.len(), 2);
}

#[tokio::test]
async fn what_does_not_hold_opens_a_fresh_session_and_is_counted() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, node) = fleet.gateway(&[&content], |_| ()).await;
    let session = SessionId::from_random([1; 16]);
    let client = ClientId::from_random([2; 16]);
    let strangers = KeyRing::single([8; 32]);
    let forged = SessionToken::new(session, []).sign(&strangers);
    let forged_client = client.sign(&strangers);
    let fields = [
        ("selvedge-session", forged.as_str()),
        ("selvedge-client", &forged_client),
    ];
    let answer = ask(gateway.local_addr(), "GET /", &fields).await;
    assert_eq!(answer.status, 200);
    let token = answer.get("selvedge-session").unwrap();
    assert_ne!(
        SessionToken::verify(token.as_bytes(), &fleet.keys)
            .unwrap()
            .session,
        session
    );
    let given = answer.get("selvedge-client").unwrap();
    assert_ne!(
        ClientId::verify(given.as_bytes(), &fleet.keys).unwrap(),
        client
    );
    let damaged = ask(
        gateway.local_addr(),
        "GET /",
        &[("Cookie", "sv333333=garbage; svc=x")],
    )
    .await;
    let set = damaged.all("set-cookie");
    assert!(
        set.iter()
            .any(|set| set.starts_with("sv333333=; Max-Age=0")),
        "{set:?}"
    );
    assert_eq!(set.len(), 3, "a fresh session: {set:?}");
    assert!(set.iter().any(|set| set.starts_with("svc=")), "{set:?}");
    let long = "x".repeat(9000);
    ask(
        gateway.local_addr(),
        "GET /",
        &[("selvedge-session", &long)],
    )
    .await;
    let counts = gateway.metrics().counts();
    assert_eq!(counts.sessions_fresh.get("forged"), Some(&1));
    assert_eq!(counts.sessions_fresh.get("malformed"), Some(&1));
    assert_eq!(counts.sessions_fresh.get("oversized"), Some(&1));
    assert_eq!(counts.clients_fresh.get("refused"), Some(&2));
    gateway.stop().await;
    node.stop().await;
    let flags: Vec<String> = fleet
        .records("gateway")
        .iter()
        .flat_map(crate::tracking::flags)
        .collect();
    assert!(flags.contains(&"forged_token".to_owned()), "{flags:?}");
    assert!(flags.contains(&"malformed_token".to_owned()), "{flags:?}");
}

#[tokio::test]
async fn clients_cannot_say_what_only_servers_say() {
    let fleet = Fleet::new();
    let content = fleet.content("a").await;
    let (gateway, _) = fleet.gateway(&[&content], |_| ()).await;
    let token = SessionToken::new(SessionId::from_random([1; 16]), []).sign(&fleet.keys);
    let fields = [
        ("selvedge-carried", token.as_str()),
        ("SELVEDGE-CALLER", "bank"),
        ("selvedge-request", "nonsense"),
        ("tracestate", "sv=nonsense"),
        ("Connection", "selvedge-session, selvedge-request"),
    ];
    let answer = ask(gateway.local_addr(), "GET /", &fields).await;
    assert_eq!(answer.status, 200);
    let seen = content.seen().pop().unwrap();
    assert!(!seen.contains("selvedge-carried"), "{seen}");
    assert!(!seen.contains("bank"), "{seen}");
    assert!(!seen.contains("nonsense"), "{seen}");
    for name in [
        "selvedge-session",
        "selvedge-client",
        "selvedge-request",
        "traceparent",
    ] {
        assert_eq!(
            seen.matches(&format!("{name}: ")).count(),
            1,
            "{name} in {seen}"
        );
    }
}

#[tokio::test]
async fn a_server_that_knows_nothing_of_sessions_still_gets_visitors_with_one() {
    let fleet = Fleet::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    struct Plain;
    impl selvedge_relay::Handler for Plain {
        async fn handle(&self, _: selvedge_relay::Request) -> selvedge_relay::Response {
            let mut response = selvedge_relay::Response::text(200, "plain");
            response.head.fields.append("selvedge-session", "made up");
            response
        }
    }
    let limits = selvedge_relay::Limits::default();
    let _server = selvedge_relay::Server::start(listener, Plain.into(), limits).unwrap();
    let (gateway, _) = fleet
        .gateway(&[], |options| {
            options.upstreams = vec![selvedge_gateway::UpstreamOptions::new(format!(
                "http://{plain}"
            ))];
        })
        .await;
    let first = ask(gateway.local_addr(), "GET /", &[]).await;
    let mut jar = Jar::default();
    jar.take(&first);
    assert!(first.get("selvedge-session").unwrap().contains('.'));
    let second = ask(gateway.local_addr(), "GET /", &[("Cookie", &jar.field())]).await;
    assert!(
        second.all("set-cookie").is_empty(),
        "nothing moved, nothing is cleared"
    );
    assert!(second.get("selvedge-session").is_none());
}

/// Every token that an answer put into the jar is carried by a later request, or still there.
#[tokio::test]
async fn a_browser_with_eight_requests_at_once_loses_no_head() {
    let fleet = Fleet::new();
    let servers = [fleet.content("a").await, fleet.content("b").await];
    let (gateway, _) = fleet.gateway(&[&servers[0], &servers[1]], |_| ()).await;
    let address = gateway.local_addr();
    let mut jar = Jar::default();
    jar.take(&ask(address, "GET /", &[]).await);
    let jar = Arc::new(Mutex::new(jar));
    let carried = Arc::new(Mutex::new(HashSet::new()));
    let lost = Arc::new(AtomicUsize::new(0));
    let mut browsers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (jar, carried, lost) = (jar.clone(), carried.clone(), lost.clone());
        browsers.spawn(async move {
            for i in 0..40 {
                let field = {
                    let jar = jar.lock().unwrap();
                    let tokens = jar.tokens().into_iter().map(|(_, token)| token.to_owned());
                    carried.lock().unwrap().extend(tokens);
                    jar.field()
                };
                let line = format!("GET /{worker}/{i}");
                let answer = ask(address, &line, &[("Cookie", &field)]).await;
                let mut jar = jar.lock().unwrap();
                let before = jar.clone();
                jar.take(&answer);
                let after = jar.tokens();
                let gone = before
                    .tokens()
                    .into_iter()
                    .filter(|cookie| !after.contains(cookie));
                let carried = carried.lock().unwrap();
                let never = gone.filter(|(_, token)| !carried.contains(*token)).count();
                lost.fetch_add(never, Relaxed);
            }
        });
    }
    while let Some(done) = browsers.join_next().await {
        done.unwrap();
    }
    let last = {
        let jar = jar.lock().unwrap();
        jar.field()
    };
    let joined = ask(address, "GET /last", &[("Cookie", &last)]).await;
    jar.lock().unwrap().take(&joined);
    assert_eq!(
        jar.lock().unwrap().tokens().len(),
        1,
        "one head follows all"
    );
    assert_eq!(lost.load(Relaxed), 0);
    let counts = gateway.metrics().counts();
    assert_eq!(counts.sessions_fresh.values().sum::<u64>(), 1);
}

/// The name of the cookie that a `Set-Cookie` field sets.
fn jar_name(set: &str) -> String {
    set.split('=').next().unwrap().to_owned()
}
