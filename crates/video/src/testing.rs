//! Streams made for tests and benchmarks: of constant rate, whatever rate, start and share of null
//! packets is asked for.

use selvedge_entry::Timestamp;

use crate::packet::{self, Bytes, NULL, NULL_PID, PACKET};
use crate::{Indication, PCR_WRAP, Pmt, State, Stream, TICKS_PER_SECOND, crc32, pcr_after};

/// Where the PMT is.
pub const PMT_PID: u16 = 0x100;
/// Where the pictures are.
pub const VIDEO: u16 = 0x101;
/// Where the sound is.
pub const AUDIO: u16 = 0x102;

/// A stream of constant rate.
#[derive(Clone, Debug)]
pub struct Made {
    /// How long it is.
    pub packets: usize,
    /// Bits a second.
    pub rate: u64,
    /// The clock at the first packet.
    pub from: u64,
    /// A reference every so many packets.
    pub pcr_every: usize,
    /// A PAT and a PMT every so many.
    pub tables_every: usize,
    /// Of a hundred packets so many are null.
    pub nulls: usize,
    /// Bytes of descriptors in the PMT.
    pub descriptors: usize,
    /// What else is in it.
    pub seed: u64,
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

/// A number drawn from a seed, which moves on (SplitMix64).
pub fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// A PAT's section, of these programmes: number and PMT's packet identifier.
#[must_use]
pub fn pat(programs: &[(u16, u16)]) -> Vec<u8> {
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

/// A PMT, with at least so many bytes of descriptors.
///
/// # Panics
/// Never.
#[must_use]
pub fn map(descriptors: usize) -> Pmt {
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
#[must_use]
pub fn section_packet(section: &[u8], pid: u16) -> Bytes {
    let mut packet = NULL;
    packet::set_pid(&mut packet, pid);
    packet[1] |= 0x40;
    packet[4] = 0;
    packet[5..5 + section.len()].copy_from_slice(section);
    packet
}

/// A packet with a reference.
#[must_use]
pub fn pcr_packet(pid: u16, pcr: u64) -> Bytes {
    let mut packet = NULL;
    packet::set_pid(&mut packet, pid);
    packet[3] |= 0x20;
    packet[4] = 7;
    packet[5] = 0x10;
    packet::set_pcr(&mut packet, pcr);
    packet
}

impl Made {
    /// What so many packets take.
    #[must_use]
    pub fn ticks(&self, packets: usize) -> u64 {
        let bits = packets as u128 * PACKET as u128 * 8;
        (bits * u128::from(TICKS_PER_SECOND) / u128::from(self.rate)) as u64
    }

    /// The stream.
    ///
    /// # Panics
    /// When the PMT is too long for a packet.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
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

/// The indication of this number: raises and clears in turn.
#[must_use]
pub fn indication(number: u64) -> Indication {
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

/// A stream with a picture every 40 ms, a key frame every second.
#[must_use]
pub fn pictures(made: &Made) -> Vec<u8> {
    let mut bytes = made.bytes();
    units(made, &mut bytes, VIDEO, 3600, 25);
    bytes
}

/// Has a unit of a stream begin every so many ticks of 90 kHz, of which every so many is one that a
/// decoder can begin with.
pub fn units(made: &Made, bytes: &mut [u8], pid: u16, every: u64, key_every: u64) {
    let mut next = 0;
    let mut number = 0_u64;
    for (at, packet) in bytes.as_chunks_mut::<PACKET>().0.iter_mut().enumerate() {
        let plain = packet::pid(packet) == pid && packet::pcr(packet).is_none();
        if !plain || made.ticks(at) < next {
            continue;
        }
        next += every * 300;
        let pts = (made.from / 300 + 63_000 + number * every) & ((1 << 33) - 1);
        packet[1] |= 0x40;
        packet[3] |= 0x20;
        packet[4] = 1;
        packet[5] = if number.is_multiple_of(key_every) {
            0x40
        } else {
            0
        };
        let head = [
            0,
            0,
            1,
            0xE0,
            0,
            0,
            0x80,
            0x80,
            5,
            0x21 | (pts >> 29) as u8 & 0x0E,
            (pts >> 22) as u8,
            (pts >> 14) as u8 | 1,
            (pts >> 7) as u8,
            (pts << 1) as u8 | 1,
        ];
        packet[6..20].copy_from_slice(&head);
        number += 1;
    }
}
