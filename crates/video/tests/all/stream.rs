//! Streams made for tests, and a plain model of what an encoder may do to one.

use selvedge_entry::Timestamp;
use selvedge_video::packet::{self, Bytes, NULL, NULL_PID, PACKET};
use selvedge_video::{
    Indication, Inserter, PCR_WRAP, Pmt, Refusal, State, Stream, TICKS_PER_SECOND, crc32,
    pcr_after, pcr_distance,
};

pub(crate) const PMT_PID: u16 = 0x100;
pub(crate) const VIDEO: u16 = 0x101;
pub(crate) const AUDIO: u16 = 0x102;

/// A stream of constant rate.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) packets: usize,
    /// Bits a second.
    pub(crate) rate: u64,
    /// The clock at the first packet.
    pub(crate) from: u64,
    /// A reference every so many packets, a PAT and a PMT likewise.
    pub(crate) pcr_every: usize,
    pub(crate) tables_every: usize,
    /// Of a hundred packets so many are null.
    pub(crate) nulls: usize,
    /// Bytes of descriptors in the PMT.
    pub(crate) descriptors: usize,
    pub(crate) seed: u64,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            packets: 12_000,
            rate: 5_000_000,
            from: PCR_WRAP - TICKS_PER_SECOND,
            pcr_every: 100,
            tables_every: 300,
            nulls: 10,
            descriptors: 0,
            seed: 1,
        }
    }
}

pub(crate) fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

pub(crate) fn pat(programs: &[(u16, u16)]) -> Vec<u8> {
    let mut section = vec![0, 0xB0, 0, 0, 1, 0xC1, 0, 0];
    for (number, pid) in programs {
        section.extend(number.to_be_bytes());
        section.extend((0xE000 | pid).to_be_bytes());
    }
    let length = section.len() + 1;
    section[2] = length as u8;
    section.extend(crc32(&section).to_be_bytes());
    section
}

pub(crate) fn map(descriptors: usize) -> Pmt {
    let mut text = Vec::new();
    while text.len() < descriptors {
        text.extend([0x80, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
    let mut section = vec![2, 0xB0, 0, 0, 1, 0xC1, 0, 0];
    section.extend((0xE000 | VIDEO).to_be_bytes());
    section.extend([0xF0, 0]);
    section[2] = section.len() as u8 + 1;
    section.extend(crc32(&section).to_be_bytes());
    let mut map = Pmt::read(&section).expect("a PMT");
    map.version = 31;
    map.descriptors = text;
    let kinds = [(0x1B, VIDEO), (0x0F, AUDIO)];
    map.streams = kinds
        .map(|(kind, pid)| Stream {
            kind,
            pid,
            descriptors: Vec::new(),
        })
        .into();
    map
}

/// A section of at most 183 bytes as one packet.
pub(crate) fn section_packet(section: &[u8], pid: u16) -> Bytes {
    let mut packet = NULL;
    packet::set_pid(&mut packet, pid);
    packet[1] |= 0x40;
    packet[4] = 0;
    packet[5..5 + section.len()].copy_from_slice(section);
    packet
}

pub(crate) fn pcr_packet(pid: u16, pcr: u64) -> Bytes {
    let mut packet = NULL;
    packet::set_pid(&mut packet, pid);
    packet[3] |= 0x20;
    packet[4] = 7;
    packet[5] = 0x10;
    packet::set_pcr(&mut packet, pcr);
    packet
}

impl Made {
    pub(crate) fn ticks(&self, packets: usize) -> u64 {
        let bits = packets as u128 * PACKET as u128 * 8;
        (bits * u128::from(TICKS_PER_SECOND) / u128::from(self.rate)) as u64
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut seed = self.seed;
        let mut out = Vec::with_capacity(self.packets * PACKET);
        let mut counters = [0_u8; 8192];
        for number in 0..self.packets {
            let mut packet = if number % self.tables_every == 0 {
                section_packet(&pat(&[(1, PMT_PID)]), 0)
            } else if number % self.tables_every == 1 {
                section_packet(&map(self.descriptors).write().expect("short"), PMT_PID)
            } else if number % self.pcr_every == 2 {
                pcr_packet(VIDEO, pcr_after(self.from, self.ticks(number)))
            } else if (chance(&mut seed) % 100) < self.nulls as u64 {
                NULL
            } else {
                let mut packet = NULL;
                let pid = if chance(&mut seed).is_multiple_of(4) {
                    AUDIO
                } else {
                    VIDEO
                };
                packet::set_pid(&mut packet, pid);
                packet[20] = chance(&mut seed) as u8;
                packet
            };
            let pid = packet::pid(&packet);
            if pid != NULL_PID {
                let counter = &mut counters[usize::from(pid)];
                packet::set_continuity(&mut packet, *counter);
                *counter = (*counter + 1) & 0x0F;
            }
            out.extend(packet);
        }
        out
    }
}

pub(crate) fn indication(number: u64) -> Indication {
    let state = if number.is_multiple_of(2) {
        State::Raised
    } else {
        State::Cleared
    };
    let word = if state == State::Raised {
        "raised"
    } else {
        "cleared"
    };
    Indication {
        id: format!("poll.19a9f3b2c4d1e5f60718.{}.{word}", number / 2 + 1),
        rule: "poll".to_owned(),
        group: None,
        state,
        value: number as f64,
        at: Timestamp(1_700_000_000_000_000_000 + number as i64),
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
