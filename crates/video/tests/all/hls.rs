//! Segments and playlists (B8).

use selvedge_entry::Timestamp;
use selvedge_video::hls::{Kind, Playlist, PlaylistOptions, Segment, Segmenter};
use selvedge_video::packet::{self, NULL_PID, PACKET};
use selvedge_video::{Pace, Placed, Repeat, pcr_distance, pts_distance};

use selvedge_video::testing::pictures;

use crate::stream::{Made, VIDEO, indication};

fn cut(bytes: &[u8], ms: u64) -> Vec<Segment> {
    let mut segmenter = Segmenter::new(ms);
    let mut all = Vec::new();
    for (number, packets) in bytes.chunks(7 * PACKET).enumerate() {
        let now = Timestamp(1_700_000_000_000_000_000 + number as i64 * 2_105_600);
        segmenter.push(packets, now, |segment| all.push(segment));
    }
    all
}

#[test]
fn segments_begin_with_the_tables_and_a_key_frame_and_lose_nothing() {
    let made = Made {
        packets: 40_000,
        ..Made::default()
    };
    let bytes = pictures(&made);
    let segments = cut(&bytes, 2000);
    assert_eq!(segments.len(), 6);
    let mut all: Vec<&packet::Bytes> = Vec::new();
    for segment in &segments {
        assert_eq!(segment.lasts, 180_000);
        let packets = segment.bytes.as_chunks::<PACKET>().0;
        let pids: Vec<u16> = packets.iter().take(3).map(packet::pid).collect();
        assert_eq!(pids, [0, 0x100, VIDEO]);
        assert!(packet::is_random_access(&packets[2]));
        assert!(packets.iter().all(|packet| packet::pid(packet) != NULL_PID));
        all.extend(packets.iter().filter(|packet| packet::pid(packet) > 0x100));
        assert!(!segment.jumps);
    }
    for two in segments.windows(2) {
        assert_eq!(pts_distance(two[0].pts, two[1].pts), 180_000);
        assert_eq!(two[1].at.0 - two[0].at.0, 2_000_000_000);
    }
    let sent = bytes.as_chunks::<PACKET>().0.iter();
    let mut sent = sent.filter(|p| packet::pid(p) > 0x100 && packet::pid(p) != NULL_PID);
    let first = *all[0];
    assert!(sent.any(|packet| *packet == first));
    assert!(all[1..].iter().copied().eq(sent.take(all.len() - 1)));
}

#[test]
fn a_live_playlist_slides_and_says_indications_until_they_are_over() {
    let options = PlaylistOptions {
        kind: Kind::Live,
        window: 3,
        segment_ms: 2000,
    };
    let mut playlist = Playlist::new(options, 0);
    let mut gone = Vec::new();
    for number in 0..8_u64 {
        if number < 2 {
            playlist.indicate(Placed {
                indication: indication(number),
                placed: Timestamp(0),
                repeat: false,
                pts: number * 180_000 + 45_000,
            });
        }
        gone.extend(playlist.add(&Segment {
            lasts: 180_000,
            pts: number * 180_000,
            at: Timestamp(1_700_000_000_000_000_000 + number as i64 * 2_000_000_000),
            jumps: number == 4,
            bytes: Vec::new(),
        }));
    }
    assert_eq!(gone, [0, 1]);
    let text = playlist.text(false);
    let expected = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:5
#EXT-X-DISCONTINUITY-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.000Z
#EXTINF:2.000,
segment-5.ts
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:32.000Z
#EXTINF:2.000,
segment-6.ts
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:34.000Z
#EXTINF:2.000,
segment-7.ts
#EXT-X-DATERANGE:ID=\"poll.19a9f3b2c4d1e5f60718.1.cleared\",CLASS=\"selvedge.poll\",START-DATE=\"2023-11-14T22:13:22.500Z\",END-ON-NEXT=YES,SCTE35-CMD=0x";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        !text.contains("raised"),
        "only the rule's last of before the window"
    );
    assert!(playlist.text(true).ends_with("#EXT-X-ENDLIST\n"));
}

#[test]
fn a_playlist_that_goes_on_after_another_says_that_it_jumps() {
    let options = PlaylistOptions {
        kind: Kind::Event,
        window: 3,
        segment_ms: 2000,
    };
    let mut playlist = Playlist::new(options, 7);
    let segment = Segment {
        lasts: 90_000,
        pts: 0,
        at: Timestamp(0),
        jumps: false,
        bytes: vec![],
    };
    for _ in 0..10 {
        assert!(playlist.add(&segment).is_empty());
    }
    let text = playlist.text(false);
    assert!(text.contains("MEDIA-SEQUENCE:7\n") && text.contains("PLAYLIST-TYPE:EVENT\n"));
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn a_file_played_again_runs_on_in_clocks_and_counters() {
    let made = Made {
        packets: 9970,
        ..Made::default()
    };
    let bytes = pictures(&made);
    let repeat = Repeat::new(bytes).expect("it has a clock");
    let played: Vec<u8> = repeat.take(30_000).flatten().collect();
    let packets = played.as_chunks::<PACKET>().0;
    let mut counters = [u8::MAX; 8192];
    let mut last: Option<(usize, u64)> = None;
    for (at, packet) in packets.iter().enumerate() {
        let pid = packet::pid(packet);
        if pid != NULL_PID && packet::has_payload(packet) {
            let counter = packet::continuity(packet);
            let before = std::mem::replace(&mut counters[usize::from(pid)], counter);
            assert!(
                before > 15 || counter == (before + 1) & 0x0F,
                "{pid:#x} at {at}"
            );
        }
        let Some(pcr) = packet::pcr(packet) else {
            continue;
        };
        if let Some((before, value)) = last {
            let off = pcr_distance(value, pcr) - made.ticks(at - before) as i64;
            assert!(off.abs() <= 2, "{off} at {at}");
        }
        last = Some((at, pcr));
    }
    // Pictures follow each other over the seams: one segment after the other, without a jump.
    for two in cut(&played, 1000).windows(2) {
        assert!((90_000..97_000).contains(&two[0].lasts), "{}", two[0].lasts);
        assert_eq!(pts_distance(two[0].pts, two[1].pts), two[0].lasts as i64);
    }
    assert!(Repeat::new(vec![0x47; PACKET * 3]).is_err());
}

#[test]
fn packets_are_due_when_the_clock_says() {
    let made = Made {
        packets: 5000,
        ..Made::default()
    };
    let mut pace = Pace::default();
    let (mut count, mut out) = (0, Vec::new());
    let bytes = made.bytes();
    let mut dues = Vec::new();
    for packet in bytes.as_chunks::<PACKET>().0 {
        dues.extend(pace.push(packet));
    }
    dues.extend(pace.finish());
    for due in dues {
        // The first two packets stand before the first reference, and are due at once.
        let expected = made.ticks(count + 2) as i64 - made.ticks(4) as i64;
        if count > 2 {
            assert!(
                (due.at as i64 - expected).abs() <= 2,
                "{} {expected}",
                due.at
            );
        }
        count += due.packets.len() / PACKET;
        out.extend(due.packets);
    }
    assert!(out == bytes);
}
