//! `selvedge plan`, and its constants against a fleet that runs (B2).

use std::collections::HashMap;

use selvedge_system_tests::{Up, run, selvedge};
use serde_json::{Value, json};

use crate::fabric::Viewer;

/// How far a fleet may be from the plan. (Counters take more bytes as they grow.)
const WITHIN: f64 = 0.1;

fn plan(args: &[&str]) -> Value {
    let mut command = selvedge(&["plan", "--json"]);
    serde_json::from_str(&run(command.args(args))).expect("JSON")
}

/// The metrics of each server by name: `journal_records_total` of `content-1` and so on.
struct Metrics(HashMap<(String, String), f64>);

impl Metrics {
    async fn of(up: &Up) -> Self {
        let url = format!("{}/metrics", up.admin());
        let answer = reqwest::get(url).await.expect("an answer");
        let text = answer.text().await.expect("text");
        let of_servers = text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("selvedge_")?.split_once("{server=\"")?;
            let (server, value) = rest.split_once("\"} ")?;
            let key = (name.to_owned(), server.to_owned());
            Some((key, value.parse().ok()?))
        });
        Self(of_servers.collect())
    }

    fn get(&self, name: &str, server: &str) -> f64 {
        let key = (name.to_owned(), server.to_owned());
        self.0.get(&key).copied().expect("a metric of a server")
    }

    /// Of these servers' journals together: records, and their bytes without the file's own.
    fn journals(&self, servers: &[&str]) -> (f64, f64) {
        let sum = |name: &str| -> f64 { servers.iter().map(|s| self.get(name, s)).sum() };
        let (records, commits) = (sum("journal_records_total"), sum("journal_commits_total"));
        (
            records,
            sum("journal_bytes_total") - 8.0 * records - 24.0 * commits,
        )
    }
}

const GATEWAY: [&str; 1] = ["gateway"];
const CONTENT: [&str; 3] = ["content-1", "content-2", "content-3"];
const ALL: [&str; 6] = [
    "content-1",
    "content-2",
    "content-3",
    "catalogue",
    "payment",
    "stock",
];

/// What `requests` of the viewer leave in the journals of the gateway and of all servers, once
/// it is there.
async fn cost(up: &Up, viewer: &mut Viewer, requests: u32, order: bool, records: f64) -> [f64; 4] {
    let before = Metrics::of(up).await;
    for _ in 0..requests {
        if order {
            let (answer, _) = viewer
                .post("/orders", &json!({ "item": "kettle", "quantity": 1 }))
                .await;
            assert_eq!(answer.status(), 201);
        } else {
            assert_eq!(viewer.get("/orders").await.0.status(), 200);
        }
    }
    // The gateway writes the end of a request when it has answered.
    let wanted = f64::from(requests) * records;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let now = Metrics::of(up).await;
        let grown = |servers: &[&str]| {
            let ((records, bytes), before) = (now.journals(servers), before.journals(servers));
            (records - before.0, bytes - before.1)
        };
        let (gateway, servers) = (grown(&GATEWAY), grown(&ALL));
        if gateway.0 + servers.0 >= wanted {
            let each = |total: f64| total / f64::from(requests);
            return [gateway.0, gateway.1, servers.0, servers.1].map(each);
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{gateway:?} and {servers:?}, never {wanted} records"
        );
        tokio::task::yield_now().await;
    }
}

/// A machine that is slow may write an opening of its own where it would else be one record with
/// the end; that moves few bytes.
fn at_least(what: &str, planned: &Value, measured: f64) {
    let planned = planned.as_f64().expect("a number");
    let some_are_not_in_yet = 0.97;
    assert!(
        measured >= planned * some_are_not_in_yet && measured < planned * 1.5,
        "{what}: {measured} measured, {planned} planned (crates/plan/src/measured.rs)"
    );
}

fn near(what: &str, planned: &Value, measured: f64) {
    let planned = planned.as_f64().expect("a number");
    assert!(
        (measured - planned).abs() <= WITHIN * measured,
        "{what}: {measured} measured, {planned} planned (crates/plan/src/measured.rs)"
    );
}

#[tokio::test]
async fn the_bytes_of_the_plan_are_those_of_a_fleet_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    // A kind of body that none is of: nothing is kept.
    std::fs::write(&config, "[keep]\nbodies = [\"none/none\"]\n").expect("written");
    let up = Up::start(&["--config", config.to_str().expect("text")]);
    let mut viewer = Viewer::new(&up);
    let plain = plan(&["--servers", "3", "--rate", "1"]);
    let request = &plain["per_request"];
    let records = |of: &Value| -> f64 {
        ["gateway_records", "server_records"]
            .map(|name| of[name].as_f64().expect("a number"))
            .iter()
            .sum()
    };
    let [gateway_records, gateway_bytes, server_records, server_bytes] =
        cost(&up, &mut viewer, 200, false, records(request)).await;
    at_least(
        "gateway records",
        &request["gateway_records"],
        gateway_records,
    );
    near("gateway bytes", &request["gateway_bytes"], gateway_bytes);
    at_least("server records", &request["server_records"], server_records);
    near("server bytes", &request["server_bytes"], server_bytes);

    let calls = plan(&["--servers", "3", "--rate", "1", "--calls", "3"]);
    let request = &calls["per_request"];
    let [_, _, server_records, server_bytes] =
        cost(&up, &mut viewer, 50, true, records(request)).await;
    at_least(
        "records with calls",
        &request["server_records"],
        server_records,
    );
    near("bytes with calls", &request["server_bytes"], server_bytes);

    let now = Metrics::of(&up).await;
    let (entries, bytes) = CONTENT
        .map(|server| {
            (
                now.get("memory_entries", server),
                now.get("memory_bytes", server),
            )
        })
        .into_iter()
        .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let a_day = plain["server"]["memory"]["bytes"]
        .as_f64()
        .expect("a number");
    near("held bytes", &json!(a_day / 86_400.0), bytes / entries);
}

#[test]
fn a_plan_reads_and_says_what_to_do() {
    let text = run(&mut selvedge(&[
        "plan",
        "--servers",
        "100",
        "--rate",
        "20000",
    ]));
    assert!(
        text.contains("all-to-all is too much for one fleet"),
        "{text}"
    );
    let small = plan(&["--servers", "3", "--rate", "1000"]);
    let advice = small["advice"][0].as_str().expect("text");
    assert!(advice.contains("the embedded hub carries it"), "{advice}");
    for wrong in [["--servers", "0"], ["--servers", "x"]] {
        let mut command = selvedge(&["plan", "--rate", "1"]);
        let said = command.args(wrong).output().expect("it runs");
        assert_eq!(said.status.code(), Some(2));
    }
}
