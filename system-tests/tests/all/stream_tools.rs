//! What the encoder makes of a stream, beside what came in: by our own measure and by the tools of
//! others, which find no fault that the input did not have (B8).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dvb_conformance::ConformanceMonitor;
use selvedge_entry::Timestamp;
use selvedge_identity::{KeyRing, purpose};
use selvedge_monitor::Notification;
use selvedge_monitor::link::LinkSender;
use selvedge_monitor::threshold::Change;
use selvedge_system_tests::{python, root, run, selvedge};
use selvedge_video::packet::{self, PACKET};
use selvedge_video::{Pmt, Reader, Seen, crc32, pcr_distance};
use serde_json::Value;

use crate::channel::media;

/// Where ffmpeg puts tables, pictures (with the clock) and sound.
pub(crate) const PMT: u16 = 0x1000;
pub(crate) const VIDEO: u16 = 0x100;
pub(crate) const AUDIO: u16 = 0x101;
/// What `cargo xtask media` makes: bits a second.
const RATE: u64 = 5_000_000;
/// Notifications, each placed before the next is sent.
const NOTIFICATIONS: u64 = 20;

/// A stream, and what an encoder made of it.
struct Encoded {
    input: Vec<u8>,
    output: Vec<u8>,
    /// The packet identifiers that the encoder took.
    ours: [u16; 2],
}

/// Passes five.ts through an encoder that is told of crossings meanwhile.
async fn encoded(folder: &Path) -> Encoded {
    let input = std::fs::read(media("five.ts")).expect("readable");
    let keys = folder.join("keys");
    let mut command = selvedge(&["encoder", "--input", "-", "--output", "-"]);
    command.args(["--listen", "127.0.0.1:0"]);
    command.arg("--data").arg(folder).arg("--keys").arg(&keys);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut encoder = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(encoder.stderr.take().expect("piped")).lines();
    let serves = said.by_ref().map_while(Result::ok);
    let link = serves
        .filter_map(|line| Some(line.split_once("serves on ")?.1.to_owned()))
        .next();
    let link = link.expect("it serves");
    std::thread::spawn(move || said.for_each(drop));
    let mut out = encoder.stdout.take().expect("piped");
    let reading = std::thread::spawn(move || {
        let mut output = Vec::new();
        out.read_to_end(&mut output).expect("readable");
        output
    });
    let keys = std::fs::read_to_string(keys).expect("a key file");
    let keys = KeyRing::parse(&keys).expect("keys");
    let key = keys.derive(purpose::THRESHOLD, keys.signer());
    let mut sender = LinkSender::new(link, "test".to_owned(), key.expect("the signing key"));

    let mut pipe = encoder.stdin.take().expect("piped");
    // The map has gone by, the rate is known.
    let (first, mut rest) = input.split_at(3000 * PACKET);
    pipe.write_all(first).expect("taken");
    for number in 1..=NOTIFICATIONS {
        let told = notification(number);
        let sending = sender.send(&told);
        tokio::pin!(sending);
        loop {
            // Packets pass, as from a live source, until it is acknowledged.
            let (some, more) = rest.split_at(20 * PACKET);
            pipe.write_all(some).expect("taken");
            rest = more;
            let waited = tokio::time::timeout(Duration::from_millis(2), &mut sending).await;
            if let Ok(sent) = waited {
                assert_eq!(sent, Ok(()));
                break;
            }
        }
    }
    pipe.write_all(rest).expect("taken");
    drop(pipe);
    let output = reading.join().expect("it read");
    assert!(encoder.wait().expect("it ends").success());
    let ours = ours(&output);
    Encoded {
        input,
        output,
        ours,
    }
}

pub(crate) fn notification(number: u64) -> Notification {
    let (change, word) = match number % 2 {
        1 => (Change::Raised, "raised"),
        _ => (Change::Cleared, "cleared"),
    };
    Notification {
        id: format!("poll.a1.{}.{word}", number.div_ceil(2)),
        rule: "poll".to_owned(),
        group: None,
        change,
        number: number.div_ceil(2),
        at: Timestamp(number as i64),
        value: number as f64,
        error: 0.0,
        window: None,
        cause: None,
    }
}

pub(crate) fn packets(stream: &[u8]) -> &[packet::Bytes] {
    stream.as_chunks::<PACKET>().0
}

/// The sections of a table whose sections take one packet each.
pub(crate) fn sections(stream: &[u8], pid: u16) -> impl Iterator<Item = &[u8]> {
    let all = packets(stream).iter();
    all.filter(move |p| packet::pid(p) == pid && packet::starts_unit(p))
        .map(|p| {
            let length = usize::from(p[6] & 0x0F) << 8 | usize::from(p[7]);
            &p[5..8 + length]
        })
}

pub(crate) fn ours(output: &[u8]) -> [u16; 2] {
    let map = sections(output, PMT).last().and_then(Pmt::read);
    let map = map.expect("a map");
    [0x15, 0x86].map(|kind| {
        // The last: what comes in may be another encoder's.
        let stream = map.streams.iter().rfind(|stream| stream.kind == kind);
        stream.expect("a stream of ours").pid
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_out_is_what_came_in_and_no_tool_finds_a_fault_that_was_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoded = encoded(folder.path()).await;
    unchanged(&encoded);
    counters(&encoded.output);
    tables(&encoded);
    clock(&encoded);
    conformance(&encoded);
    tstools(folder.path(), &encoded);
}

/// Others' packets are byte for byte as they were, in their order, but for the clock in them.
fn unchanged(encoded: &Encoded) {
    let Encoded {
        input,
        output,
        ours,
    } = encoded;
    let others = |stream: &[u8], not: &[u16]| -> Vec<packet::Bytes> {
        let kept = packets(stream)
            .iter()
            .filter(|p| !not.contains(&packet::pid(p)));
        let timeless = kept.map(|packet| {
            let mut packet = *packet;
            if packet::pcr(&packet).is_some() {
                packet::set_pcr(&mut packet, 0);
            }
            packet
        });
        timeless.collect()
    };
    let [id3, scte35] = *ours;
    let before = others(input, &[PMT, packet::NULL_PID]);
    let after = others(output, &[PMT, packet::NULL_PID, id3, scte35]);
    assert_eq!(before.len(), after.len());
    let other = before.iter().zip(&after).position(|(b, a)| b != a);
    assert_eq!(other, None, "the first packet that is another");
    assert!(
        packets(input)
            .iter()
            .all(|p| !ours.contains(&packet::pid(p)))
    );
    let maps = |stream| {
        packets(stream)
            .iter()
            .filter(|p| packet::pid(p) == PMT)
            .count()
    };
    assert_eq!(maps(input), maps(output));
}

/// Every identifier's continuity counter runs on.
pub(crate) fn counters(output: &[u8]) {
    let mut last: BTreeMap<u16, u8> = BTreeMap::new();
    for packet in packets(output) {
        let pid = packet::pid(packet);
        if pid == packet::NULL_PID {
            continue;
        }
        let counter = packet::continuity(packet);
        let step = u8::from(packet::has_payload(packet));
        if let Some(before) = last.insert(pid, counter) {
            assert_eq!(counter, (before + step) & 0x0F, "{pid:#06x}");
        }
    }
}

/// Every section's CRC holds, and the map's version moves on once, when ours come into it.
fn tables(encoded: &Encoded) {
    let output = &encoded.output;
    for section in [0, PMT].iter().flat_map(|pid| sections(output, *pid)) {
        assert_eq!(crc32(section), 0);
    }
    let versions = sections(output, PMT).map(|section| Pmt::read(section).expect("a map").version);
    let mut versions: Vec<u8> = versions.collect();
    versions.dedup();
    assert_eq!(versions, [0, 1]);
}

/// Each reference is where its packet's place in the stream says, to 0.5 µs.
fn clock(encoded: &Encoded) {
    let off = |stream: &[u8]| {
        let all = packets(stream).iter().enumerate();
        let references = all.filter(|(_, p)| packet::pid(p) == VIDEO);
        let mut references = references.filter_map(|(at, p)| Some((at, packet::pcr(p)?)));
        let first = references.next().expect("a clock");
        let off = references.map(|(at, pcr)| {
            let bits = ((at - first.0) * PACKET * 8) as f64;
            let place = bits * selvedge_video::TICKS_PER_SECOND as f64 / RATE as f64;
            (pcr_distance(first.1, pcr) as f64 - place).abs()
        });
        off.fold(0.0, f64::max)
    };
    let (before, after) = (off(&encoded.input), off(&encoded.output));
    println!("references off their place by at most {before:.2} ticks in, {after:.2} ticks out");
    // 13.5 ticks of 27 MHz.
    assert!(after <= before + 13.5, "{before} ticks, then {after}");
}

/// What the monitor of TR 101 290 finds in a stream: how often, by indicator and identifier.
pub(crate) fn findings(stream: &[u8], rate: u64) -> BTreeMap<String, u64> {
    let mut monitor = ConformanceMonitor::new();
    let mut found = BTreeMap::new();
    for (at, packet) in packets(stream).iter().enumerate() {
        let ns = (at * PACKET * 8) as u64 * 1_000_000_000 / rate;
        for event in monitor.feed(packet, Duration::from_nanos(ns)) {
            let what = format!("{} {:?}", event.indicator.name(), event.pid);
            *found.entry(what).or_default() += 1;
        }
    }
    assert!(monitor.stats().in_sync);
    found
}

fn conformance(encoded: &Encoded) {
    let before = findings(&encoded.input, RATE);
    let after = findings(&encoded.output, RATE);
    println!("TR 101 290, in: {before:?}\nTR 101 290, out: {after:?}");
    for (what, count) in &after {
        let had = before.get(what).copied().unwrap_or(0);
        assert!(*count <= had, "{what}: {had} times, then {count}");
    }
    // It does find what is there.
    let mut lossy = encoded.output.clone();
    let lost = packets(&lossy)
        .iter()
        .rposition(|p| packet::pid(p) == VIDEO);
    let from = lost.expect("pictures") * PACKET;
    lossy.drain(from - 3000 * PACKET..from - 2000 * PACKET);
    assert!(findings(&lossy, RATE).len() > after.len());
}

/// tstools read the same streams in both, and say nothing against either.
fn tstools(folder: &Path, encoded: &Encoded) {
    let said = |name: &str, stream: &[u8]| {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(folder.join("stream.ts"), stream).expect("written");
        let tool = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            let text = run(command.current_dir(&folder).args(args));
            // So it says what it does not like.
            assert!(!text.contains("###") && !text.contains("!!!"), "{text}");
            text
        };
        let info = tool("tsinfo", &["-repeat", "200", "-max", "100000", "stream.ts"]);
        for kind in ["1b", "0f"] {
            assert!(info.contains(&format!("Stream type {kind}")), "{info}");
        }
        let mut same = Vec::new();
        for pid in [VIDEO, AUDIO] {
            let pid = pid.to_string();
            tool("ts2es", &["-quiet", "-pid", &pid, "stream.ts", "stream.es"]);
            tool("tsreport", &["-buffering", "-cnt", &pid, "stream.ts"]);
            for file in ["stream.es", "continuity_counter.txt"] {
                let bytes = std::fs::read(folder.join(file)).expect("it wrote");
                assert!(bytes.len() > 1000, "{file}: {}", bytes.len());
                same.push(bytes);
            }
        }
        let report = tool("tsreport", &["-buffering", "stream.ts"]);
        let clock = [
            "Overall stream rate",
            "PCRs found",
            "Linear PCR",
            "CC: first",
        ];
        let lines = report
            .lines()
            .filter(|line| clock.iter().any(|what| line.contains(what)));
        // A packet of ours between two references moves them apart.
        let lines = lines.map(|line| line.split(", Max gap").next().unwrap_or(line).to_owned());
        let lines: Vec<String> = lines.collect();
        assert_eq!(lines.len(), 5, "{report}");
        let timing = tool("tsreport", &["-timing", "stream.ts"]);
        let last = timing.lines().rfind(|line| line.contains("Mean byterate"));
        (same, lines, last.map(str::to_owned))
    };
    let before = said("in", &encoded.input);
    let after = said("out", &encoded.output);
    assert!(
        before.0 == after.0,
        "the streams in it, or their counters, are others"
    );
    assert_eq!(before.1, after.1);
    let rate = |line: &Option<String>| {
        let (_, rate) = line.as_deref()?.split_once("Mean byterate")?;
        rate.split_whitespace().next().map(str::to_owned)
    };
    assert_eq!(rate(&before.2), Some((RATE / 8).to_string()));
    assert_eq!(rate(&after.2), rate(&before.2));
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamer_plays_it_and_copies_made_by_ffmpeg_keep_every_tag() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoded = encoded(folder.path()).await;
    let place = |name: &str| folder.path().join(name);
    let (before, after) = (place("before.ts"), place("after.ts"));
    std::fs::write(&before, &encoded.input).expect("written");
    std::fs::write(&after, &encoded.output).expect("written");

    // Every tag, and no picture less, in a copy by FFmpeg's libraries of today. (Of cues FFmpeg's
    // muxer makes PES packets, which are none.)
    let video = |file: &Path| -> Value {
        let script = root().join("system-tests/scripts/video.py");
        serde_json::from_str(&run(python().arg(script).arg(file))).expect("JSON")
    };
    let read = video(&after);
    let values = |tag: &Value| tag["values"].as_array().cloned().unwrap_or_default();
    let tags = read["tags"].as_array().expect("a list");
    let firsts = tags
        .iter()
        .flat_map(values)
        .filter(|value| value["repeat"] == false);
    assert_eq!(firsts.count() as u64, NOTIFICATIONS);
    assert_eq!(
        read["cues"].as_array().map(Vec::len),
        Some(NOTIFICATIONS as usize)
    );
    let copy = place("copy.ts");
    let script = root().join("system-tests/scripts/copy_stream.py");
    _ = run(python().arg(script).arg(&after).arg(&copy));
    let copied = video(&copy);
    for what in ["tags", "pictures", "kinds"] {
        assert_eq!(copied[what], read[what], "{what}");
    }
    assert_eq!(read["pictures"], video(&before)["pictures"]);

    // Debian's ffmpeg reads five bytes too few of each tag, but it loses none.
    let old = place("old.ts");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(&after);
    _ = run(ffmpeg.args(["-map", "0", "-c", "copy"]).arg(&old));
    let old = std::fs::read(old).expect("it wrote");
    assert_eq!(stamps(&old), stamps(&encoded.output));
    assert_eq!(stamps(&old), tags.len());

    // From the same key frame on, after the encoder has begun.
    for chain in [
        "video/x-h264 ! h264parse ! avdec_h264",
        "audio/mpeg ! aacparse ! avdec_aac",
    ] {
        let played = [&encoded.input, &encoded.output].map(|stream| {
            let file = place("joined.ts");
            std::fs::write(&file, joined(stream, 3000)).expect("written");
            gstreamer(&file, chain)
        });
        assert!(played[0] > 400, "{played:?}");
        assert_eq!(played[0], played[1], "{chain}");
    }
}

/// How many tags there are, each with a time stamp of its own.
fn stamps(stream: &[u8]) -> usize {
    let mut stamps = std::collections::BTreeSet::new();
    Reader::default().push(stream, |seen| match seen {
        Seen::Id3(placed) => {
            stamps.insert(placed.pts);
        }
        Seen::Tag { pts } => stamps.extend(pts),
        Seen::Cue(_) | Seen::Carried(_) => {}
    });
    stamps.len()
}

/// The stream as one sees it who joins after so many packets: the tables, then from a key frame on.
pub(crate) fn joined(stream: &[u8], after: usize) -> Vec<u8> {
    let all = packets(stream);
    let key = |p: &packet::Bytes| packet::pid(p) == VIDEO && packet::is_random_access(p);
    let tables = [0, PMT].map(|pid| {
        let first = |p: &packet::Bytes| packet::pid(p) == pid;
        all.iter().skip(after).position(first).expect("a table") + after
    });
    let after = after.max(tables[0]).max(tables[1]);
    let from = all.iter().skip(after).position(key).expect("a key frame") + after;
    let tables = [0, PMT].map(|pid| {
        let before = all[..from].iter().rfind(|p| packet::pid(p) == pid);
        *before.expect("a table")
    });
    let parts = tables.iter().chain(&all[from..]);
    parts.flatten().copied().collect()
}

/// How many pictures, or pieces of sound, GStreamer decodes.
fn gstreamer(file: &Path, chain: &str) -> usize {
    let source = format!("location={}", file.display());
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-v", "filesrc", &source, "!", "tsdemux", "!"]);
    command.args(chain.split(' '));
    command.args(["!", "fakesink", "name=end", "silent=false"]);
    let said = run(&mut command);
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    said.lines()
        .filter(|line| line.contains("end: last-message = chain"))
        .count()
}
