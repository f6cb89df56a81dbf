//! Clips that come on in a file that is played again and again (A6): what comes out is one stream of
//! constant rate, every unit whole and at its time.

use std::collections::BTreeMap;

use crate::stream::{AUDIO, Counters, Made, VIDEO};
use selvedge_entry::Timestamp;
use selvedge_video::hls::{Segment, Segmenter};
use selvedge_video::packet::{self, Bytes, NULL_PID, PACKET, PAT_PID};
use selvedge_video::testing::{pictures, units};
use selvedge_video::{
    Faults, InsertOptions, Inserter, PCR_WRAP, Rate, Repeat, RepeatError, pcr_distance,
    pts_distance,
};

/// A stream with pictures and sounds.
fn stream(made: &Made) -> Vec<u8> {
    let mut bytes = pictures(made);
    units(made, &mut bytes, AUDIO, 1920, 1);
    bytes
}

fn file() -> Made {
    Made {
        packets: 11_970,
        ..Made::default()
    }
}

/// Of another rate and start, and other bytes.
fn clip() -> Made {
    Made {
        packets: 6000,
        rate: 3_000_000,
        from: PCR_WRAP / 3,
        pcr_every: 60,
        seed: 7,
        ..Made::default()
    }
}

/// What a unit is: its bytes without its time stamp, and that stamp.
type Unit = (Vec<u8>, u64);

/// A stream's units, each with the bytes that follow its first packet.
fn read(stream: &[u8], pid: u16) -> Vec<Unit> {
    let mut all: Vec<Unit> = Vec::new();
    for packet in stream.as_chunks::<PACKET>().0 {
        let Some(start) = packet::payload(packet).filter(|_| packet::pid(packet) == pid) else {
            continue;
        };
        if packet::starts_unit(packet) {
            let b: [u64; 5] = std::array::from_fn(|i| u64::from(packet[start + 9 + i]));
            let pts =
                (b[0] >> 1 & 7) << 30 | b[1] << 22 | (b[2] >> 1) << 15 | b[3] << 7 | b[4] >> 1;
            all.push((packet[start + 14..].to_vec(), pts));
        } else if let Some((bytes, _)) = all.last_mut() {
            bytes.extend(&packet[start..]);
        }
    }
    all
}

fn bytes(units: &[Unit]) -> Vec<&[u8]> {
    units.iter().map(|(bytes, _)| bytes.as_slice()).collect()
}

/// The clock, the counters and the tables are those of one stream.
fn check(packets: &[Bytes], made: &Made) {
    let mut counters = Counters::default();
    let mut first: Option<(usize, u64)> = None;
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, packet) in packets.iter().enumerate() {
        let pid = packet::pid(packet);
        if pid == NULL_PID {
            continue;
        }
        counters.follow(packet, at);
        let mut often = |what, seconds: f64| {
            let ticks = made.ticks(at - last.insert(what, at).unwrap_or(at)) as f64;
            assert!(ticks <= seconds * 27e6, "{what} at {at} after {ticks}");
        };
        if pid == PAT_PID {
            often("a table", 0.5);
        }
        let Some(pcr) = packet::pcr(packet) else {
            continue;
        };
        often("the clock", 0.05);
        let (from, value) = *first.get_or_insert((at, pcr));
        let off = pcr_distance(value, pcr) - made.ticks(at - from) as i64;
        assert!(off.abs() <= 13, "{off} ticks at {at}");
    }
}

/// Time stamps follow each other at this distance, and at seams by a little more.
fn follow(units: &[Unit], every: i64) {
    for (number, two) in units.windows(2).enumerate() {
        let step = pts_distance(two[0].1, two[1].1);
        assert!((every..every + 9000).contains(&step), "{step} at {number}");
    }
}

#[test]
fn a_clip_comes_on_at_a_key_frame_and_after_it_the_file_goes_on_where_it_was_left() {
    let (file, clip) = (file(), clip());
    let (own, other) = (stream(&file), stream(&clip));
    let mut repeat = Repeat::new(own.clone()).expect("it has a clock");
    repeat.add("goal", other.clone()).expect("it fits");
    assert!(!repeat.show("no such"));
    let mut played: Vec<Bytes> = repeat.by_ref().take(6000).collect();
    assert!(repeat.show("goal") && repeat.show("goal"));
    played.extend(repeat.by_ref().take(44_000));
    check(&played, &file);
    let out: Vec<u8> = played.iter().flatten().copied().collect();

    let keys = |number: usize| number.is_multiple_of(25);
    for (pid, every) in [(VIDEO, 3600), (AUDIO, 1920)] {
        let (own, other, out) = (read(&own, pid), read(&other, pid), read(&out, pid));
        follow(&out, every);
        // The file up to the cut, the clip twice, the rest of the file, and the file again.
        let cut = out.iter().zip(&own).position(|(a, b)| a.0 != b.0);
        let cut = cut.expect("the clip comes on");
        assert!(pid == AUDIO || keys(cut), "{cut}");
        // The last unit of a clip is not followed by a beginning, but by the next one's.
        let expected = [&own[..cut], &other, &other, &own[cut..], &own, &own].concat();
        let whole = out.len() - 1;
        assert_eq!(bytes(&out[..whole]), bytes(&expected[..whole]));
        assert!(whole > own.len() + 2 * other.len());
    }
}

#[test]
fn an_encoder_takes_it_as_one_stream_and_segments_begin_where_something_else_does() {
    let mut repeat = Repeat::new(stream(&file())).expect("it has a clock");
    repeat.add("goal", stream(&clip())).expect("it fits");
    let mut inserter = Inserter::new(InsertOptions::default());
    let mut segmenter = Segmenter::new(1000);
    let mut segments: Vec<Segment> = Vec::new();
    for number in 0..40_000 {
        if number == 7000 {
            assert!(repeat.show("goal"));
        }
        let packet = repeat.next().expect("there always is one");
        if repeat.take_cut(number + 1) {
            segmenter.cut();
        }
        let mut out = Vec::new();
        let pushed = inserter.push(&packet, Timestamp(0), &mut out);
        assert_eq!(pushed, Ok(()));
        segmenter.push(&out, Timestamp(0), |segment| segments.push(segment));
    }
    assert_eq!(inserter.rate(), Rate::Constant);
    assert_eq!(inserter.faults(), Faults::default());
    assert_eq!(segments.iter().filter(|segment| segment.jumps).count(), 2);
    for segment in &segments {
        // The file's last key frame is less than a second before its end.
        assert!(
            (3600..153_000).contains(&segment.lasts),
            "{}",
            segment.lasts
        );
    }
}

#[test]
fn a_clip_that_does_not_fit_is_refused() {
    let mut repeat = Repeat::new(stream(&file())).expect("it has a clock");
    let fast = Made {
        rate: 6_000_000,
        ..clip()
    };
    let refused = repeat.add("fast", stream(&fast));
    assert!(
        matches!(refused, Err(RepeatError::Faster(..))),
        "{refused:?}"
    );
    let headless = stream(&clip())[2 * PACKET..202 * PACKET].to_vec();
    assert_eq!(repeat.add("headless", headless), Err(RepeatError::NoMap));
    let silent = pictures(&clip());
    assert!(repeat.add("without a word", silent).is_ok());
}
