//! An input that stays out and comes back: what goes out meanwhile is a valid stream (B8).

use std::collections::BTreeMap;

use crate::stream::{Counters, Made, PMT_PID, VIDEO, indication};
use selvedge_entry::Timestamp;
use selvedge_video::packet::{self, Bytes, NULL_PID, PACKET, PAT_PID};
use selvedge_video::{Faults, InsertOptions, Inserter, Rate, Reader, Seen, crc32, pcr_distance};

/// The stream breaks off after 8,000 packets, stays out for so many, and goes on `from` one.
fn broken(made: &Made, out_for: u64, from: usize) -> (Vec<Bytes>, Inserter, usize) {
    let input = made.bytes();
    let mut inserter = Inserter::new(InsertOptions::default());
    let mut out = Vec::new();
    let at = Timestamp(0);
    let first = &input[..8000 * PACKET];
    assert_eq!(inserter.push(first, at, &mut out), Ok(()));
    // As an encoder asks: a few at a time.
    for number in 0..out_for / 100 {
        if number == 3 {
            inserter.place(indication(0)).expect("it fits");
        }
        assert_eq!(inserter.idle(100, at, &mut out), Ok(()));
    }
    let back = out.len() / PACKET;
    assert_eq!(inserter.push(&input[from * PACKET..], at, &mut out), Ok(()));
    (out.as_chunks::<PACKET>().0.to_vec(), inserter, back)
}

#[test]
fn while_the_input_is_out_clock_and_tables_go_on_and_indications_are_placed() {
    let made = Made::default();
    let (packets, inserter, back) = broken(&made, 6000, 8000);
    assert_eq!(back, 14_000);
    assert_eq!(inserter.faults(), Faults::default());
    assert_eq!(inserter.rate(), Rate::Constant);
    let mut counters = Counters::default();
    let mut last: BTreeMap<u16, usize> = BTreeMap::new();
    let mut before: Option<(usize, u64)> = None;
    let mut jumps = 0;
    for (at, packet) in packets.iter().enumerate() {
        let pid = packet::pid(packet);
        if pid == NULL_PID {
            continue;
        }
        counters.follow(packet, at);
        if [PAT_PID, PMT_PID].contains(&pid) {
            let ticks = made.ticks(at - last.insert(pid, at).unwrap_or(at));
            assert!(ticks <= 13_500_000, "{pid:#x} at {at} after {ticks}");
            let length = usize::from(packet[6] & 0x0F) << 8 | usize::from(packet[7]);
            assert_eq!(crc32(&packet[5..8 + length]), 0);
        }
        let Some(pcr) = packet::pcr(packet) else {
            continue;
        };
        assert_eq!(pid, VIDEO);
        if packet::is_discontinuity(packet) {
            // The first that came back says so.
            assert!((back..back + 110).contains(&at), "{at}");
            jumps += 1;
        } else if let Some((from, value)) = before {
            let off = pcr_distance(value, pcr) - made.ticks(at - from) as i64;
            assert!(off.abs() <= 14, "{off} ticks at {at}");
            assert!(made.ticks(at - from) <= 1_080_000, "no clock until {at}");
        }
        before = Some((at, pcr));
    }
    assert_eq!(jumps, 1);
    let mut found = Vec::new();
    let mut reader = Reader::default();
    for (at, packet) in packets.iter().enumerate() {
        reader.push(packet, |seen| {
            if let Seen::Id3(placed) = seen
                && !placed.repeat
            {
                found.push((at, placed.indication.id));
            }
        });
    }
    let [(at, id)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(*id, indication(0).id);
    assert!((8300..8310).contains(at), "{at}");
}

#[test]
fn what_was_lost_meanwhile_is_counted_once_and_what_follows_is_as_it_came() {
    let made = Made::default();
    let (packets, inserter, back) = broken(&made, 1000, 9000);
    let faults = inserter.faults();
    // Of pictures, of sound, of both tables; some of the counters fit by chance.
    assert!((1..=4).contains(&faults.continuity), "{faults:?}");
    assert_eq!(faults.pcr_jumps, 0);
    let input = made.bytes();
    let plain = |packet: &&Bytes| {
        let pid = packet::pid(packet);
        (VIDEO..=VIDEO + 1).contains(&pid) && packet::pcr(packet).is_none()
    };
    let before: Vec<&Bytes> = input.as_chunks::<PACKET>().0[9000..]
        .iter()
        .filter(plain)
        .collect();
    let after: Vec<&Bytes> = packets[back..].iter().filter(plain).collect();
    assert!(before == after);
}

#[test]
fn before_the_stream_is_known_nothing_is_made_up() {
    let mut inserter = Inserter::new(InsertOptions::default());
    let mut out = Vec::new();
    assert_eq!(inserter.idle(100, Timestamp(0), &mut out), Ok(()));
    assert!(out.is_empty() && inserter.packet_ticks().is_none());
}
