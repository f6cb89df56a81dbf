//! Monitors of a user's own: the Python example counts every vote once, whoever dies (B6).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use selvedge_system_tests::{Server, Up, root, selvedge};
use serde_json::{Value, json};

/// The Python example. Dropped, it is killed.
struct Monitor {
    child: Child,
    out: std::io::Lines<BufReader<ChildStdout>>,
}

impl Monitor {
    fn start(admin: &str, database: &Path) -> Self {
        let mut command = Command::new("python3");
        command.arg(root().join("examples/python/monitor.py"));
        command.args([admin]).arg(database).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python runs");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, out }
    }

    /// Reads on until it has counted so many. (One that was killed had perhaps counted on after
    /// the last line that was read of it.)
    fn until_at_least(&mut self, votes: usize) {
        loop {
            let line = self.out.next().expect("it goes on").expect("readable");
            let counted: Option<usize> = line.strip_prefix("counted ").and_then(|n| n.parse().ok());
            if counted.is_some_and(|counted| counted >= votes) {
                return;
            }
        }
    }

    /// Reads on until it has counted so many, and never more.
    fn until_counted(&mut self, votes: usize) {
        loop {
            let line = self.out.next().expect("it goes on").expect("readable");
            let counted: Option<usize> = line.strip_prefix("counted ").and_then(|n| n.parse().ok());
            match counted {
                Some(counted) if counted == votes => return,
                Some(counted) => assert!(counted < votes, "{counted} of {votes}"),
                None => {}
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // SIGKILL, at whatever it does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn vote(gateway: &str, votes: usize) {
    let client = reqwest::Client::new();
    for number in 0..votes {
        let body = json!({"choice": format!("choice-{}", number % 3)});
        let request = client.post(format!("{gateway}/vote")).json(&body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_in_python_sees_every_vote_once_over_restarts_of_both_sides() {
    let mut up = Up::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("votes.db");

    // Killed in the midst of a stream, over and over.
    vote(&up.gateway(), 150).await;
    for counted in [20, 21, 77, 130] {
        let mut monitor = Monitor::start(&up.admin(), &database);
        monitor.until_at_least(counted);
    }
    let mut monitor = Monitor::start(&up.admin(), &database);
    monitor.until_counted(150);

    // The server it asks is killed, votes go on, and it comes back to another life of theirs.
    let gateway = up.gateway();
    let voting = tokio::spawn(async move { vote(&gateway, 50).await });
    voting.await.expect("votes");
    up.server_mut().kill();
    drop(monitor);
    up.restart();
    vote(&up.gateway(), 50).await;
    let mut monitor = Monitor::start(&up.admin(), &database);
    monitor.until_counted(250);
}

/// The choices of the first three votes that a stream tells.
async fn first_votes(url: &str) -> Vec<Value> {
    let filter = "service+%3D+content+and+direction+%3D+inbound";
    let mut stream = reqwest::get(format!("{url}?from=oldest&filter={filter}"))
        .await
        .expect("a stream");
    assert_eq!(stream.headers()["content-type"], "application/x-ndjson");
    let mut text = Vec::new();
    loop {
        let lines = text.split_inclusive(|b| *b == b'\n');
        let whole = lines.filter(|line| line.len() > 1 && line.ends_with(b"\n"));
        let votes: Vec<Value> = whole
            .map(|line| {
                let line: Value = serde_json::from_slice(line).expect("JSON");
                line["entry"]["request"]["body"]["choice"].clone()
            })
            .collect();
        if votes.len() == 3 {
            return votes;
        }
        text.extend_from_slice(&stream.chunk().await.expect("it goes on").expect("a piece"));
    }
}

#[tokio::test]
async fn a_sidecar_tells_the_same_entries_as_the_admin_port() {
    let up = Up::start(&["--servers", "1"]);
    vote(&up.gateway(), 3).await;
    let votes = first_votes(&format!("{}/api/v1/entries", up.admin())).await;
    assert_eq!(votes, ["choice-0", "choice-1", "choice-2"]);

    let bus = up.server().address("bus");
    let args = [
        "sidecar",
        "--name",
        "side",
        "--upstream",
        "http://127.0.0.1:1",
    ];
    let mut command = selvedge(&args);
    command.args(["--bus", bus]).arg("--data").arg(up.data());
    let folder = tempfile::tempdir().expect("a folder");
    let sidecar = Server::start(command, folder.path());
    let local = sidecar.url("egress") + "/selvedge/v1/entries";
    assert_eq!(first_votes(&local).await, votes);

    for url in [format!("{}/api/v1/entries", up.admin()), local] {
        let refused = reqwest::get(format!("{url}?filter=votes+%3D+1")).await;
        assert_eq!(refused.expect("an answer").status(), 400);
    }
}
