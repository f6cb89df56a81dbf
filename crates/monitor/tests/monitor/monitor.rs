//! Crossings told at least once, under one id, whatever dies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, Hub, HubOptions};
use selvedge_follow::{Lines, Question};
use selvedge_monitor::link::LinkListener;
use selvedge_monitor::threshold::{Change, RuleConfig};
use selvedge_monitor::{MonitorOptions, Notification, ReceiverConfig, start};
use selvedge_node::{Node, NodeOptions};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{now, whole};

const KEY: [u8; 32] = [7; 32];

fn options(data: &Path, receivers: Vec<ReceiverConfig>, rule: serde_json::Value) -> MonitorOptions {
    let rule: RuleConfig = serde_json::from_value(rule).unwrap();
    MonitorOptions {
        name: "monitor".to_owned(),
        data: data.to_owned(),
        rules: vec![rule],
        receivers,
        link_key: KEY,
        nodes: Vec::new(),
        now: Arc::new(now),
    }
}

/// A webhook that hands on what it gets, and answers as it is told: every n-th with an error.
async fn webhook(refuse_every: u64) -> (String, mpsc::UnboundedReceiver<Notification>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    type Shared = (
        mpsc::UnboundedSender<Notification>,
        Arc<std::sync::atomic::AtomicU64>,
    );
    let app = Router::new()
        .route(
            "/hook",
            post(
                move |State((sender, count)): State<Shared>, Json(n): Json<Notification>| async move {
                    let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    // Taken, but the answer says otherwise: it will come again.
                    let _ = sender.send(n);
                    if refuse_every > 0 && number % refuse_every == 0 {
                        StatusCode::SERVICE_UNAVAILABLE
                    } else {
                        StatusCode::NO_CONTENT
                    }
                },
            ),
        )
        .with_state((sender, count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossing_reaches_a_webhook_and_an_encoder() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions::default());
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let (url, mut hooked) = webhook(0).await;
    let mut encoder = LinkListener::start("127.0.0.1:0".parse().unwrap(), KEY)
        .await
        .unwrap();
    let receivers = vec![
        ReceiverConfig::Webhook(url),
        ReceiverConfig::Link(encoder.address().to_string()),
    ];
    let rule = json!({"name": "poll", "filter": "attribute.choice = yes", "raise": 3});
    let monitor = start(options(data.path(), receivers, rule), Arc::new(hub.clone()))
        .await
        .unwrap();
    for choice in ["yes", "no", "yes", "yes", "yes"] {
        publisher
            .announce(journal.append([whole(choice)]))
            .await
            .unwrap();
    }
    let hooked = hooked.recv().await.unwrap();
    let arrived = encoder.next().await.unwrap();
    assert_eq!(arrived.notification, hooked);
    arrived.acknowledge();
    assert_eq!(
        (hooked.change, hooked.number, hooked.value),
        (Change::Raised, 1, 3.0)
    );
    assert_eq!(hooked.cause.map(|position| position.sequence), Some(4));
    let status = monitor.status().await;
    assert_eq!(status.thresholds[0].counts.taken, 4);
    assert!(status.thresholds[0].groups[0].firing);
    monitor.stop().await;
}

/// Kills the monitor again and again, between any two of its steps, while the receivers also
/// fail: of 1,000 crossings each is told, all tellings of one are equal, and no two share an id.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_crossings_survive_kills_and_failing_receivers() {
    const CROSSINGS: usize = 1000;
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions::default());
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let (url, mut hooked) = webhook(41).await;
    let receivers = vec![ReceiverConfig::Webhook(url)];
    let rule =
        json!({"name": "group", "group_by": "attribute.choice", "raise": 2, "groups_max": 2000});
    let options = options(data.path(), receivers, rule);
    let bus: Arc<dyn Bus> = Arc::new(hub.clone());

    // The first start says where to begin, though it lives for no time at all.
    drop(start(options.clone(), bus.clone()).await.unwrap());
    let publishing = tokio::spawn(async move {
        for group in 0..CROSSINGS {
            for _ in 0..2 {
                let batch = journal.append([whole(&group.to_string())]);
                publisher.announce(batch).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
        publisher
    });
    let mut told: BTreeMap<String, Notification> = BTreeMap::new();
    let mut groups = BTreeSet::new();
    let mut deliveries = 0_u64;
    while groups.len() < CROSSINGS {
        let monitor = start(options.clone(), bus.clone()).await.unwrap();
        // It lives for a number of notifications that differs each time, and dies in the midst
        // of whatever it does then.
        let lives = 1 + deliveries * 31 % 97;
        for _ in 0..lives {
            let Some(notification) = hooked.recv().await else {
                panic!("the webhook ended");
            };
            deliveries += 1;
            groups.insert(notification.group.clone());
            let id = notification.id.clone();
            let first = told.entry(id).or_insert_with(|| notification.clone());
            assert_eq!(*first, notification);
            if groups.len() == CROSSINGS {
                break;
            }
        }
        drop(monitor);
    }
    publishing.await.unwrap();
    assert_eq!(told.len(), CROSSINGS, "each crossing under one id");
    assert!(deliveries > CROSSINGS as u64, "some were repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_begins_anew_and_a_damaged_state_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    let (url, mut hooked) = webhook(0).await;
    let rule = |raise: u32| json!({"name": "poll", "raise": raise});
    let receivers = vec![ReceiverConfig::Webhook(url)];
    let one = options(data.path(), receivers.clone(), rule(1));
    let monitor = start(one.clone(), bus.clone()).await.unwrap();
    publisher
        .announce(journal.append([whole("x")]))
        .await
        .unwrap();
    let first = hooked.recv().await.unwrap();
    monitor.stop().await;

    let monitor = start(options(data.path(), receivers, rule(2)), bus.clone())
        .await
        .unwrap();
    assert_eq!(monitor.status().await.thresholds[0].counts.taken, 0);
    publisher
        .announce(journal.append([whole("x"), whole("y")]))
        .await
        .unwrap();
    // The first may come again: its acknowledgement may not have been written.
    let mut second = hooked.recv().await.unwrap();
    while second.id == first.id {
        second = hooked.recv().await.unwrap();
    }
    assert_eq!((second.number, second.value), (1, 2.0));
    assert_eq!(first.rule, second.rule);
    monitor.stop().await;

    let path = data.path().join("thresholds");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = start(one, bus).await.unwrap_err().to_string();
    assert!(error.contains("damaged; move the file away"), "{error}");
}

/// A server that takes requests and never answers.
async fn hanging() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_delays_nobody_else() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    let (url, mut hooked) = webhook(0).await;
    let hanging = hanging().await;
    let receivers = vec![
        ReceiverConfig::Webhook(hanging.clone()),
        ReceiverConfig::Webhook(url.clone()),
    ];
    let rule = json!({"name": "each", "group_by": "attribute.choice", "raise": 1});
    let monitor = start(options(data.path(), receivers, rule), bus.clone())
        .await
        .unwrap();
    for group in 0..100 {
        let batch = journal.append([whole(&group.to_string())]);
        publisher.announce(batch).await.unwrap();
        let told = hooked.recv().await.unwrap();
        assert_eq!(told.group, Some(group.to_string()));
    }
    let waiting = monitor.status().await.waiting;
    let waits = |name: &str| waiting.iter().find(|(of, _)| of == name).map(|(_, n)| *n);
    assert_eq!(waits(&hanging), Some(100));
    // The last acknowledgement may be on its way.
    assert!(waits(&url) <= Some(1), "{waiting:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_has_moved_has_taken_nothing() {
    use axum::http::header::LOCATION;
    use axum::response::IntoResponse as _;

    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    let (sender, mut asked) = mpsc::unbounded_channel();
    let elsewhere = sender.clone();
    let hook = move |Json(n): Json<Notification>| async move {
        let _ = sender.send(n.id);
        (StatusCode::SEE_OTHER, [(LOCATION, "/elsewhere")]).into_response()
    };
    let moved = move || async move {
        let _ = elsewhere.send("followed".to_owned());
    };
    let app = Router::new()
        .route("/hook", post(hook))
        .route("/elsewhere", axum::routing::get(moved));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let receivers = vec![ReceiverConfig::Webhook(url)];
    let rule = json!({"name": "poll", "raise": 1});
    let monitor = start(options(data.path(), receivers, rule), bus.clone())
        .await
        .unwrap();
    let batch = journal.append([whole("yes")]);
    publisher.announce(batch).await.unwrap();
    let first = asked.recv().await.unwrap();
    assert_eq!(
        asked.recv().await.unwrap(),
        first,
        "told again, and not elsewhere"
    );
    assert_eq!(monitor.status().await.waiting[0].1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_monitors_do_not_share_a_folder() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let options = options(data.path(), Vec::new(), json!({"name": "poll", "raise": 1}));
    let monitor = start(options.clone(), bus.clone()).await.unwrap();
    let error = start(options.clone(), bus.clone()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("another monitor uses it"), "{error}");
    monitor.stop().await;
    start(options, bus).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossing_is_an_entry_on_the_bus_that_its_own_monitor_does_not_count() {
    let data = tempfile::tempdir().unwrap();
    let bus: Arc<dyn Bus> = Arc::new(Hub::new(HubOptions::default()));
    let journal = Arc::new(MemoryJournal::new("content-1"));
    let publisher = bus.join(journal.clone()).await.unwrap();
    let keys = selvedge_identity::KeyRing::single([1; 32]);
    let name = selvedge_identity::ServerName::new("alarms").unwrap();
    let node = NodeOptions::new(name, "threshold", data.path().join("journal"), keys);
    let node = Node::start(node, bus.clone()).await.unwrap();
    let receivers = vec![ReceiverConfig::Bus("alarms".to_owned())];
    let mut options = options(data.path(), receivers, json!({"name": "poll", "raise": 2}));
    options.nodes.push(node.clone());
    let monitor = start(options, bus.clone()).await.unwrap();
    let question = "filter=service+%3D+threshold&from=oldest";
    let question = Question::parse(question, None, None).unwrap();
    let mut lines = Lines::begin(&*bus, question).await.unwrap();
    for _ in 0..2 {
        let batch = journal.append([whole("yes")]);
        publisher.announce(batch).await.unwrap();
    }
    let line: serde_json::Value = serde_json::from_slice(&lines.next().await.unwrap()).unwrap();
    let entry = &line["entry"];
    assert_eq!(entry["action"], "threshold raised");
    assert_eq!(entry["attributes"]["rule"], "poll");
    assert_eq!(entry["attributes"]["value"], "2");
    let cause = entry["attributes"]["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("content-1/") && cause.ends_with("/2"),
        "{cause}"
    );
    // An entry behind it has been counted, and it has not.
    let batch = journal.append([whole("yes")]);
    publisher.announce(batch).await.unwrap();
    let mut taken = 0;
    while taken < 3 {
        taken = monitor.status().await.thresholds[0].counts.taken;
        tokio::task::yield_now().await;
    }
    assert_eq!(taken, 3);
    monitor.stop().await;
    node.stop().await;
}
