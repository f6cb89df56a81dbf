//! A file as a source without an end: played again and again, with clocks and counters that run
//! on as if it were one stream.
//!
//! A file's last pictures are due after its last packet. So null packets are put behind it until
//! the pictures have been shown; only whole packets fit, and the fraction that is left over is made
//! good as the loops go by.

use thiserror::Error;

use crate::clock::{PTS_WRAP, pcr_after, pcr_distance, pts_distance};
use crate::packet::{self, Bytes, NULL, NULL_PID, PACKET, PIDS};
use crate::pes;

/// A picture's time is not in the stream: what is usual.
const PICTURE: i64 = 90_000 / 25;
/// Longest that is put behind a file: 2 s.
const BEHIND_MAX: i64 = 2 * 90_000;

/// Why a file cannot be played in a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RepeatError {
    /// Too short.
    #[error("the file has no two clock references after each other, so its length is not known")]
    NoClock,
}

/// Plays packets in a loop.
#[derive(Debug)]
pub struct Repeat {
    packets: Vec<u8>,
    /// With the null packets behind it.
    length: usize,
    ticks_per_packet: f64,
    at: usize,
    turn: u64,
    counters: Box<[u8; PIDS]>,
    /// The other loops' share in the clock, in ticks.
    offset: u64,
}

impl Repeat {
    /// Of whole packets.
    ///
    /// # Errors
    /// When they do not say how long they last.
    pub fn new(mut packets: Vec<u8>) -> Result<Self, RepeatError> {
        packets.truncate(packets.len() / PACKET * PACKET);
        let all = || packets.as_chunks::<PACKET>().0.iter();
        let references = || {
            all()
                .enumerate()
                .filter_map(|(at, p)| Some((at, packet::pcr(p)?)))
        };
        let (first, last) = (references().next(), references().next_back());
        let (Some(first), Some(last)) = (first, last) else {
            return Err(RepeatError::NoClock);
        };
        let ticks = pcr_distance(first.1, last.1);
        if last.0 == first.0 || ticks <= 0 {
            return Err(RepeatError::NoClock);
        }
        let ticks_per_packet = ticks as f64 / (last.0 - first.0) as f64;
        let count = packets.len() / PACKET;
        // What the pictures take beyond the packets.
        let clock = packet::pid(&packets.as_chunks::<PACKET>().0[first.0]);
        let stamps = all().filter(|p| packet::pid(p) == clock && packet::starts_unit(p));
        let stamps = stamps.filter_map(|p| pes::pts(&p[packet::payload(p)?..]));
        let mut span: Option<(u64, i64, i64)> = None;
        for pts in stamps {
            let (base, low, high) = span.unwrap_or((pts, 0, 0));
            let at = pts_distance(base, pts);
            span = Some((base, low.min(at), high.max(at)));
        }
        let pictures = span.map_or(0, |(_, low, high)| high - low + PICTURE);
        let lasts = (count as f64 * ticks_per_packet / 300.0) as i64;
        let behind = (pictures - lasts).clamp(0, BEHIND_MAX) as f64 * 300.0 / ticks_per_packet;
        Ok(Self {
            packets,
            length: count + behind.ceil() as usize,
            ticks_per_packet,
            at: 0,
            turn: 0,
            counters: Box::new([u8::MAX; PIDS]),
            offset: 0,
        })
    }
}

impl Iterator for Repeat {
    type Item = Bytes;

    /// The next packet; there always is one.
    fn next(&mut self) -> Option<Bytes> {
        if self.at == self.length {
            self.at = 0;
            self.turn += 1;
            let ticks = self.turn as f64 * self.length as f64 * self.ticks_per_packet;
            self.offset = ticks.round() as u64;
        }
        let at = self.at;
        self.at += 1;
        let Some(packet) = self.packets.as_chunks::<PACKET>().0.get(at) else {
            return Some(NULL);
        };
        let mut packet = *packet;
        let pid = packet::pid(&packet);
        if pid == NULL_PID {
            return Some(packet);
        }
        let counter = &mut self.counters[usize::from(pid)];
        if *counter > 15 {
            *counter = packet::continuity(&packet);
        } else if packet::has_payload(&packet) {
            *counter = (*counter + 1) & 0x0F;
        }
        packet::set_continuity(&mut packet, *counter);
        if self.turn > 0 {
            if let Some(pcr) = packet::pcr(&packet) {
                packet::set_pcr(&mut packet, pcr_after(pcr, self.offset));
            }
            if packet::starts_unit(&packet) && !packet::is_scrambled(&packet) {
                pes::move_stamps(&mut packet, self.offset / 300 % PTS_WRAP);
            }
        }
        Some(packet)
    }
}
