//! What an acknowledged answer outlives, by level (B2).

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_system_tests::Server;
use serde_json::json;

use crate::fabric::Viewer;
use crate::processes::Fleet;

/// Bounds a failing test; no passing one waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server counts of its node, whole numbers only.
async fn counts(server: &Server) -> BTreeMap<String, u64> {
    let answer = reqwest::get(format!("{}/metrics", server.url("admin"))).await;
    let text = answer.expect("an answer").text().await.expect("text");
    let count = |line: &str| {
        let (name, value) = line.strip_prefix("selvedge_node_")?.rsplit_once(' ')?;
        let (name, _) = name.split_once('{')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(count).collect()
}

/// Waits until a server knows of so many peers.
async fn with_peers(server: &Server, peers: u64) {
    let known = async {
        while counts(server).await["peers_holding"] != peers {
            tokio::task::yield_now().await;
        }
    };
    let known = tokio::time::timeout(PATIENCE, known).await;
    known.unwrap_or_else(|_| panic!("never {peers} peers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_peers_an_acknowledged_answer_outlives_its_server_and_that_servers_disk() {
    const ORDERS: usize = 30;
    let level = "[node]\nacknowledge = \"peers:2\"\nacknowledge_ms_max = 60000\n";
    let mut fleet = Fleet::with(level);
    for server in &fleet.contents {
        with_peers(server, 2).await;
    }
    let mut viewer = Viewer::at(fleet.gateway.url("gateway"));
    for _ in 0..ORDERS {
        let order = json!({"item": "jersey", "quantity": 1});
        let (answer, _) = viewer.post("/orders", &order).await;
        assert_eq!(answer.status(), 201);
    }
    let lost = counts(&fleet.contents[0]).await;
    let answers = lost["answers_peers_total"];
    assert!(answers > 0, "it had its share");
    assert_eq!(lost["answers_journal_total"], 0);
    assert_eq!(lost["acknowledge_wait_seconds_count"], answers);
    fleet.contents[0].kill();
    std::fs::remove_dir_all(fleet.journal("content-1")).expect("removed");

    // Without that server and its disk, its peers know all that was acknowledged.
    for server in &fleet.contents[1..] {
        let known = viewer.at_server(&server.url("content"), "/orders").await;
        let orders = known["orders"].as_array().expect("orders").len();
        assert_eq!(orders, ORDERS, "{known}");
    }

    // One peer is left to each: answers go out, and are counted.
    let server = &fleet.contents[1];
    with_peers(server, 1).await;
    let before = counts(server).await["acknowledgements_short_total"];
    viewer.at_server(&server.url("content"), "/orders").await;
    let after = counts(server).await["acknowledgements_short_total"];
    assert_eq!(after, before + 1);
}
