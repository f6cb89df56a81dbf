//! What the channel shows: content comes on that was ordered (A6), and where the input stays out,
//! the stream goes on without it (B8).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use selvedge_identity::{KeyRing, purpose};
use selvedge_monitor::link::LinkSender;
use selvedge_system_tests::{Server, Up, selvedge};
use selvedge_video::packet::{self, PACKET};
use selvedge_video::{Pmt, Reader, Seen, TICKS_PER_SECOND, pcr_distance};
use serde_json::json;

use crate::channel::media;
use crate::stream_tools::{
    AUDIO, PMT, VIDEO, counters, findings, joined, notification, ours, packets, sections,
};

/// Bits a second, of channel.ts.
const RATE: u64 = 1_500_000;
/// How long a failing test waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of pictures.
const SECOND: usize = 25;
/// Where ffmpeg puts the description of the service.
const SDT: u16 = 0x11;
const PACKETS_PER_SECOND: usize = RATE as usize / 8 / PACKET;

/// Takes a stream that comes to a port of this host: a thread does, whatever the test waits for.
struct Recorder {
    url: String,
    datagrams: Receiver<Vec<u8>>,
    stream: Vec<u8>,
}

impl Recorder {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let url = format!("udp://{}", socket.local_addr().expect("its address"));
        let (sender, datagrams) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            let mut next = || {
                let length = socket.recv(&mut buffer).expect("readable");
                buffer[..length].to_vec()
            };
            // Until nobody listens any more.
            while sender.send(next()).is_ok() {}
        });
        Self {
            url,
            datagrams,
            stream: Vec::new(),
        }
    }

    fn take(&mut self) -> &[u8] {
        let came = self.datagrams.recv_timeout(PATIENCE);
        let came = came.expect("the stream goes on");
        assert_eq!(came.len() % PACKET, 0);
        let before = self.stream.len();
        self.stream.extend_from_slice(&came);
        &self.stream[before..]
    }

    /// Takes so many packets more.
    fn more(&mut self, packets: usize) {
        let end = self.stream.len() + packets * PACKET;
        while self.stream.len() < end {
            self.take();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_ordered_comes_on_and_after_it_the_channel_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, green) = (media("channel.ts"), media("green.ts"));
    let clip = format!("the goal again={}", green.display());
    let file = file.to_str().expect("a path");
    let up = Up::start(&["--channel", file, "--clip", &clip]);
    // One of the fleet's own, and one that is a process by itself, on the fleet's bus.
    let mut recorder = Recorder::new();
    let mut encoder = selvedge(&["encoder", "--name", "second", "--simulate-source"]);
    encoder.args(["--input", file, "--clip", &clip, "--output", &recorder.url]);
    encoder.args([
        "--bus",
        up.server().address("bus"),
        "--listen",
        "127.0.0.1:0",
    ]);
    encoder.arg("--data").arg(folder.path());
    encoder.arg("--keys").arg(up.data().join("keys"));
    let _encoder = Server::start(encoder, folder.path());
    let gateway = up.gateway();
    let order = async |content: &str| {
        let order = reqwest::Client::new().post(format!("{gateway}/broadcast"));
        let answer = order.json(&json!({"content": content})).send().await;
        assert_eq!(answer.expect("an answer").status(), 202);
    };
    recorder.more(2 * PACKETS_PER_SECOND);
    // Nothing comes on that there is no clip of.
    order("something else").await;
    order("the goal again").await;
    let recorder = tokio::task::spawn_blocking(move || {
        let mut reader = Reader::default();
        let mut ordered = false;
        while !ordered {
            reader.push(recorder.take(), |seen| {
                if let Seen::Carried(carried) = seen {
                    let content = carried.content.expect("text");
                    ordered |= content.contains("the goal again");
                }
            });
        }
        // A second until the next key frame, four of the clip, and two more.
        recorder.more(7 * PACKETS_PER_SECOND);
        recorder
    });
    let recorder = recorder.await.expect("it recorded");

    // One stream, without a fault that the file does not have.
    let mut stream = joined(&recorder.stream, PACKETS_PER_SECOND);
    // The last picture is not whole.
    let starts = |p: &packet::Bytes| packet::pid(p) == VIDEO && packet::starts_unit(p);
    let last = packets(&stream).iter().rposition(starts);
    stream.truncate(last.expect("a picture") * PACKET);
    counters(&stream);
    let clock = references(&stream);
    assert!(clock.jumps.is_empty());
    assert!(clock.off <= 13.5, "{} ticks", clock.off);
    let had = findings(&std::fs::read(file).expect("readable"), RATE);
    let found = findings(&stream, RATE);
    assert!(found.keys().all(|what| had.contains_key(what)), "{found:?}");

    // Its pictures are the channel's, then the clip's, whole, then the channel's again.
    let file = folder.path().join("recorded.ts");
    std::fs::write(&file, &stream).expect("written");
    let greens = greens(&file);
    let runs = greens.chunk_by(|a, b| a == b);
    let runs: Vec<(bool, usize)> = runs.map(|run| (run[0], run.len())).collect();
    let [(false, before), (true, clip), (false, after)] = runs[..] else {
        panic!("{runs:?}");
    };
    assert!(before >= SECOND && after >= SECOND, "{runs:?}");
    assert_eq!(clip, 4 * SECOND);

    // HLS says where, before it and after it.
    let playlist = async {
        loop {
            let url = format!("{gateway}/selvedge/channel/channel.m3u8");
            let answer = reqwest::get(url).await.expect("an answer");
            let playlist = answer.text().await.expect("text");
            if playlist.matches("#EXT-X-DISCONTINUITY\n").count() >= 2 {
                return playlist;
            }
        }
    };
    let playlist = tokio::time::timeout(PATIENCE, playlist).await;
    let playlist = playlist.expect("both are said");
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 2);
    let metrics = reqwest::get(format!("{}/metrics", up.admin())).await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    assert!(
        metrics.contains("selvedge_encoder_shown_total 1\n"),
        "{metrics}"
    );
}

/// Of each picture, whether it is green, as ffmpeg decodes it without a complaint.
fn greens(file: &Path) -> Vec<bool> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-xerror", "-i"]).arg(file);
    ffmpeg.args(["-map", "0:v", "-vf", "scale=1:1", "-vsync", "passthrough"]);
    ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    let played = ffmpeg.output().expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success() && said.is_empty(), "{said}");
    let pictures = played.stdout.as_chunks::<3>().0.iter();
    let greens = pictures.map(|[red, green, blue]| *red < 40 && *green > 90 && *blue < 40);
    greens.collect()
}

/// What the clock of a stream is like.
struct References {
    /// In ticks: from where the one before and the packets between say, at most.
    off: f64,
    /// The longest from one to the next, by place, in seconds.
    gap: f64,
    /// The packets that say that the clock jumps.
    jumps: Vec<usize>,
}

fn references(stream: &[u8]) -> References {
    let mut found = References {
        off: 0.0,
        gap: 0.0,
        jumps: Vec::new(),
    };
    let mut first: Option<(usize, u64)> = None;
    let mut last = 0;
    for (at, packet) in packets(stream).iter().enumerate() {
        let Some(pcr) = packet::pcr(packet).filter(|_| packet::pid(packet) == VIDEO) else {
            continue;
        };
        if packet::is_discontinuity(packet) {
            found.jumps.push(at);
            first = None;
        }
        let (from, value) = *first.get_or_insert((at, pcr));
        let seconds = |packets: usize| (packets * PACKET * 8) as f64 / RATE as f64;
        let place = seconds(at - from) * TICKS_PER_SECOND as f64;
        found.off = found
            .off
            .max((pcr_distance(value, pcr) as f64 - place).abs());
        found.gap = found
            .gap
            .max(seconds(at - std::mem::replace(&mut last, at)));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_stays_out_is_counted_and_the_stream_goes_on_until_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::new();
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let input = format!("udp://{}", free.local_addr().expect("its address"));
    drop(free);
    let encoder = |name: &str, args: &[&str]| {
        let mut command = selvedge(&["encoder", "--name", name, "--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(folder.path()).args(args);
        Server::start(command, folder.path())
    };
    let output = recorder.url.clone();
    let admin = ["--admin-listen", "127.0.0.1:0"];
    let own = encoder(
        "own",
        &[&["--input", &input, "--output", &output], &admin[..]].concat(),
    );
    let file = media("channel.ts");
    let source = || {
        let file = file.to_str().expect("a path");
        encoder(
            "source",
            &["--simulate-source", "--input", file, "--output", &input],
        )
    };
    let mut running = source();
    recorder.more(3 * PACKETS_PER_SECOND);
    running.kill();
    // Two seconds of it come from nowhere, and what happens meanwhile is said in them.
    let keys = std::fs::read_to_string(folder.path().join("keys")).expect("a key file");
    let keys = KeyRing::parse(&keys).expect("keys");
    let key = keys
        .derive(purpose::THRESHOLD, keys.signer())
        .expect("the signing key");
    let mut sender = LinkSender::new(own.address("threshold").to_owned(), "test".to_owned(), key);
    assert_eq!(sender.send(&notification(1)).await, Ok(()));
    recorder.more(2 * PACKETS_PER_SECOND);
    let metrics = reqwest::get(format!("{}/metrics", own.url("admin"))).await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    assert!(
        metrics.contains("selvedge_encoder_input_lost_total 1\n"),
        "{metrics}"
    );
    let out = recorder.stream.len() / PACKET;
    let _running = source();
    recorder.more(3 * PACKETS_PER_SECOND);

    let stream = &recorder.stream;
    let clock = references(stream);
    // Its own source's, and the one with which it came back.
    let [back] = clock.jumps[..] else {
        panic!("{:?}", clock.jumps);
    };
    assert!(back > out, "{back} before {out}");
    assert!(clock.off <= 13.5, "{} ticks", clock.off);
    assert!(clock.gap <= 0.1, "{} s without a clock", clock.gap);
    let map = sections(stream, PMT).last().and_then(Pmt::read);
    let own = ours(stream);
    let streams = map.expect("a map").streams.into_iter();
    let source_pids = streams.map(|stream| stream.pid);
    let source_pids: Vec<u16> = source_pids.filter(|pid| !own.contains(pid)).collect();
    let kept: Vec<u8> = packets(stream)
        .iter()
        .filter(|p| [0, PMT, own[0], own[1]].contains(&packet::pid(p)))
        .flatten()
        .copied()
        .collect();
    counters(&kept);
    assert!(sections(stream, PMT).count() > 40);
    let mut firsts = BTreeMap::new();
    let mut reader = Reader::default();
    for (at, packet) in packets(stream).iter().enumerate() {
        reader.push(packet, |seen| {
            if let Seen::Id3(placed) = seen {
                firsts.entry(placed.indication.id).or_insert(at);
            }
        });
    }
    assert!(firsts["poll.a1.1.raised"] < back);
    // What the source sent stays out, and its counters jump: nothing else is wrong.
    let found = findings(stream, RATE);
    let had = findings(&std::fs::read(&file).expect("readable"), RATE);
    let of_the_source = [VIDEO, AUDIO, SDT].into_iter().chain(source_pids);
    let of_the_source: Vec<String> = of_the_source
        .map(|pid| format!("Some(Pid({pid:#06X}))").replace("0X", "0x"))
        .collect();
    for (what, count) in &found {
        let (name, pid) = what.split_once(' ').expect("both");
        let out = ["Continuity_count", "PTS", "PID", "SDT", "SI_repetition"];
        let stays_out = of_the_source.iter().any(|own| own == pid)
            && out.iter().any(|error| name.starts_with(error));
        assert!(
            had.contains_key(what) || (stays_out && *count <= 2),
            "{found:?}"
        );
    }
}
