//! Restarts: what was taken stays, what came meanwhile is caught up.

use selvedge_journal::testing::Crash;
use serde_json::Value;

use super::fleet::Fleet;
use crate::AdminExtras;
use crate::fixture::{self, Spec};

fn rows(list: &Value) -> usize {
    list["requests"].as_array().map_or(0, Vec::len)
}

fn request(n: u8) -> Spec {
    Spec {
        origin: Some(n),
        stack: vec![n],
        at: i64::from(n),
        ..Spec::default()
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_it_ended() {
    let mut fleet = Fleet::start().await;
    let server = fleet.join("content-1").await;
    fleet.write(server, &[request(1), request(2)]).await;
    fleet
        .until("/api/v1/requests", |list| rows(list) == 2)
        .await;
    fleet.close().await;
    fleet.write(server, &[request(3)]).await;
    fleet.open(AdminExtras::default()).await;
    fleet
        .until("/api/v1/requests", |list| rows(list) == 3)
        .await;
    let metrics = fleet.get("/metrics").await.body;
    assert!(
        metrics.contains("repeated_records_total 0\n"),
        "only what was missing came: {metrics}"
    );
}

#[tokio::test]
async fn a_crash_of_the_host_costs_a_second_fetch_and_no_entry() {
    let mut fleet = Fleet::start().await;
    let server = fleet.join("content-1").await;
    for n in 1..20 {
        fleet.write(server, &[request(n)]).await;
    }
    fleet
        .until("/api/v1/requests", |list| rows(list) == 19)
        .await;
    fleet.disk.crash(Crash::Torn { seed: 7 });
    fleet.close().await;
    fleet.open(AdminExtras::default()).await;
    fleet
        .until("/api/v1/requests", |list| rows(list) == 19)
        .await;
    let path = format!("/api/v1/requests/{}", fixture::origin(5));
    assert_eq!(
        fleet.get(&path).await.json()["nodes"][0]["service"],
        "service-1"
    );
}

#[tokio::test]
async fn while_the_disk_refuses_it_says_so_and_afterwards_has_everything() {
    let mut fleet = Fleet::start().await;
    let server = fleet.join("content-1").await;
    fleet.write(server, &[request(1)]).await;
    fleet
        .until("/api/v1/requests", |list| rows(list) == 1)
        .await;
    fleet.disk.set_full(true);
    fleet.write(server, &[request(2)]).await;
    loop {
        let ready = fleet.get("/readyz").await;
        if ready.status == 503 {
            assert!(
                ready.body.starts_with("cannot write /repository/"),
                "{}",
                ready.body
            );
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(
        rows(&fleet.get("/api/v1/requests").await.json()),
        1,
        "queries go on"
    );
    fleet.disk.set_full(false);
    fleet
        .until("/api/v1/requests", |list| rows(list) == 2)
        .await;
    assert_eq!(fleet.get("/readyz").await.status, 200);
}
