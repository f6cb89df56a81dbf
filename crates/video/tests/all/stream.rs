//! A plain model of what an encoder may do to a stream.

use std::collections::BTreeMap;

use selvedge_entry::Timestamp;
use selvedge_video::packet::{self, Bytes, NULL_PID, PACKET};
pub(crate) use selvedge_video::testing::{
    AUDIO, Made, PMT_PID, VIDEO, chance, indication, map, pat, section_packet,
};
use selvedge_video::{Inserter, Refusal, pcr_distance};

/// The continuity counter of each packet identifier as it came last.
#[derive(Default)]
pub(crate) struct Counters(BTreeMap<u16, u8>);

impl Counters {
    /// Asserts that a packet's counter follows, by one where it has a payload.
    pub(crate) fn follow(&mut self, packet: &Bytes, at: usize) {
        let (pid, counter) = (packet::pid(packet), packet::continuity(packet));
        if let Some(before) = self.0.insert(pid, counter) {
            let step = u8::from(packet::has_payload(packet));
            assert_eq!(counter, (before + step) & 0x0F, "{pid:#x} at {at}");
        }
    }
}

/// Pushes a stream through, placing an indication after each of these packets.
pub(crate) fn through(
    inserter: &mut Inserter,
    bytes: &[u8],
    at: &[usize],
    piece: usize,
) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let mut next = 0;
    for (number, packets) in bytes.chunks(piece * PACKET).enumerate() {
        while at.get(next).is_some_and(|at| *at < (number + 1) * piece) {
            inserter.place(indication(next as u64)).expect("it fits");
            next += 1;
        }
        inserter.push(packets, Timestamp(number as i64), &mut out)?;
    }
    Ok(out)
}

/// Everything that must hold of what comes out.
pub(crate) fn check(input: &[u8], output: &[u8], inserter: &Inserter, rate: Option<&Made>) {
    let ours = inserter.ours().expect("the programme is known");
    let plain = |bytes: &[u8], also: &[u16]| -> Vec<Bytes> {
        let all = bytes.as_chunks::<PACKET>().0.iter().copied();
        all.filter(|packet| {
            let pid = packet::pid(packet);
            pid != NULL_PID && pid != PMT_PID && !also.contains(&pid)
        })
        .collect()
    };
    let before = plain(input, &[]);
    let after = plain(output, &[ours.id3, ours.scte35]);
    assert_eq!(before.len(), after.len(), "packets of others");
    for (number, (before, after)) in before.iter().zip(&after).enumerate() {
        let mut restored = *after;
        if let Some(pcr) = packet::pcr(before) {
            packet::set_pcr(&mut restored, pcr);
        }
        assert_eq!(*before, restored, "packet {number}");
    }
    let mut counters = [u8::MAX; 8192];
    let mut pcrs = Vec::new();
    for (number, packet) in output.as_chunks::<PACKET>().0.iter().enumerate() {
        let pid = packet::pid(packet);
        assert_eq!(packet[0], 0x47, "packet {number}");
        if pid != NULL_PID && packet::has_payload(packet) {
            let before =
                std::mem::replace(&mut counters[usize::from(pid)], packet::continuity(packet));
            assert!(
                before > 15 || packet::continuity(packet) == (before + 1) & 0x0F,
                "counter of {pid:#x} at packet {number}"
            );
        }
        if let Some(pcr) = packet::pcr(packet) {
            pcrs.push((number, pcr));
        }
    }
    let Some(made) = rate else { return };
    let (first, from) = pcrs[0];
    for (number, pcr) in &pcrs {
        let due = made.ticks(number + 2) as i64 - made.ticks(first + 2) as i64;
        let off = pcr_distance(from, *pcr) - due;
        // 0.5 µs are 13.5 ticks.
        assert!(
            off.abs() <= 13,
            "reference at packet {number} is {off} ticks off"
        );
    }
}
