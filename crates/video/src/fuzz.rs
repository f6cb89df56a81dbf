//! For the fuzz target: what an encoder and a receiver make of any bytes.

use selvedge_entry::Timestamp;

use crate::packet::{self, Bytes, NULL_PID, PACKET};
use crate::{Faults, Framer, Indication, InsertOptions, Inserter, Reader, Refusal, Repeat, State};

/// Parses, inserts, parses again and compares: what goes out are packets; those of others are as
/// they were but for the clock; and a second encoder takes what the first made, unless there are
/// now too many streams. Then the same with an input that stays out, and as a file with a clip in it.
///
/// # Panics
/// When one of these does not hold.
pub fn fuzz_stream(bytes: &[u8]) {
    let (before, after, refused, maps) = through(bytes, 0);
    assert_eq!(after.len() % PACKET, 0);
    assert!(
        after
            .as_chunks::<PACKET>()
            .0
            .iter()
            .all(|p| p[0] == packet::SYNC)
    );
    let mut reader = Reader::default();
    let mut found = 0_u64;
    reader.push(&after, |_| found += 1);
    if refused {
        return;
    }
    let mut untouched = before
        .as_chunks::<PACKET>()
        .0
        .iter()
        .filter(|p| plain(p, &maps));
    // Ours stand between; everything else in its order.
    let mut wanted = untouched.next();
    for packet in after.as_chunks::<PACKET>().0 {
        if wanted.is_some_and(|wanted| same(wanted, packet)) {
            wanted = untouched.next();
        }
    }
    assert!(wanted.is_none(), "a packet of others is gone: {wanted:?}");
    through(&after, 1);
    with_outages(bytes);
    repeated(bytes);
}

/// An input that stays out again and again: what goes out are packets.
fn with_outages(bytes: &[u8]) {
    let mut inserter = Inserter::new(InsertOptions::default());
    let (mut framer, mut faults) = (Framer::default(), Faults::default());
    let mut out = Vec::new();
    for bytes in bytes.chunks(3000) {
        let framed: Result<(), Refusal> = framer.push(bytes, &mut faults, |packets, _| {
            inserter.push(packets, Timestamp(0), &mut out)
        });
        if framed.is_err() || inserter.idle(70, Timestamp(0), &mut out).is_err() {
            break;
        }
    }
    let packets = out.as_chunks::<PACKET>();
    assert!(packets.1.is_empty() && packets.0.iter().all(|p| p[0] == packet::SYNC));
}

/// A file played again and again, and itself as a clip in it: what comes are packets.
fn repeated(bytes: &[u8]) {
    let mut whole = bytes.as_chunks::<PACKET>().0.to_vec();
    whole.retain(|p| p[0] == packet::SYNC);
    let whole = whole.concat();
    let Ok(mut repeat) = Repeat::new(whole.clone()) else {
        return;
    };
    // One that does not fit is refused.
    _ = repeat.add("itself", whole);
    for number in 0..3 * bytes.len() / PACKET {
        if number.is_multiple_of(500) {
            repeat.show("itself");
        }
        assert!(repeat.next().is_some_and(|p| p[0] == packet::SYNC));
        repeat.take_cut(number as u64);
    }
}

/// The packets that came, and what went out; whether the stream was refused; where maps were.
fn through(bytes: &[u8], number: i64) -> (Vec<u8>, Vec<u8>, bool, Vec<u16>) {
    let mut inserter = Inserter::new(InsertOptions::default());
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut framer = Framer::default();
    let mut faults = Faults::default();
    let mut refused = false;
    let mut maps = Vec::new();
    for (piece, bytes) in bytes.chunks(1000).enumerate() {
        let indication = Indication {
            id: format!("rule.1.{piece}.raised"),
            rule: "rule".to_owned(),
            group: None,
            state: State::Raised,
            value: piece as f64,
            at: Timestamp(number),
        };
        assert_eq!(inserter.place(indication), Ok(()));
        let framed: Result<(), Refusal> = framer.push(bytes, &mut faults, |packets, _| {
            before.extend_from_slice(packets);
            for packet in packets.chunks(PACKET) {
                inserter.push(packet, Timestamp(number), &mut after)?;
                maps.extend(inserter.pmt_pid());
            }
            Ok(())
        });
        if framed.is_err() {
            refused = true;
            break;
        }
    }
    maps.sort_unstable();
    maps.dedup();
    (before, after, refused, maps)
}

/// Neither of a map that may be rewritten nor a null packet.
fn plain(packet: &Bytes, maps: &[u16]) -> bool {
    packet::pid(packet) != NULL_PID && !maps.contains(&packet::pid(packet))
}

fn same(before: &Bytes, after: &Bytes) -> bool {
    let mut restored = *after;
    if let (Some(pcr), Some(_)) = (packet::pcr(before), packet::pcr(after)) {
        packet::set_pcr(&mut restored, pcr);
    }
    *before == restored
}
