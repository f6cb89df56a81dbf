//! Every pair of a visit's actions, held against what the client saw (A2, A9): an action is before
//! another if and only if its answer had arrived when the other was sent.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use selvedge_system_tests::Up;
use serde_json::Value;

use crate::viewers::{Carrier, Held};

/// The last one is sent when all others are answered: until a head is followed, nobody can tell
/// one that was lost from one that came last.
const REQUESTS: usize = 1_000;
const IN_FLIGHT_MAX: u64 = 8;

/// When a request was sent and when its answer's head arrived, on one counter.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: u64,
    received: u64,
}

/// What comparing all pairs found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pairs {
    right: usize,
    /// Concurrent in truth, ordered in the timeline.
    falsely_ordered: usize,
    /// Ordered the other way round.
    reversed: usize,
    /// Ordered in truth, concurrent in the timeline.
    missed: usize,
    /// Shown as unproven.
    unproven: usize,
}

/// A visit of [`REQUESTS`] votes, one to eight in flight, with random pauses.
async fn visit(up: &Up, carrier: Carrier, seed: u64) -> (String, HashMap<String, Seen>) {
    let client = reqwest::Client::new();
    let held = Arc::new(Mutex::new(Held::default()));
    let clock = Arc::new(AtomicU64::new(0));
    let log = Arc::new(Mutex::new(HashMap::new()));
    let next = Arc::new(AtomicUsize::new(0));
    let url = up.gateway();
    // The first request opens the session; the others share it.
    one(&url, &client, carrier, &held, &clock, &log, 0).await;
    next.store(1, Ordering::SeqCst);
    let mut viewers = tokio::task::JoinSet::new();
    for viewer in 0..IN_FLIGHT_MAX {
        let (client, held, clock) = (client.clone(), held.clone(), clock.clone());
        let (log, next, url) = (log.clone(), next.clone(), url.clone());
        viewers.spawn(async move {
            let mut chance =
                Rng::with_seed(seed ^ (viewer + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= REQUESTS - 1 {
                    return;
                }
                // So that anything from one to eight is in flight: a real pause of the viewer's.
                tokio::time::sleep(Duration::from_micros(chance.u64(..3_000))).await;
                one(&url, &client, carrier, &held, &clock, &log, number).await;
            }
        });
    }
    while let Some(done) = viewers.join_next().await {
        done.expect("a viewer");
    }
    one(&url, &client, carrier, &held, &clock, &log, REQUESTS - 1).await;
    let session = held.lock().expect("held").session();
    let log = log.lock().expect("log").clone();
    (session, log)
}

async fn one(
    url: &str,
    client: &reqwest::Client,
    carrier: Carrier,
    held: &Mutex<Held>,
    clock: &AtomicU64,
    log: &Mutex<HashMap<String, Seen>>,
    number: usize,
) {
    // What it holds and when it sent are one step, as are what it got and when.
    let (sending, sent) = {
        let held = held.lock().expect("held");
        (held.send(carrier), clock.fetch_add(1, Ordering::SeqCst))
    };
    let choice = number.to_string();
    let request = client
        .post(format!("{url}/vote"))
        .json(&serde_json::json!({ "choice": choice }));
    let answer = sending.on(request).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    let received = {
        let mut held = held.lock().expect("held");
        held.receive(carrier, &sending, &answer);
        clock.fetch_add(1, Ordering::SeqCst)
    };
    log.lock()
        .expect("log")
        .insert(choice, Seen { sent, received });
    let _ = answer.bytes().await;
}

fn compare(timeline: &Value, log: &HashMap<String, Seen>) -> Pairs {
    let entries = timeline["entries"].as_array().expect("entries");
    let position = |entry: &Value| {
        let part = |name: &str| entry[name].as_str().unwrap_or("?").to_owned();
        format!("{}/{}/{}", part("server"), part("epoch"), entry["sequence"])
    };
    let positions: Vec<String> = entries.iter().map(position).collect();
    let of = |index: usize, list: &str| -> HashSet<String> {
        let list = entries[index][list].as_array().expect("a list");
        list.iter()
            .filter_map(|p| p.as_str().map(str::to_owned))
            .collect()
    };
    let seen: Vec<Seen> = entries
        .iter()
        .map(|entry| {
            log[entry["request"]["body"]["choice"]
                .as_str()
                .expect("a choice")]
        })
        .collect();
    let mut pairs = Pairs::default();
    for later in 0..entries.len() {
        let (concurrent, unproven) = (of(later, "concurrent_with"), of(later, "unproven_with"));
        for earlier in 0..later {
            let before = seen[earlier].received < seen[later].sent;
            let after = seen[later].received < seen[earlier].sent;
            if unproven.contains(&positions[earlier]) {
                pairs.unproven += 1;
            } else if concurrent.contains(&positions[earlier]) {
                match before || after {
                    true => pairs.missed += 1,
                    false => pairs.right += 1,
                }
            } else if after {
                pairs.reversed += 1;
            } else if before {
                pairs.right += 1;
            } else {
                pairs.falsely_ordered += 1;
            }
        }
    }
    pairs
}

async fn check(carrier: Carrier, unproven_max: usize) {
    // Answers overtake each other, and most of the time all eight are in flight.
    let up = Up::start(&["--test-slow=content-1=40ms", "--test-slow=content-2=7ms"]);
    let (session, log) = visit(&up, carrier, 11).await;
    let timeline = up.query().timeline(&session, REQUESTS).await;
    assert_eq!(timeline["entries"].as_array().map(Vec::len), Some(REQUESTS));
    let pairs = compare(&timeline, &log);
    println!("{carrier:?}: {pairs:?}");
    assert_eq!(
        (pairs.falsely_ordered, pairs.reversed, pairs.missed),
        (0, 0, 0),
        "{pairs:?}"
    );
    assert!(pairs.unproven <= unproven_max, "{pairs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_a_header_clients_requests_is_told_right() {
    check(Carrier::Headers, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_a_cookie_jars_requests_is_told_right_or_unproven() {
    // At most one in a hundred.
    let pairs = REQUESTS * (REQUESTS - 1) / 2;
    check(Carrier::Cookies, pairs / 100).await;
}
