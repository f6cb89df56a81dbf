//! From a viewer's vote to a mark inside the live video, and what receivers make of it (B5, B7, B8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use selvedge_system_tests::{Server, Up, python, root, run, selvedge};
use selvedge_video::packet::PACKET;
use selvedge_video::testing::chance;
use selvedge_video::{Placed, Reader, Seen};
use serde_json::{Value, json};

use crate::thresholds::webhook;

/// A stream that `cargo xtask media` made.
pub(crate) fn media(name: &str) -> PathBuf {
    let path = root().join("target/media").join(name);
    assert!(
        path.exists(),
        "no {}: `cargo xtask media` makes it",
        path.display()
    );
    path
}

fn up() -> Up {
    let media = media("channel.ts");
    Up::start(&["--channel", media.to_str().expect("a path")])
}

async fn vote(gateway: &str, choice: &str) {
    let client = reqwest::Client::new();
    let vote = client
        .post(format!("{gateway}/vote"))
        .json(&json!({"choice": choice}));
    let answer = vote.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// A receiver on the channel, until it has seen so many indications.
fn watch(gateway: &str, count: u64) -> Vec<Value> {
    let count = count.to_string();
    let text = run(&mut selvedge(&[
        "receiver",
        "watch",
        "--json",
        "--gateway",
        gateway,
        "--count",
        &count,
    ]));
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_become_an_indication_that_receivers_and_tools_of_others_read() {
    let up = up();
    let gateway = up.gateway();
    let watching = tokio::task::spawn_blocking({
        let gateway = gateway.clone();
        move || watch(&gateway, 1)
    });
    for _ in 0..5 {
        vote(&gateway, "red").await;
    }
    let seen = watching.await.expect("it watched");
    let indication = &seen[0]["indication"];
    assert_eq!(indication["rule"], "votes");
    assert_eq!(indication["group"], "red");
    assert_eq!(indication["state"], "raised");
    assert_eq!(indication["value"], 5.0);
    assert!(
        seen[0]["crossing_to_packet_ns"]
            .as_i64()
            .is_some_and(|ns| ns >= 0)
    );
    // Who comes later learns the same from a heartbeat.
    let late = watch(&gateway, 1);
    assert_eq!(late[0]["indication"]["id"], indication["id"]);

    let client = reqwest::Client::new();
    let get = |path: String| {
        client
            .get(format!("{gateway}/selvedge/channel/{path}"))
            .send()
    };
    let answer = get("channel.m3u8".to_owned()).await.expect("an answer");
    assert_eq!(
        answer.headers()["content-type"],
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let playlist = answer.text().await.expect("text");
    let id = indication["id"].as_str().expect("an id");
    assert!(
        playlist.contains(&format!("#EXT-X-DATERANGE:ID=\"{id}\"")),
        "{playlist}"
    );

    // The segments as one file, for programs that read files.
    let mut bytes = Vec::new();
    let mut segments = 0;
    for file in playlist.lines().filter(|line| line.starts_with("segment-")) {
        let answer = get(file.to_owned()).await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "video/mp2t");
        bytes.extend(answer.bytes().await.expect("whole"));
        segments += 1;
    }
    let file = up.data().join("watched.ts");
    std::fs::write(&file, &bytes).expect("written");
    others(&file, &bytes, id, segments);
}

/// What FFmpeg's libraries and threefive read is what we read; ffmpeg plays it without a fault.
fn others(file: &Path, bytes: &[u8], id: &str, segments: u64) {
    let mut ours: Vec<Placed> = Vec::new();
    let mut tags = BTreeSet::new();
    let mut cues = Vec::new();
    Reader::default().push(bytes, |seen| match seen {
        Seen::Id3(placed) => {
            tags.insert(placed.pts);
            ours.push(placed);
        }
        Seen::Tag { pts } => {
            tags.extend(pts);
        }
        Seen::Cue(cue) => cues.push(cue),
        Seen::Carried(_) => {}
    });
    let script = root().join("system-tests/scripts/video.py");
    let read = run(python().arg(script).arg(file));
    let read: Value = serde_json::from_str(&read).expect("JSON");
    let theirs = read["tags"].as_array().expect("a list");
    let stamps: BTreeSet<u64> = theirs
        .iter()
        .filter_map(|tag| tag["pts"].as_u64())
        .collect();
    assert_eq!(stamps, tags);
    let values = theirs
        .iter()
        .flat_map(|tag| tag["values"].as_array().into_iter().flatten());
    let ids: Vec<&str> = values.filter_map(|value| value["id"].as_str()).collect();
    let expected: Vec<&str> = ours
        .iter()
        .map(|placed| placed.indication.id.as_str())
        .collect();
    assert_eq!(ids, expected);
    let cue = &read["cues"][0];
    assert_eq!(cues.len(), 1);
    assert_eq!(cue["type"], 0x40);
    assert!(
        cue["upid"].to_string().contains("53564447") || cue["upid"].to_string().contains("SVDG"),
        "{cue}"
    );
    let first = ours
        .iter()
        .find(|placed| !placed.repeat && placed.indication.id == id);
    assert_eq!(first.map(|placed| placed.pts), Some(cues[0].pts));
    let seconds = cue["pts"].as_f64().expect("a time");
    assert!(
        (seconds - cues[0].pts as f64 / 90_000.0).abs() < 0.001,
        "{cue}"
    );
    // Every picture is there and whole.
    let played = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(file)
        .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"])
        .output()
        .expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success() && said.is_empty(), "{said}");
    // A second each, of 25 pictures.
    assert_eq!(read["pictures"].as_u64(), Some(25 * segments), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_what_the_video_says_and_who_comes_late_sees_it_soon() {
    let packages = root().join("target/browser");
    assert!(
        packages.join("node_modules").exists(),
        "no driver for a browser: `cargo xtask setup` installs it"
    );
    let (file, green) = (media("channel.ts"), media("green.ts"));
    let clip = format!("the goal again={}", green.display());
    let up = Up::start(&["--channel", file.to_str().expect("a path"), "--clip", &clip]);
    let picture = root().join("target/channel.png");
    let gateway = up.gateway();
    let seen = tokio::task::spawn_blocking(move || {
        let script = root().join("system-tests/programs/browser/channel.mjs");
        let mut node = Command::new("node");
        node.arg(script).args([&gateway]).arg(packages).arg(picture);
        run(&mut node)
    });
    let seen = seen.await.expect("it ran");
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen["errors"], json!([]), "{seen}");
    assert_eq!(seen["before"], false);
    assert_eq!(seen["overlay"], "red is ahead: 5 votes");
    assert!(
        seen["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("votes.")),
        "{seen}"
    );
    assert!(
        seen["indications"][0]
            .as_str()
            .is_some_and(|said| said.starts_with("votes: red raised"))
    );
    // What was ordered to be broadcast comes on in the video (A6).
    assert_eq!(seen["content"], "On now: the goal again");
    // And the channel after it, in the player's own time.
    assert!(
        seen["returned"].as_f64().is_some_and(|at| at > 4.0),
        "{seen}"
    );
    assert!(
        seen["broadcast"]
            .as_str()
            .is_some_and(|name| name.starts_with("content-"))
    );
    let late = |what: &str| seen["late"][what].as_f64().expect("a time");
    let after = late("overlay") - late("playing");
    // By the heartbeats of its first segment.
    assert!(after <= 1.0, "{after} s after the first picture");
}

/// One life of an encoder of its own, until it is killed; `link` is where monitors connect.
struct Life {
    server: Server,
    /// Where it sends.
    to: SocketAddr,
    reading: JoinHandle<Vec<Seen>>,
}

impl Life {
    fn start(folder: &Path, keys: &Path, link: &str) -> Self {
        // Each has a socket of its own: what is seen there is of one life.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let to = socket.local_addr().expect("its address");
        let reading = std::thread::spawn(move || read(&socket));
        let mut command = selvedge(&["encoder", "--simulate-source", "--listen", link]);
        command.arg("--input").arg(media("channel.ts"));
        command.arg("--output").arg(format!("udp://{to}"));
        command.arg("--data").arg(folder.join("encoder"));
        command.arg("--keys").arg(keys);
        Self {
            server: Server::start(command, folder),
            to,
            reading,
        }
    }

    /// Kills it; what was in the stream that it had sent.
    fn kill(mut self) -> Vec<Seen> {
        self.server.kill();
        // An empty datagram behind its last.
        let end = UdpSocket::bind("127.0.0.1:0").expect("a port");
        end.send_to(&[], self.to).expect("sent");
        self.reading.join().expect("it read")
    }
}

/// What is in a stream, up to an empty datagram.
fn read(socket: &UdpSocket) -> Vec<Seen> {
    let mut reader = Reader::default();
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).expect("the stream goes on");
        if length == 0 {
            return all;
        }
        assert_eq!(length % PACKET, 0);
        reader.push(&buffer[..length], |seen| all.push(seen));
    }
}

/// Rules that are crossed together, by the first vote for a choice.
const RULES: usize = 4;
/// Choices: so a thousand crossings.
const CHOICES: usize = 250;
/// Times that the encoder is killed.
const KILLS: usize = 25;

/// `SELVEDGE_TEST_SEED` replays the kills of a run; the times within them are the machine's.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_crossings_are_in_the_video_though_the_encoder_is_killed_at_random() {
    let seed = std::env::var("SELVEDGE_TEST_SEED").ok();
    let seed = seed.map_or_else(drawn, |seed| seed.parse().expect("a number"));
    println!("SELVEDGE_TEST_SEED={seed}");
    let mut state = seed;
    let mut below = |limit: u64| chance(&mut state) % limit;

    let folder = tempfile::tempdir().expect("a folder");
    let (webhook, mut told) = webhook(0).await;
    let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let link = free.local_addr().expect("its address").to_string();
    let mut text = format!(
        "[monitor]\nreceivers = [{{ link = \"{link}\" }}, {{ webhook = \"{webhook}\" }}]\n"
    );
    for rule in 0..RULES {
        text += &format!(
            "[[threshold]]\nname = \"rule-{rule}\"\n\
             filter = 'direction = inbound and service = content and action = \"POST /vote\"'\n\
             group_by = \"request.choice\"\ncount = \"events\"\nraise = 1\n"
        );
    }
    let config = folder.path().join("selvedge.toml");
    std::fs::write(&config, text).expect("written");
    let up = Up::start(&["--config", config.to_str().expect("a path")]);
    let keys = up.data().join("keys");
    let start = || Life::start(folder.path(), &keys, &link);

    let mut kills = BTreeSet::new();
    while kills.len() < KILLS {
        kills.insert(below(CHOICES as u64) as usize);
    }
    let mut running = start();
    let mut lives = Vec::new();
    for choice in 0..CHOICES {
        vote(&up.gateway(), &format!("choice-{choice}")).await;
        // The votes go on for so long that kills fall into every state of what they cross.
        tokio::time::sleep(Duration::from_micros(below(60_000))).await;
        if kills.contains(&choice) {
            lives.push(running.kill());
            running = start();
        }
    }
    let drained = |status: &Value| {
        let receivers = status["receivers"].as_array().expect("a list");
        receivers.iter().all(|receiver| receiver["waiting"] == 0)
    };
    let crossed = |status: &Value| {
        let rules = status["thresholds"].as_array().expect("a list");
        let groups = |rule: &Value| rule["groups"].as_array().map_or(0, Vec::len);
        rules.iter().map(groups).sum::<usize>() == RULES * CHOICES
    };
    let all = |status: &Value| crossed(status) && drained(status);
    up.query().until("/api/v1/thresholds", all).await;
    // All is acknowledged: so all is in the stream, and a kill now takes nothing back.
    lives.push(running.kill());

    // What the monitor told another receiver.
    let mut expected: BTreeMap<String, Value> = BTreeMap::new();
    while let Ok(crossing) = told.try_recv() {
        expected.insert(crossing["id"].as_str().expect("an id").to_owned(), crossing);
    }
    assert_eq!(expected.len(), RULES * CHOICES);
    let mut placed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cues = BTreeSet::new();
    for seen in lives.iter().flatten() {
        match seen {
            Seen::Id3(seen) => {
                let indication = &seen.indication;
                let crossing = expected.get(&indication.id);
                let crossing = crossing.unwrap_or_else(|| panic!("{seen:?} was never crossed"));
                // Repeats too say of an id what was said of it first.
                assert_eq!(crossing["rule"], indication.rule.as_str());
                assert_eq!(crossing["group"].as_str(), indication.group.as_deref());
                assert_eq!(crossing["value"], indication.value);
                assert_eq!(crossing["at"], json!(indication.at));
                assert_eq!(crossing["change"], json!(indication.state));
                *placed.entry(&indication.id).or_default() += usize::from(!seen.repeat);
            }
            Seen::Cue(cue) => {
                assert!(expected.contains_key(&cue.id), "{cue:?} was never crossed");
                cues.insert(&cue.id);
            }
            Seen::Carried(_) | Seen::Tag { .. } => {}
        }
    }
    // A crossing of which only heartbeats speak was missed.
    let missed: Vec<&String> = expected
        .keys()
        .filter(|id| placed.get(id.as_str()).is_none_or(|count| *count == 0) || !cues.contains(id))
        .collect();
    assert_eq!(missed, [""; 0], "not in the video");
    let again = placed.values().filter(|count| **count > 1).count();
    println!(
        "{} lives, {again} crossings placed more than once",
        lives.len()
    );
}

/// A seed that is another each time.
fn drawn() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_nanos() as u64
}
