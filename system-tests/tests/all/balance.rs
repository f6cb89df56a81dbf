//! How requests are spread over servers (B1, B4), counted on real traffic.

use std::collections::BTreeMap;

use selvedge_system_tests::Up;

fn config(policy: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("[gateway]\npolicy = \"{policy}\"\n");
    std::fs::write(file.path(), text).expect("written");
    file
}

/// Sends requests, some at a time, and counts the servers' answers.
async fn shares(up: &Up, requests: usize, at_once: usize) -> BTreeMap<String, usize> {
    let url = format!("{}/channel", up.gateway());
    let client = reqwest::Client::new();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..at_once {
        let (client, url) = (client.clone(), url.clone());
        let own = (sender..requests).step_by(at_once).count();
        senders.spawn(async move {
            let mut servers = Vec::new();
            for _ in 0..own {
                let answer = client.get(&url).send().await.expect("an answer");
                let answer: serde_json::Value = answer.json().await.expect("JSON");
                servers.push(answer["server"].as_str().expect("a server").to_owned());
            }
            servers
        });
    }
    let mut shares = BTreeMap::new();
    for server in senders.join_all().await.into_iter().flatten() {
        *shares.entry(server).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn round_robin_is_exact() {
    let file = config("round-robin");
    let up = Up::start(&["--config", file.path().to_str().expect("text")]);
    let shares = shares(&up, 600, 4).await;
    assert_eq!(
        shares.values().copied().collect::<Vec<_>>(),
        [200, 200, 200]
    );
}

#[tokio::test]
async fn random_passes_a_test_of_its_distribution() {
    let file = config("random");
    let up = Up::start(&["--config", file.path().to_str().expect("text")]);
    let shares = shares(&up, 1_500, 8).await;
    let chi_square: f64 = shares
        .values()
        .map(|&count| (count as f64 - 500.0).powi(2) / 500.0)
        .sum();
    // Two degrees of freedom: over 27.6 once in a million.
    assert!(shares.len() == 3 && chi_square < 27.6, "{shares:?}");
    assert_ne!(
        shares.values().copied().collect::<Vec<_>>(),
        [1_000; 3],
        "not by turns"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_ten_times_slower_gets_under_a_fifth_of_an_equal_share() {
    let file = config("least-load");
    let config = file.path().to_str().expect("text");
    // Slow enough that what this machine adds does not count.
    let slow = ["content-1=80ms", "content-2=800ms", "content-3=80ms"];
    let mut args = vec!["--config", config];
    for slow in slow {
        args.extend(["--test-slow", slow]);
    }
    let up = Up::start(&args);
    let shares = shares(&up, 600, 12).await;
    println!("{shares:?}");
    let slow = shares.get("content-2").copied().unwrap_or(0);
    assert!(slow < 600 / 3 / 5, "{shares:?}");
}
