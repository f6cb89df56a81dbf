//! The encoder over real sockets and files: notifications of the threshold link in the video that
//! leaves it (B7, B8).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selvedge_encoder::{EncoderError, EncoderOptions, Input, Output, RunningEncoder, Udp, start};
use selvedge_entry::Timestamp;
use selvedge_monitor::Notification;
use selvedge_monitor::link::LinkSender;
use selvedge_monitor::threshold::Change;
use selvedge_video::hls::{Kind, PlaylistOptions};
use selvedge_video::packet::PACKET;
use selvedge_video::testing::{Made, pictures};
use selvedge_video::{InsertOptions, Placed, Reader, Seen};

const KEY: [u8; 32] = [5; 32];
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn options(input: Input, outputs: Vec<Output>, data: &Path) -> EncoderOptions {
    EncoderOptions {
        input,
        outputs,
        simulate_source: false,
        clips: Vec::new(),
        realtime: false,
        pass_unsupported: false,
        insert: InsertOptions::default(),
        playlist: PlaylistOptions {
            kind: Kind::Event,
            window: 10,
            segment_ms: 1000,
        },
        listen: HERE,
        link_key: KEY,
        data: data.to_owned(),
        now: Arc::new(|| Timestamp(1_700_000_000_000_000_000)),
    }
}

fn notification(number: u64, change: Change) -> Notification {
    let word = match change {
        Change::Raised => "raised",
        Change::Cleared => "cleared",
    };
    Notification {
        id: format!("poll.a1.{number}.{word}"),
        rule: "poll".to_owned(),
        group: None,
        change,
        number,
        at: Timestamp(number as i64),
        value: number as f64,
        error: 0.0,
        window: None,
        cause: None,
    }
}

fn link(encoder: &RunningEncoder) -> LinkSender {
    LinkSender::new(encoder.link_address().to_string(), "test".to_owned(), KEY)
}

/// Indications in a stream, heartbeats too.
fn tags(bytes: &[u8]) -> Vec<Placed> {
    let mut all = Vec::new();
    Reader::default().push(bytes, |seen| {
        if let Seen::Id3(placed) = seen {
            all.push(placed);
        }
    });
    all
}

fn firsts(bytes: &[u8]) -> Vec<String> {
    let all = tags(bytes).into_iter().filter(|placed| !placed.repeat);
    all.map(|placed| placed.indication.id).collect()
}

/// A source of datagrams, and a receiver of them.
struct Ends {
    to: UdpSocket,
    from: UdpSocket,
    bytes: Vec<u8>,
    at: usize,
    came: Vec<u8>,
}

impl Ends {
    /// The input's address, free; the encoder binds it.
    fn new() -> (Self, Udp, Udp) {
        let free = UdpSocket::bind(HERE).expect("a port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let from = UdpSocket::bind(HERE).expect("a port");
        let wait = from.set_read_timeout(Some(Duration::from_secs(30)));
        wait.expect("a limit");
        let to = UdpSocket::bind(HERE).expect("a port");
        to.connect(address).expect("loopback");
        let udp = |address| Udp {
            address,
            ttl: 1,
            interface: None,
        };
        let output = udp(from.local_addr().expect("its address"));
        let made = Made {
            packets: 40_000,
            ..Made::default()
        };
        let ends = Self {
            to,
            from,
            bytes: pictures(&made),
            at: 0,
            came: Vec::new(),
        };
        (ends, udp(address), output)
    }

    /// Takes what has come out already.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        self.from.set_nonblocking(true).expect("set");
        while let Ok(length) = self.from.recv(&mut buffer) {
            self.came.extend_from_slice(&buffer[..length]);
        }
        self.from.set_nonblocking(false).expect("set");
    }

    /// Sends so many datagrams, taking what comes out for each.
    fn pass(&mut self, datagrams: usize) {
        let mut buffer = [0; 4096];
        for _ in 0..datagrams {
            let end = (self.at + 7 * PACKET).min(self.bytes.len());
            self.to.send(&self.bytes[self.at..end]).expect("sent");
            self.at = end;
            let before = self.came.len();
            // What is held for whole packets at the start, and shorter where one is left out.
            while self.came.len() - before < 6 * PACKET && self.at > 14 * PACKET {
                let length = self.from.recv(&mut buffer).expect("a datagram");
                self.came.extend_from_slice(&buffer[..length]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_acknowledged_once_its_packets_are_out_and_repeated_it_is_placed_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ends, input, output) = Ends::new();
    let outputs = vec![Output::Udp(output)];
    let encoder = start(options(Input::Udp(input), outputs, folder.path()));
    let encoder = encoder.await.expect("starts");
    let mut ends = tokio::task::spawn_blocking(move || {
        ends.pass(900);
        ends
    })
    .await
    .expect("passed");
    for number in 1..=3 {
        let told = notification(number, Change::Raised);
        let mut sender = link(&encoder);
        let sending = tokio::spawn(async move { sender.send(&told).await });
        // Packets pass until it is acknowledged.
        ends = loop {
            ends = tokio::task::spawn_blocking(move || {
                ends.pass(1);
                ends
            })
            .await
            .expect("passed");
            if sending.is_finished() {
                break ends;
            }
        };
        assert_eq!(sending.await.expect("done"), Ok(()));
        let again = link(&encoder)
            .send(&notification(number, Change::Raised))
            .await;
        assert_eq!(again, Ok(()));
    }
    let counts = encoder.counter()();
    assert_eq!((counts.placed, counts.repeated), (3, 3));
    encoder.stop().await;
    let mut buffer = [0; 4096];
    let none = ends.from.set_nonblocking(true);
    none.expect("set");
    while let Ok(length) = ends.from.recv(&mut buffer) {
        ends.came.extend_from_slice(&buffer[..length]);
    }
    assert_eq!(
        firsts(&ends.came),
        ["poll.a1.1.raised", "poll.a1.2.raised", "poll.a1.3.raised"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_was_placed_is_known_and_its_state_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (mut ends, input, output) = Ends::new();
    let run = options(Input::Udp(input), vec![Output::Udp(output)], &data);
    let encoder = start(run.clone()).await.expect("starts");
    let told = notification(1, Change::Raised);
    let (mut sender, first) = (link(&encoder), told.clone());
    let sending = tokio::spawn(async move { sender.send(&first).await });
    let mut ends = tokio::task::spawn_blocking(move || {
        ends.pass(600);
        while !sending.is_finished() {
            ends.pass(1);
        }
        ends
    })
    .await
    .expect("passed");
    encoder.stop().await;
    ends.came.clear();
    let encoder = start(run).await.expect("starts again");
    assert_eq!(link(&encoder).send(&told).await, Ok(()));
    let ends = tokio::task::spawn_blocking(move || {
        ends.pass(900);
        ends
    })
    .await
    .expect("passed");
    assert_eq!(encoder.counter()().repeated, 1);
    encoder.stop().await;
    let tags = tags(&ends.came);
    assert!(!tags.is_empty());
    assert!(
        tags.iter()
            .all(|tag| tag.repeat && tag.indication.id == told.id)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_a_file_and_hls_and_the_playlist_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let made = Made {
        packets: 20_000,
        ..Made::default()
    };
    let bytes = pictures(&made);
    std::fs::write(place("in.ts"), &bytes).expect("written");
    let mut run = options(
        Input::File(place("in.ts")),
        vec![Output::File(place("out.ts"))],
        &place("data"),
    );
    let mut encoder = start(run.clone()).await.expect("starts");
    encoder.ended().await.expect("ends well");
    let counts = encoder.counter()();
    assert_eq!(counts.packets_in, 20_000);
    let out = std::fs::read(place("out.ts")).expect("there");
    assert_eq!(counts.packets_out as usize * PACKET, out.len());
    // Heartbeats with nothing to say.
    assert!(tags(&out).is_empty() && out != bytes);
    // By standard input, HLS is written as fast as it comes; a file is played at its speed.
    run.outputs = vec![Output::Hls(place("hls"))];
    for turn in 1..=2 {
        let mut encoder = start(run.clone()).await.expect("starts");
        encoder.ended().await.expect("ends well");
        encoder.stop().await;
        let playlist = std::fs::read_to_string(place("hls/channel.m3u8")).expect("a playlist");
        let first = if turn == 1 { 0 } else { 6 };
        assert!(
            playlist.contains(&format!("MEDIA-SEQUENCE:{first}\n")),
            "{playlist}"
        );
        assert_eq!(playlist.matches("#EXTINF:1.000,").count(), 6, "{playlist}");
        assert!(playlist.ends_with("#EXT-X-ENDLIST\n"));
        for number in first..first + 6 {
            let segment = std::fs::read(place(&format!("hls/segment-{number}.ts")));
            assert!(segment.is_ok_and(|segment| segment.len() > 100_000));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_it_cannot_take_is_refused_or_passed_on_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let made = Made {
        packets: 10_000,
        nulls: 0,
        ..Made::default()
    };
    let bytes = made.bytes();
    std::fs::write(place("in.ts"), &bytes).expect("written");
    let outputs = vec![Output::File(place("out.ts"))];
    let mut run = options(Input::File(place("in.ts")), outputs, &place("data"));
    let mut encoder = start(run.clone()).await.expect("starts");
    let refused = encoder.ended().await.expect_err("no room");
    assert!(matches!(refused, EncoderError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("no null packets"), "{refused}");
    run.pass_unsupported = true;
    let mut encoder = start(run).await.expect("starts");
    encoder.ended().await.expect("passes");
    assert!(encoder.counter()().untouched);
    let out = std::fs::read(place("out.ts")).expect("there");
    assert!(out.ends_with(&bytes[bytes.len() / 2..]));
    assert_eq!(out.len(), bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_is_silent_is_filled_in_for_and_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ends, _, output) = Ends::new();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|made| made.success()));
    let (first, silent) = (ends.bytes[..4000 * PACKET].to_vec(), path.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let mut pipe = std::fs::File::options().write(true).open(silent)?;
        std::io::Write::write_all(&mut pipe, &first)?;
        // It stays open.
        std::io::Result::Ok(pipe)
    });
    let run = options(Input::File(path), vec![Output::Udp(output)], folder.path());
    let encoder = start(run).await.expect("starts");
    let pipe = writing.await.expect("done").expect("written");
    let counts = encoder.counter();
    let ends = tokio::task::spawn_blocking(move || {
        // What came may be more than the socket holds; what is made up is paced.
        let mut buffer = [0; 4096];
        while counts().filled < 1000 {
            ends.from.recv(&mut buffer).expect("it goes on");
        }
        assert_eq!(counts().input_lost, 1);
    });
    ends.await.expect("filled in");
    drop(pipe);
    let mut encoder = encoder;
    encoder.ended().await.expect("the pipe ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_notification_is_hung_up_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_ends, input, output) = Ends::new();
    let outputs = vec![Output::Udp(output)];
    let encoder = start(options(Input::Udp(input), outputs, folder.path()));
    let encoder = encoder.await.expect("starts");
    let address = encoder.link_address().to_string();
    let mut forger = LinkSender::new(address, "forger".to_owned(), [6; 32]);
    let refused = forger.send(&notification(1, Change::Raised)).await;
    assert!(refused.is_err_and(|error| error.contains("wrong key")));
    let mut long = notification(1, Change::Raised);
    long.group = Some("x".repeat(1000));
    assert_eq!(link(&encoder).send(&long).await, Ok(()));
    assert_eq!(encoder.counter()().unfit, 1);
    encoder.stop().await;
}

/// The source falls silent and begins anew, with another clock and other counters.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_stays_out_and_comes_back_is_taken_again_by_all_outputs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ends, input, output) = Ends::new();
    let file = folder.path().join("out.ts");
    let hls = folder.path().join("hls");
    let outputs = vec![
        Output::Udp(output),
        Output::File(file.clone()),
        Output::Hls(hls.clone()),
    ];
    let data = folder.path().join("data");
    let encoder = start(options(Input::Udp(input), outputs, &data));
    let encoder = encoder.await.expect("starts");
    let counts = encoder.counter();
    let told = notification(1, Change::Raised);
    let mut sender = link(&encoder);
    let waits = counts.clone();
    let mut ends = tokio::task::spawn_blocking(move || {
        ends.pass(900);
        while waits().filled == 0 {
            ends.drain();
        }
        ends
    })
    .await
    .expect("passed");
    // It comes while the input is out: it is placed, and acknowledged, in what is made meanwhile or
    // in what comes back.
    let sending = tokio::spawn(async move { sender.send(&told).await });
    let ends = tokio::task::spawn_blocking(move || {
        ends.at = 0;
        while !sending.is_finished() {
            ends.pass(1);
        }
        ends.pass(900);
        ends
    })
    .await
    .expect("passed");
    let counts = counts();
    assert_eq!((counts.placed, counts.input_lost), (1, 1));
    // The clock that comes back is another, and marked as such.
    assert_eq!((counts.faults.pcr_jumps, counts.output_failed), (0, 0));
    encoder.stop().await;
    let written = std::fs::read(&file).expect("there");
    assert!(written.starts_with(&ends.came), "outputs differ");
    assert_eq!(firsts(&written), ["poll.a1.1.raised"]);
    let playlist = std::fs::read_to_string(hls.join("channel.m3u8")).expect("there");
    assert_eq!(
        playlist.matches("#EXT-X-DISCONTINUITY\n").count(),
        1,
        "{playlist}"
    );
    assert!(
        playlist.contains("#EXT-X-DATERANGE:ID=\"poll.a1.1.raised\""),
        "{playlist}"
    );
}
