//! One visit over several servers, by a client that is not ours: curl with a cookie jar (A1-A8).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use selvedge_system_tests::{Up, is_session_cookie, run, selvedge};
use serde_json::Value;

const REQUESTS: usize = 200;

/// Sends the visit's requests, one after the other, in one run of curl that keeps its cookies.
fn browse(up: &Up, jar: &std::path::Path) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--output", "/dev/null"]);
    curl.arg("--cookie-jar").arg(jar).arg("--cookie").arg(jar);
    // The page, then votes that say their number: the timeline must have them in this order.
    let url = up.gateway();
    curl.arg(format!("{url}/"));
    for number in 1..REQUESTS {
        curl.args([
            "--next",
            "--silent",
            "--show-error",
            "--output",
            "/dev/null",
        ]);
        curl.arg("--cookie-jar").arg(jar).arg("--cookie").arg(jar);
        curl.args(["--json", &format!("{{\"choice\":\"{number}\"}}")]);
        curl.arg(format!("{url}/vote"));
    }
    let _ = run(&mut curl);
    let cookies = std::fs::read_to_string(jar).expect("a jar");
    let token = cookies
        .lines()
        .filter_map(|line| line.split('\t').skip(5).collect::<Vec<_>>().try_into().ok())
        .find_map(|[name, value]: [&str; 2]| is_session_cookie(name).then_some(value))
        .expect("a session cookie");
    token.split('.').next().expect("a session").to_owned()
}

#[tokio::test]
async fn two_hundred_requests_over_three_servers_stand_once_and_in_the_order_sent() {
    let up = Up::start(&[]);
    check(&up).await;
}

#[tokio::test]
async fn the_order_stays_right_with_the_servers_clocks_an_hour_apart() {
    let up = Up::start(&[
        "--test-clock-skew=content-1=-3600s",
        "--test-clock-skew=content-3=+3600s",
    ]);
    let entries = check(&up).await;
    let received = |server: &str| {
        let of = entries.iter().find(|entry| entry["server"] == server);
        of.and_then(|entry| entry["received"].as_str())
            .expect("a time")
            .to_owned()
    };
    assert_ne!(
        received("content-1")[..13],
        received("content-3")[..13],
        "the clocks differ"
    );
}

async fn check(up: &Up) -> Vec<Value> {
    let jar = up.data().join("jar");
    let session = browse(up, &jar);
    let timeline = up.query().timeline(&session, REQUESTS).await;
    let entries = timeline["entries"].as_array().expect("entries").clone();
    assert_eq!(entries.len(), REQUESTS);

    let choices: Vec<String> = entries[1..]
        .iter()
        .map(|entry| {
            entry["request"]["body"]["choice"]
                .as_str()
                .unwrap_or("?")
                .to_owned()
        })
        .collect();
    let sent: Vec<String> = (1..REQUESTS).map(|number| number.to_string()).collect();
    assert_eq!(choices, sent);

    let mut last = 0;
    let mut servers = BTreeMap::<&str, usize>::new();
    for entry in &entries {
        let counter = entry["ordering"][0].as_u64().expect("a counter");
        assert!(counter > last, "ordering ids grow strictly");
        last = counter;
        assert_eq!(entry["ordering"][1], entry["server"]);
        *servers
            .entry(entry["server"].as_str().expect("a server"))
            .or_default() += 1;
        assert_eq!(entry["client"], timeline["client"]);
        assert_eq!(entry["service"], "content");
        assert!(entry["version"].is_string() && entry["duration"].is_u64());
        assert!(entry["received"].is_string());
        assert!(entry["request"]["method"].is_string() && entry["response"]["status"].is_u64());
        assert_eq!(entry["concurrent_with"], Value::Array(Vec::new()));
        assert_eq!(entry["unproven_with"], Value::Array(Vec::new()));
    }
    assert_eq!(servers.len(), 3, "each server took some: {servers:?}");
    own_journals(up, &session, &entries, &servers);
    entries
}

/// Each server's journal, read by `selvedge log`, holds its own part and no other's.
fn own_journals(up: &Up, session: &str, entries: &[Value], servers: &BTreeMap<&str, usize>) {
    for (server, count) in servers {
        let journal = up.journal(server);
        let mut log = selvedge(&["log", "--json", "--session", session]);
        let text = run(log.arg(&journal));
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert!(lines.iter().all(|entry| entry["server"] == *server));
        let actions: Vec<&Value> = lines.iter().filter(|e| !e["ordering"].is_null()).collect();
        assert_eq!(actions.len(), *count);
        let sequences = |of: &[&Value]| -> BTreeSet<u64> {
            of.iter()
                .filter_map(|entry| entry["sequence"].as_u64())
                .collect()
        };
        let theirs: Vec<&Value> = entries.iter().filter(|e| e["server"] == *server).collect();
        assert_eq!(sequences(&actions), sequences(&theirs));
    }
}
