//! A file in memory, and what must be known of it to play it before or after another: how long a
//! packet takes, what its streams are, and when their first and last units are due.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::clock::{
    Clock, PCR_WRAP, PTS_WRAP, Rate, TICKS_PER_SECOND, pcr_after, pcr_distance, pts_distance,
};
use crate::fault::Faults;
use crate::hls::{leading, starts_key_frame};
use crate::packet::{self, Bytes, PACKET, PAT_PID};
use crate::pes;
use crate::program::Program;
use crate::psi::Pmt;

/// A unit's time where there is only one: a picture's, as it usually is.
const UNIT: i64 = 90_000 / 25;
/// A clip may be this much faster than the channel: what two measures of one rate differ by.
const FASTER_MAX: f64 = 1e-4;
/// Where the service description is.
const SDT_PID: u16 = 0x11;
/// Packets of the longest table that is kept.
const TABLE_MAX: usize = 8;

/// Why a file cannot be played in a loop, or a clip in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RepeatError {
    /// Too short.
    #[error("the file has no two clock references after each other, so its length is not known")]
    NoClock,
    /// Nothing says what is in it.
    #[error("the file has no PMT of one programme")]
    NoMap,
    /// Its packets do not follow each other evenly.
    #[error(
        "clips are shown in streams of constant rate, and this is none (ffmpeg makes one with -muxrate)"
    )]
    Variable,
    /// It does not fit.
    #[error("the clip has {0} bit/s, the channel only {1}: make it with the channel's -muxrate")]
    Faster(u64, u64),
    /// Something is missing.
    #[error("the clip has no stream of type {0:#04x}, as the channel has")]
    Lacks(u8),
    /// Its clock is where the channel's is not.
    #[error("the clip's clock is not in the stream where the channel's is")]
    ClockElsewhere,
}

/// When the units of a stream are due, in 90 kHz.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) pid: u16,
    /// The packet in which the first begins; of pictures, the first that needs none before it.
    pub(crate) begins: usize,
    /// The first.
    pub(crate) from: u64,
    /// The one that would follow the last.
    pub(crate) to: u64,
}

/// A file in memory.
#[derive(Clone, Debug)]
pub(crate) struct Clip {
    packets: Vec<u8>,
    pub(crate) ticks_per_packet: f64,
    /// What the clock shows at the first packet.
    clock: u64,
    /// Where the clock is.
    pub(crate) clock_pid: u16,
    pub(crate) spans: Vec<Span>,
    pub(crate) map: Option<Pmt>,
    pmt_pid: Option<u16>,
}

impl Clip {
    /// Of whole packets.
    pub(crate) fn new(mut packets: Vec<u8>) -> Result<Self, RepeatError> {
        packets.truncate(packets.len() / PACKET * PACKET);
        let all = packets.as_chunks::<PACKET>().0;
        let clocks = all.iter().find(|p| packet::pcr(p).is_some());
        let clock_pid = packet::pid(clocks.ok_or(RepeatError::NoClock)?);
        let references = || {
            let all = all.iter().enumerate();
            let own = all.filter(|(_, p)| packet::pid(p) == clock_pid);
            own.filter_map(|(at, p)| Some((at, packet::pcr(p)?)))
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
        let before = (first.0 as f64 * ticks_per_packet).round() as u64;
        let (map, pmt_pid) = program(all);
        Ok(Self {
            ticks_per_packet,
            clock: pcr_after(first.1, PCR_WRAP - before % PCR_WRAP),
            clock_pid,
            spans: spans(all, map.as_ref()),
            map,
            pmt_pid,
            packets,
        })
    }

    /// How many packets it has.
    pub(crate) fn len(&self) -> usize {
        self.packets.len() / PACKET
    }

    pub(crate) fn packet(&self, at: usize) -> Option<&Bytes> {
        self.packets.as_chunks::<PACKET>().0.get(at)
    }

    /// What the clock shows at a packet.
    pub(crate) fn clock_at(&self, at: usize) -> u64 {
        pcr_after(
            self.clock,
            (at as f64 * self.ticks_per_packet).round() as u64,
        )
    }

    /// When each stream's first unit from a packet on is due.
    pub(crate) fn due_from(&self, at: usize) -> Vec<(u16, u64)> {
        let spans = self.spans.iter();
        if at == 0 {
            return spans.map(|span| (span.pid, span.from)).collect();
        }
        let rest = self.packets.as_chunks::<PACKET>().0.get(at..);
        let rest = rest.unwrap_or_default();
        spans
            .map(|span| {
                let mut own = rest.iter().filter(|p| packet::pid(p) == span.pid);
                let next = own.find_map(stamp);
                (span.pid, next.unwrap_or(span.to))
            })
            .collect()
    }

    /// Where each stream's first unit begins: what is before that belongs to none.
    pub(crate) fn begins(&self) -> Vec<(u16, usize)> {
        let spans = self.spans.iter();
        spans.map(|span| (span.pid, span.begins)).collect()
    }

    /// The tables, each in the packets that its first section takes.
    pub(crate) fn tables(&self) -> Vec<Bytes> {
        let all = self.packets.as_chunks::<PACKET>().0;
        let pids = [Some(PAT_PID), self.pmt_pid, Some(SDT_PID)];
        let mut tables = Vec::new();
        for pid in pids.into_iter().flatten() {
            let mut own = all.iter().filter(|p| packet::pid(p) == pid);
            let start = own.find(|p| packet::starts_unit(p));
            let more = own.take_while(|p| !packet::starts_unit(p));
            tables.extend(start.into_iter().chain(more).take(TABLE_MAX).copied());
        }
        tables
    }

    /// Whether every packet takes the same time.
    pub(crate) fn is_constant(&self) -> bool {
        let mut clock = Clock::new();
        for packet in self.packets.as_chunks::<PACKET>().0 {
            match packet::pcr(packet).filter(|_| packet::pid(packet) == self.clock_pid) {
                Some(pcr) => _ = clock.reference(pcr, packet::is_discontinuity(packet)),
                None => clock.pass(1),
            }
        }
        clock.rate() == Rate::Constant
    }

    fn bits_per_second(&self) -> u64 {
        let bits = (PACKET * 8) as f64 * TICKS_PER_SECOND as f64;
        (bits / self.ticks_per_packet).round() as u64
    }

    /// Which of the channel's packet identifiers each of this clip's gets; of others nothing is
    /// shown.
    pub(crate) fn pids_in(&self, channel: &Self) -> Result<Vec<(u16, u16)>, RepeatError> {
        let (Some(own), Some(map)) = (&self.map, &channel.map) else {
            return Err(RepeatError::NoMap);
        };
        if !self.is_constant() || !channel.is_constant() {
            return Err(RepeatError::Variable);
        }
        if self.ticks_per_packet < channel.ticks_per_packet * (1.0 - FASTER_MAX) {
            let [own, rate] = [self, channel].map(Self::bits_per_second);
            return Err(RepeatError::Faster(own, rate));
        }
        let mut pids: Vec<(u16, u16)> = Vec::new();
        for wanted in &map.streams {
            let same = own.streams.iter().find(|stream| {
                stream.kind == wanted.kind && pids.iter().all(|(pid, _)| *pid != stream.pid)
            });
            let same = same.ok_or(RepeatError::Lacks(wanted.kind))?;
            pids.push((same.pid, wanted.pid));
        }
        let alone = |map: &Pmt, pid| map.streams.iter().all(|stream| stream.pid != pid);
        let (clock, wanted) = (self.clock_pid, channel.clock_pid);
        if alone(own, clock) && alone(map, wanted) {
            pids.push((clock, wanted));
        }
        match pids.contains(&(clock, wanted)) {
            true => Ok(pids),
            false => Err(RepeatError::ClockElsewhere),
        }
    }
}

/// The map, and where it is.
fn program(all: &[Bytes]) -> (Option<Pmt>, Option<u16>) {
    let (mut program, mut faults) = (Program::new(), Faults::default());
    for packet in all {
        let pid = packet::pid(packet);
        // What an encoder would refuse, it will.
        if pid == PAT_PID {
            _ = program.take_pat(packet, &mut faults);
        } else if Some(pid) == program.pmt_pid() {
            _ = program.take_pmt(packet, &mut faults);
        }
        if let Some(map) = program.map() {
            return (Some(map.clone()), program.pmt_pid());
        }
    }
    (None, None)
}

/// The time stamp of the unit that begins in a packet.
fn stamp(packet: &Bytes) -> Option<u64> {
    let start = packet::payload(packet).filter(|_| packet::starts_unit(packet))?;
    pes::pts(&packet[start..])
}

fn spans(all: &[Bytes], map: Option<&Pmt>) -> Vec<Span> {
    let pictures = map.and_then(leading);
    let key = |packet: &Bytes| map.is_some_and(|map| starts_key_frame(map, packet));
    let any_key = all.iter().any(key);
    // By identifier: where it begins and when, the least and the greatest from there, how many.
    let mut found: BTreeMap<u16, (usize, u64, i64, i64, i64)> = BTreeMap::new();
    for (number, packet) in all.iter().enumerate() {
        let Some(pts) = stamp(packet).filter(|_| !packet::is_scrambled(packet)) else {
            continue;
        };
        let pid = packet::pid(packet);
        let begun = found.contains_key(&pid);
        if !begun && any_key && Some(pid) == pictures && !key(packet) {
            continue;
        }
        let first = (number, pts, 0, 0, 0);
        let (_, first, low, high, count) = found.entry(pid).or_insert(first);
        let at = pts_distance(*first, pts);
        (*low, *high, *count) = ((*low).min(at), (*high).max(at), *count + 1);
    }
    let later = |pts: u64, by: i64| pts.wrapping_add_signed(by) & (PTS_WRAP - 1);
    let spans = found
        .into_iter()
        .map(|(pid, (begins, first, low, high, count))| {
            let unit = if count > 1 {
                (high - low) / (count - 1)
            } else {
                UNIT
            };
            Span {
                pid,
                begins,
                from: later(first, low),
                to: later(first, high + unit),
            }
        });
    spans.collect()
}
