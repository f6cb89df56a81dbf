//! A hundred receivers of the channel's video take a content server's broadcast from it and go on
//! with their sessions (A10).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Stdio;

use selvedge_system_tests::{Query, Up, selvedge};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::channel::media;

/// Receivers that watch HLS at the gateway, and members of a multicast group.
const OVER_HLS: usize = 50;
const IN_THE_GROUP: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_receivers_take_an_answer_from_the_video_and_go_on_with_their_visits() {
    let folder = tempfile::tempdir().expect("a folder");
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = free.local_addr().expect("its address").port();
    let group = format!("udp://239.192.7.10:{port}?iface=127.0.0.1");
    let output = format!("{group}&ttl=0");
    let media = media("channel.ts");
    // One server takes all votes, so that its broadcast addresses every receiver.
    let up = Up::start(&[
        "--servers",
        "1",
        "--channel",
        media.to_str().expect("a path"),
        "--channel-output",
        &output,
    ]);
    let gateway = up.gateway();
    let hls = std::iter::repeat_n("hls", OVER_HLS);
    let videos = hls.chain(std::iter::repeat_n(group.as_str(), IN_THE_GROUP));
    // They all start at once, and each has voted when it listens.
    let started = videos.enumerate().map(|(number, video)| {
        let state = folder.path().join(format!("viewer-{number}.json"));
        Receiver::start(&gateway, video, &state)
    });
    let mut receivers: Vec<Receiver> = started.collect();
    for receiver in &mut receivers {
        receiver.until("listening").await;
    }
    let client = reqwest::Client::new();
    let order = client.post(format!("{gateway}/broadcast"));
    let order = order.json(&json!({"content": "the goal again"})).send();
    assert_eq!(order.await.expect("an answer").status(), 202);

    let mut sessions = BTreeSet::new();
    for mut receiver in receivers {
        let told = receiver.until("broadcast").await;
        assert_eq!(told["addressed"], true, "{told}");
        let content = told["content"].as_str().expect("text");
        assert!(content.contains("the goal again"), "{content}");
        let end = receiver.until("end").await;
        // A round before it, and one after.
        let [sent, answered] = ["sent", "answered"].map(|what| end[what].as_u64());
        assert_eq!((sent, answered), (Some(2), Some(2)), "{end}");
        assert!(receiver.child.wait().await.expect("it ends").success());
        sessions.insert(end["session"].as_str().expect("a visit").to_owned());
    }
    assert_eq!(sessions.len(), OVER_HLS + IN_THE_GROUP);
    // Who comes only now hears of it too, though it brings him nothing to go on from.
    let mut late = Receiver::start(&gateway, "hls", &folder.path().join("late.json"));
    let told = late.until("broadcast").await;
    assert_eq!(told["addressed"], false, "{told}");
    assert!(
        told["content"].to_string().contains("the goal again"),
        "{told}"
    );
    for session in sessions {
        follows(&up.query(), &session).await;
    }
}

/// What was done after the broadcast follows it, in the visit's own order.
async fn follows(query: &Query, session: &str) {
    let visit = query.timeline(session, 3).await;
    let entries = visit["entries"].as_array().expect("a list");
    let broadcast = entries
        .iter()
        .find(|entry| entry["action"] == "broadcast content");
    let broadcast = broadcast.expect("it is in the visit");
    let [server, epoch] = ["server", "epoch"].map(|part| broadcast[part].as_str().expect("text"));
    let position = json!(format!("{server}/{epoch}/{}", broadcast["sequence"]));
    let after = entries.iter().filter(|entry| {
        let after = entry["after"].as_array();
        entry["action"] == "POST /vote" && after.is_some_and(|all| all.contains(&position))
    });
    assert_eq!(after.count(), 1, "{visit}");
}

/// A terminal that listens to the video. Dropped, it is killed.
struct Receiver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Receiver {
    fn start(gateway: &str, video: &str, state: &Path) -> Self {
        let mut command = Command::from(selvedge(&["receiver", "listen", "--json"]));
        command.args(["--video", video, "--gateway", gateway]);
        command.args(["--count", "1", "--walk", "vote:red", "--state"]);
        command.arg(state).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let out = child.stdout.take().expect("piped");
        Self {
            child,
            lines: BufReader::new(out).lines(),
        }
    }

    /// The next line that tells this event.
    async fn until(&mut self, event: &str) -> Value {
        while let Some(line) = self.lines.next_line().await.expect("readable") {
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["event"] == event {
                return line;
            }
        }
        panic!("it ended without {event:?}");
    }
}
