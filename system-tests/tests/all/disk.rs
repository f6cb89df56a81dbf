//! A disk that fills, and has room again: servers go on, say so, and recover (section "Bad input").

use std::path::Path;
use std::process::Command;

use selvedge_system_tests::{Server, run, selvedge};
use serde_json::json;

use crate::fabric::Viewer;

/// A small disk of its own, unmounted at the end.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(bytes: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
        let _ = run(mount.arg(folder.path()));
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

/// Whether the metrics say that this server's entries are volatile.
async fn volatile(admin: &str) -> bool {
    let answer = reqwest::get(format!("{admin}/metrics"))
        .await
        .expect("an answer");
    let text = answer.text().await.expect("text");
    let line = text
        .lines()
        .find(|line| line.starts_with("selvedge_journal_volatile{server=\"content-1\"}"));
    line.expect("the metric is there").ends_with(" 1")
}

#[tokio::test]
async fn servers_go_on_when_the_disk_fills_and_recover_when_it_has_room() {
    if run(Command::new("id").arg("-u")).trim() != "0" {
        eprintln!("skipped: a small disk needs root");
        return;
    }
    let disk = Disk::new("96m");
    let outside = tempfile::tempdir().expect("a folder");
    let mut command = selvedge(&["up", "--ephemeral", "--servers", "1", "--data"]);
    command.arg(disk.path().join("data"));
    let server = Server::start(command, outside.path());
    let admin = server.url("admin");
    let mut viewer = Viewer::at(server.url("gateway"));
    let (answer, _) = viewer.post("/vote", &json!({"choice": "before"})).await;
    assert!(answer.status().is_success());

    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    let filled = std::io::copy(&mut std::io::repeat(0), &mut file);
    assert_eq!(
        filled.expect_err("it fills").kind(),
        std::io::ErrorKind::StorageFull
    );

    // Space was set aside: it takes some entries with bodies until that is used up.
    let body = json!({"choice": "x", "padding": "y".repeat(12_000)});
    let mut requests = 0;
    while !volatile(&admin).await {
        for _ in 0..50 {
            let (answer, _) = viewer.post("/vote", &body).await;
            assert!(answer.status().as_u16() < 500, "{}", answer.status());
        }
        requests += 50;
        assert!(requests < 20_000, "it never noticed");
    }
    let (answer, _) = viewer.post("/vote", &json!({"choice": "volatile"})).await;
    assert!(answer.status().is_success(), "it goes on serving");

    drop(file);
    std::fs::remove_file(&filler).expect("removed");
    while volatile(&admin).await {
        let (answer, _) = viewer.get("/channel").await;
        assert!(answer.status().is_success());
    }
    let (answer, _) = viewer.post("/vote", &json!({"choice": "after"})).await;
    assert!(answer.status().is_success());

    // What was written after the recovery is on the disk, in an epoch that says where it hangs.
    let journal = disk.path().join("data/journals/content-1");
    let text = run(selvedge(&["log", "--json"]).arg(&journal));
    for choice in ["before", "after"] {
        assert!(
            text.contains(&format!("{{\"choice\":\"{choice}\"}}")),
            "{choice}"
        );
    }
}
