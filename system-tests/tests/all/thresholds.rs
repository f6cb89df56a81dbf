//! Thresholds over real requests: a crossing is told at least once, under one id, whatever is
//! killed (B7).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use selvedge_system_tests::{Server, Up, run, selvedge};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::processes::Fleet;

/// A server that takes notifications; of every `refused` it answers one with an error.
pub(crate) async fn webhook(refused: u64) -> (String, mpsc::UnboundedReceiver<Value>) {
    type Shared = (mpsc::UnboundedSender<Value>, Arc<AtomicU64>);
    async fn take(State((sender, count)): State<Shared>, body: Bytes) -> StatusCode {
        let refused = count.load(Ordering::Relaxed) >> 32;
        let number = count.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff;
        let value = serde_json::from_slice(&body).expect("JSON");
        let _ = sender.send(value);
        if refused > 0 && number % refused == 0 {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        }
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let count = Arc::new(AtomicU64::new(refused << 32));
    let app = Router::new()
        .route("/crossed", post(take))
        .with_state((sender, count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!(
        "http://{}/crossed",
        listener.local_addr().expect("its address")
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, receiver)
}

/// A configuration with one receiver (`webhook = "…"` or `link = "…"`) and one rule.
pub(crate) fn write_config(folder: &Path, receiver: &str, rule: &str) -> PathBuf {
    let path = folder.join("thresholds.toml");
    let text = format!("[monitor]\nreceivers = [{{ {receiver} }}]\n[[threshold]]\n{rule}");
    std::fs::write(&path, text).expect("written");
    path
}

fn webhook_at(url: &str) -> String {
    format!("webhook = \"{url}\"")
}

async fn vote(client: &reqwest::Client, gateway: &str, choice: &str) {
    let request = client
        .post(format!("{gateway}/vote"))
        .json(&json!({"choice": choice}));
    let answer = request.send().await.expect("an answer");
    assert!(answer.status().is_success());
}

/// Two votes for each of the choices, by eight voters at a time.
pub(crate) async fn vote_for_all(gateway: String, choices: Range<usize>) {
    let client = reqwest::Client::new();
    let mut voters = tokio::task::JoinSet::new();
    for voter in 0..8 {
        let (client, gateway) = (client.clone(), gateway.clone());
        let choices = choices.clone().skip(voter).step_by(8);
        voters.spawn(async move {
            for choice in choices {
                for _ in 0..2 {
                    vote(&client, &gateway, &format!("choice-{choice}")).await;
                }
            }
        });
    }
    voters.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_who_vote_cross_a_threshold_once_each_and_the_crossing_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, mut told) = webhook(0).await;
    let rule = "name = \"poll\"\nfilter = 'direction = inbound and service = content and action = \
                \"POST /vote\" and request.choice = yes'\ncount = \"distinct client\"\nraise = 3\n";
    let config = write_config(folder.path(), &webhook_at(&url), rule);
    let checked = run(selvedge(&["check", "--config"]).arg(&config));
    assert!(checked.contains("is right"), "{checked}");
    let up = Up::start(&["--config", config.to_str().expect("a path")]);
    // A viewer who holds his cookies votes again and again, and is one; a client without
    // cookies is another with each request.
    let viewer = reqwest::Client::new();
    let first = viewer.get(up.gateway()).send().await.expect("an answer");
    let cookies: Vec<String> = first
        .headers()
        .get_all("set-cookie")
        .iter()
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next().map(str::to_owned))
        .collect();
    for _ in 0..4 {
        let request = viewer
            .post(format!("{}/vote", up.gateway()))
            .header("cookie", cookies.join("; "))
            .json(&json!({"choice": "yes"}));
        assert!(
            request
                .send()
                .await
                .expect("an answer")
                .status()
                .is_success()
        );
    }
    vote(&viewer, &up.gateway(), "no").await;
    vote(&viewer, &up.gateway(), "yes").await;
    let query = up.query();
    let counted = |expected: u64| {
        move |body: &Value| body["thresholds"][0]["counts"]["taken"].as_u64() == Some(expected)
    };
    let before = query.until("/api/v1/thresholds", counted(5)).await;
    assert_eq!(before["thresholds"][0]["groups"][0]["value"], 2.0);
    assert_eq!(before["thresholds"][0]["groups"][0]["firing"], false);

    vote(&viewer, &up.gateway(), "yes").await;
    let crossing = told.recv().await.expect("a notification");
    assert_eq!(crossing["rule"], "poll");
    assert_eq!(crossing["change"], "raised");
    assert_eq!(crossing["value"], 3.0);
    let cause = crossing["cause"].as_str().expect("an entry");
    assert!(cause.starts_with("content-"), "{cause}");
    let after = query.until("/api/v1/thresholds", counted(6)).await;
    assert_eq!(after["thresholds"][0]["groups"][0]["firing"], true);
}

#[test]
fn a_rule_that_can_never_fire_is_refused_by_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = "name = \"x\"\ncount = \"error share\"\nraise = 2\n";
    let config = write_config(folder.path(), &webhook_at("http://127.0.0.1:1/"), rule);
    let output = selvedge(&["check", "--config"])
        .arg(&config)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("threshold x: raise: 2 is never reached"),
        "{said}"
    );
}

/// A monitor in a process of its own is killed again and again while a thousand thresholds are
/// crossed, and its receiver refuses now and then.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_crossings_survive_kills_of_the_monitor() {
    const CROSSINGS: usize = 1000;
    const KILLS: usize = 12;
    let fleet = Fleet::start();
    let (url, mut told) = webhook(50).await;
    let rule = "name = \"choice\"\nfilter = 'direction = inbound and service = content and action \
                = \"POST /vote\"'\ngroup_by = \"request.choice\"\ngroups_max = 2000\nraise = 2\n";
    let config = write_config(fleet.folder(), &webhook_at(&url), rule);
    let monitor = || {
        let bus = fleet.gateway.address("bus");
        let mut command = selvedge(&["monitor", "--bus", bus, "--admin-listen", "127.0.0.1:0"]);
        command.arg("--data").arg(fleet.folder());
        command.arg("--config").arg(&config);
        Server::start(command, fleet.folder())
    };
    // Its first life says where counting begins, and writes that down as it stops.
    let mut running = monitor();
    running.stop();
    let mut running = monitor();

    let gateway = fleet.gateway.url("gateway");
    let voting = tokio::spawn(vote_for_all(gateway, 0..CROSSINGS));
    let mut crossings: BTreeMap<String, Value> = BTreeMap::new();
    let mut groups = BTreeSet::new();
    let mut kills = 0;
    while groups.len() < CROSSINGS {
        let crossing = told.recv().await.expect("a notification");
        let id = crossing["id"].as_str().expect("an id").to_owned();
        groups.insert(crossing["group"].as_str().expect("a group").to_owned());
        let first = crossings.entry(id).or_insert_with(|| crossing.clone());
        assert_eq!(*first, crossing, "a repeat says the same");
        if kills < KILLS && groups.len() > (kills + 1) * CROSSINGS / (KILLS + 2) {
            running.kill();
            running = monitor();
            kills += 1;
        }
    }
    voting.await.expect("votes");
    assert_eq!(kills, KILLS);
    assert_eq!(crossings.len(), CROSSINGS, "each crossing under one id");
}
