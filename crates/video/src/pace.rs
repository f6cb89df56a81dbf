//! When packets are due, by the programme clock: for a source that gives them faster.
//!
//! Packets between two references are due at even distances. So what lies between is held until
//! the next reference is there; nothing waits that was not to be waited for anyway.

use crate::clock::{TICKS_PER_SECOND, pcr_distance};
use crate::packet::{self, Bytes, PACKET};

/// Packets held at most; a clock that stays out so long is not waited for.
const HELD_MAX: usize = 64 << 10;
/// Two references further apart than this, or backwards, are a jump.
const JUMP: i64 = TICKS_PER_SECOND as i64;

/// Packets with the time at which the first is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// In ticks of 27 MHz since the first packet.
    pub at: u64,
    /// In ticks, of all of them.
    pub lasts: u64,
    /// The packets.
    pub packets: Vec<u8>,
}

/// Says when packets are due.
#[derive(Debug, Default)]
pub struct Pace {
    held: Vec<u8>,
    /// Where the clock is; the first one found.
    pid: Option<u16>,
    last: Option<u64>,
    ticks_per_packet: f64,
    /// When the first held packet is due.
    at: f64,
}

impl Pace {
    /// Takes a packet; gives those before it where it has the next reference.
    pub fn push(&mut self, packet: &Bytes) -> Option<Due> {
        let pcr = packet::pcr(packet).filter(|_| {
            let pid = packet::pid(packet);
            *self.pid.get_or_insert(pid) == pid
        });
        let due = match pcr {
            Some(pcr) => self.reference(pcr),
            None if self.held.len() >= HELD_MAX * PACKET => self.take(),
            None => None,
        };
        self.held.extend_from_slice(packet);
        due
    }

    /// What is held, at the end.
    pub fn finish(&mut self) -> Option<Due> {
        self.take()
    }

    fn reference(&mut self, pcr: u64) -> Option<Due> {
        let count = self.held.len() / PACKET;
        let distance = self.last.replace(pcr).map(|last| pcr_distance(last, pcr));
        // Before the first reference there is no time; after a jump it goes on as before.
        if let Some(ticks) = distance
            && (1..JUMP).contains(&ticks)
            && count > 0
        {
            self.ticks_per_packet = ticks as f64 / count as f64;
        }
        self.take()
    }

    fn take(&mut self) -> Option<Due> {
        let count = self.held.len() / PACKET;
        if count == 0 {
            return None;
        }
        let lasts = count as f64 * self.ticks_per_packet;
        let due = Due {
            at: self.at.round() as u64,
            lasts: lasts.round() as u64,
            packets: std::mem::take(&mut self.held),
        };
        self.at += lasts;
        Some(due)
    }
}
