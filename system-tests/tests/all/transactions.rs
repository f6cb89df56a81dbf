//! Orders are fulfilled once each, whoever is killed; what fails is listed and tried again (B9).

use std::path::Path;
use std::process::Command;

use selvedge_system_tests::{Server, Up, run, selvedge};
use serde_json::{Value, json};

use crate::processes::Fleet;

const RULE: &str = r#"
[[transaction]]
name = "orders"
filter = 'service = content and direction = inbound and action = "POST /vote" and outcome = ok'
setup = "CREATE TABLE IF NOT EXISTS fulfilled (position TEXT PRIMARY KEY, item TEXT UNIQUE)"
run = "INSERT INTO fulfilled VALUES (:position, :item)"
bind = { item = "request.choice" }
"#;

/// What a query says of a database, read by Python's own SQLite.
fn ask(database: &Path, sql: &str) -> Value {
    let program = "import json, sqlite3, sys\n\
                   rows = sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()\n\
                   print(json.dumps(rows))";
    let mut command = Command::new("python3");
    command.args(["-c", program]).arg(database).arg(sql);
    serde_json::from_str(&run(&mut command)).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_orders_have_one_effect_each_over_kills() {
    const ORDERS: usize = 1000;
    const KILLS: usize = 10;
    let fleet = Fleet::start();
    let config = fleet.folder().join("transactions.toml");
    std::fs::write(&config, RULE).expect("written");
    let start = || {
        let bus = fleet.gateway.address("bus");
        let mut command = selvedge(&["monitor", "--bus", bus, "--admin-listen", "127.0.0.1:0"]);
        command.arg("--data").arg(fleet.folder());
        command.arg("--config").arg(&config);
        Server::start(command, fleet.folder())
    };
    let mut monitor = start();
    let gateway = fleet.gateway.url("gateway");
    let ordering = tokio::spawn(async move {
        let client = reqwest::Client::new();
        let mut all = tokio::task::JoinSet::new();
        for buyer in 0..8 {
            let (client, gateway) = (client.clone(), gateway.clone());
            all.spawn(async move {
                for order in (buyer..ORDERS).step_by(8) {
                    let body = json!({"choice": format!("order-{order}")});
                    let request = client.post(format!("{gateway}/vote")).json(&body);
                    let answer = request.send().await.expect("an answer");
                    assert!(answer.status().is_success());
                }
            });
        }
        all.join_all().await;
    });
    let done = |list: &Value| list["transactions"][0]["done"].as_u64().unwrap_or(0) as usize;
    for kill in 1..=KILLS {
        let query = selvedge_system_tests::Query::new(monitor.url("admin"));
        let enough = kill * ORDERS / (KILLS + 2);
        query
            .until("/api/v1/transactions", |list| done(list) >= enough)
            .await;
        monitor.kill();
        monitor = start();
    }
    ordering.await.expect("orders");
    let query = selvedge_system_tests::Query::new(monitor.url("admin"));
    let list = query
        .until("/api/v1/transactions", |list| done(list) >= ORDERS)
        .await;
    assert_eq!(list["transactions"][0]["dead"], 0, "none was tried twice");
    let database = fleet.folder().join("monitors/monitor/orders.db");
    let counts = ask(
        &database,
        "SELECT count(*), count(DISTINCT item) FROM fulfilled",
    );
    assert_eq!(counts, json!([[ORDERS, ORDERS]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_orders_are_fulfilled_and_what_cannot_be_is_a_dead_letter() {
    let up = Up::start(&[]);
    let client = reqwest::Client::new();
    // The shop has a hundred of each: the second order for sixty must wait.
    for _ in 0..2 {
        let request = client
            .post(format!("{}/orders", up.gateway()))
            .json(&json!({"item": "cup", "quantity": 60}));
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let list = up
        .query()
        .until("/api/v1/transactions", |list| {
            list["transactions"][0]["dead"] == 1
        })
        .await;
    assert_eq!(list["transactions"][0]["done"], 1);
    let command = |args: &[&str]| {
        let mut command = selvedge(&["transactions", "--admin"]);
        command.arg(up.admin()).args(args);
        command
    };
    let letters = run(&mut command(&["--rule", "orders", "--json"]));
    let letters: Value = serde_json::from_str(&letters).expect("JSON");
    let letter = &letters["letters"][0];
    let reason = letter["reason"].as_str().expect("a reason");
    assert!(reason.contains("CHECK constraint failed"), "{reason}");
    let position = letter["position"].as_str().expect("a position");
    let behind = run(&mut command(&[
        "--rule", "orders", "--cursor", position, "--json",
    ]));
    let behind: Value = serde_json::from_str(&behind).expect("JSON");
    assert_eq!(behind, json!({"letters": [], "next": null}));
    let metrics = reqwest::get(format!("{}/metrics", up.admin())).await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    for row in [
        "selvedge_transactions_done_total{rule=\"orders\"} 1",
        "selvedge_transactions_dead_letters{rule=\"orders\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == row), "{row}: {metrics}");
    }

    let retry = ["--rule", "orders", "--retry", position];
    let failed = command(&retry).output().expect("it runs");
    assert_eq!(failed.status.code(), Some(1));
    let database = up.data().join("monitors/monitor/orders.db");
    let more = "import sqlite3, sys\n\
                database = sqlite3.connect(sys.argv[1])\n\
                database.execute('UPDATE stock SET left = 500')\n\
                database.commit()";
    let _ = run(Command::new("python3").args(["-c", more]).arg(&database));
    assert_eq!(run(&mut command(&retry)).trim(), "done");
    let sum = ask(&database, "SELECT sum(quantity), count(*) FROM fulfilled");
    assert_eq!(sum, json!([[120, 2]]));
}
