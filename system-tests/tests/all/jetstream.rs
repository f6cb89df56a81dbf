//! A fleet whose bus is NATS JetStream: three NATS servers by the example configuration, three
//! content servers on hosts of their own. Under load, one NATS server is killed and one content
//! server cut off: everything acknowledged is in every server's memory and in the repository
//! afterwards, exactly once (B2, B3).
//!
//! The hosts are network namespaces, links from one in the middle to each. The test runs itself
//! again in the one in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use selvedge_system_tests::{Query, Server, binary, root, run, selvedge};
use serde_json::Value;

use crate::network::{Hosts, ip};
use crate::processes::Load;
use crate::viewers::{Carrier, Held};

/// Set in the run on the host in the middle: the names of the content servers' hosts.
const HOSTS: &str = "SELVEDGE_TEST_HOSTS";
/// For how long a content server is cut off, in seconds: more than a link takes to be given up.
const CUT: &str = "SELVEDGE_TEST_CUT_SECONDS";
const CUT_SECONDS: u64 = 8;
const CONTENTS: usize = 3;
const NATS: &str =
    "nats = [\"nats://10.0.0.1:4222\", \"nats://10.0.0.2:4222\", \"nats://10.0.0.3:4222\"]";
/// Of a test that fails: nothing waits for it that passes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_lost_or_doubled_when_a_nats_server_dies_and_a_server_is_cut_off() {
    if let Ok(hosts) = std::env::var(HOSTS) {
        let hosts: Vec<&str> = hosts.split(',').collect();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        return runtime.block_on(in_the_middle(&hosts));
    }
    let user = run(Command::new("id").arg("-u"));
    if user.trim() != "0" {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let hosts = Hosts::new(&["middle", "jet-1", "jet-2", "jet-3"]);
    for number in 1..=3u32 {
        ip(&[
            "-n",
            &hosts.names[0],
            "addr",
            "add",
            &format!("10.0.0.{number}/32"),
            "dev",
            "lo",
        ]);
        let (near, far) = (format!("10.78.{number}.1"), format!("10.78.{number}.2"));
        let host = number as usize;
        hosts.link((0, &near), (host, &far), number);
        ip(&[
            "-n",
            &hosts.names[host],
            "route",
            "add",
            "default",
            "via",
            &near,
        ]);
    }
    let me = std::env::current_exe().expect("this program");
    let mut again = hosts.on(0, me.to_str().expect("text"));
    again.args(["--exact", "--nocapture"]);
    again.arg(
        "jetstream::nothing_is_lost_or_doubled_when_a_nats_server_dies_and_a_server_is_cut_off",
    );
    again.env(HOSTS, hosts.names[1..].join(","));
    let status = again.status().expect("it runs");
    assert!(status.success(), "in the middle: {status}");
}

async fn in_the_middle(hosts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut servers: Vec<_> = (1..=3).map(|n| nats(n, folder.path())).collect();
    let gateway_config = folder.path().join("gateway.toml");
    let bus = format!("[bus]\n{NATS}\n[bus.jetstream]\nreplicas = 3\n");
    let mut upstreams = bus.clone();
    for number in 1..=CONTENTS {
        let url = content_url(number);
        upstreams +=
            &format!("[[gateway.upstreams]]\nname = \"content-{number}\"\nurl = \"{url}\"\n");
    }
    std::fs::write(&gateway_config, upstreams).expect("written");
    let content_config = folder.path().join("content.toml");
    std::fs::write(&content_config, bus).expect("written");
    let mut command = selvedge(&["gateway", "--repository"]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.arg("--data").arg(folder.path());
    command.arg("--config").arg(&gateway_config);
    let gateway = Server::start(command, folder.path());
    assert_eq!(
        gateway.part("bus"),
        None,
        "NATS is there in place of the hub"
    );
    let mut command = selvedge(&["content", "--service", "catalogue", "--name", "catalogue"]);
    command.args(["--listen", "10.0.0.1:0"]);
    command.arg("--data").arg(folder.path());
    command.arg("--config").arg(&content_config);
    let catalogue = Server::start(command, folder.path());
    let _contents: Vec<Server> = (1..)
        .zip(hosts)
        .map(|(number, host)| {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", host]).arg(binary());
            command.args(["content", "--name", &format!("content-{number}")]);
            command.args(["--listen", &format!("10.78.{number}.2:9000")]);
            command.arg("--data").arg(folder.path());
            command.arg("--config").arg(&content_config);
            for service in ["--catalogue", "--payment", "--stock"] {
                command.arg(service).arg(catalogue.url("catalogue"));
            }
            Server::start(command, folder.path())
        })
        .collect();

    let load = Load::start(&gateway.url("gateway"));
    let query = Query::new(gateway.url("admin"));
    load.more(300).await;
    // The bus stands: what content servers did has come to the repository.
    let heard = |journals: &Value| {
        let journals = journals["journals"].as_array();
        let of_contents = |j: &&Value| {
            j["server"]
                .as_str()
                .is_some_and(|s| s.starts_with("content"))
        };
        journals.is_some_and(|all| all.iter().filter(of_contents).count() == CONTENTS)
    };
    query.until("/api/v1/journals", heard).await;

    servers[1].kill();
    load.more(300).await;
    // The middle's end of the link: the other keeps its routes.
    ip(&["link", "set", "sv2a", "down"]);
    let seconds = std::env::var(CUT).ok().and_then(|text| text.parse().ok());
    tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(CUT_SECONDS))).await;
    ip(&["link", "set", "sv2a", "up"]);
    load.more(500).await;
    let votes = load.finish().await;
    let acknowledged: usize = votes.iter().map(|(_, votes)| votes.len()).sum();
    println!("{acknowledged} votes were acknowledged");

    for (held, acknowledged) in &votes {
        let wanted: BTreeSet<&str> = acknowledged.iter().map(String::as_str).collect();
        let taken_by = in_the_repository(&query, held, &wanted).await;
        for number in 1..=CONTENTS {
            let name = format!("content-{number}");
            let elsewhere = wanted.iter().filter(|choice| taken_by[**choice] != name);
            in_memory_of(number, held, &elsewhere.copied().collect()).await;
        }
    }
}

fn content_url(number: usize) -> String {
    format!("http://10.78.{number}.2:9000")
}

/// Waits until the session's timeline has every wanted vote; then it has none twice. Returns which
/// server took which vote.
async fn in_the_repository(
    query: &Query,
    held: &Held,
    wanted: &BTreeSet<&str>,
) -> BTreeMap<String, String> {
    let taken = |timeline: &Value| -> Vec<(String, String)> {
        let entries = timeline["entries"].as_array().cloned().unwrap_or_default();
        let vote = |entry: &Value| {
            let choice = entry["request"]["body"]["choice"].as_str()?;
            Some((choice.to_owned(), entry["server"].as_str()?.to_owned()))
        };
        entries.iter().filter_map(vote).collect()
    };
    let path = format!("/api/v1/sessions/{}", held.session());
    let has_all = |timeline: &Value| {
        let taken: BTreeMap<String, String> = taken(timeline).into_iter().collect();
        wanted.iter().all(|choice| taken.contains_key(*choice))
    };
    let taken = taken(&query.until(&path, has_all).await);
    let count = taken.len();
    let by_choice: BTreeMap<String, String> = taken.into_iter().collect();
    assert_eq!(by_choice.len(), count, "nothing twice");
    by_choice
}

/// Asks a content server past the gateway, until its memory has every wanted vote, which others
/// took; each counts once.
async fn in_memory_of(number: usize, held: &Held, wanted: &BTreeSet<&str>) {
    let client = reqwest::Client::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let request = client.get(format!("{}/channel", content_url(number)));
        let answer = held.send(Carrier::Headers).on(request).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        let votes = answer["votes"].as_object().expect("votes");
        let missing = wanted.iter().find(|choice| !votes.contains_key(**choice));
        let Some(missing) = missing else {
            for choice in wanted {
                assert_eq!(votes[*choice], 1, "{choice} at content-{number}");
            }
            return;
        };
        assert!(
            tokio::time::Instant::now() < deadline,
            "content-{number} never heard of {missing}"
        );
    }
}

/// A NATS server by the example configuration.
fn nats(number: usize, folder: &Path) -> selvedge_nats::Server {
    let mut command = selvedge_nats::Server::program();
    command
        .arg("-c")
        .arg(root().join("config/nats-server.conf"));
    command.env("NODE", format!("nats-{number}"));
    command.env("HOST", format!("10.0.0.{number}"));
    command.env("STORE", folder.join(format!("nats-{number}")));
    selvedge_nats::Server::start(&mut command)
}
