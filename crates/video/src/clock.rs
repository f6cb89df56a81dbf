//! The clocks of a programme: 27 MHz references that wrap after 26.5 hours, and 90 kHz time stamps
//! that wrap with them; and the rate at which packets follow each other, from pairs of references.
//!
//! A stream is of *constant rate* when every reference stands where the packets before it say, but
//! for 2 µs: the 0.5 µs that the standard allows to each of both ends, and as much again for what
//! was done to it on the way. Only such a stream can be restamped.

use std::collections::VecDeque;

/// Ticks of the programme clock in a second.
pub const TICKS_PER_SECOND: u64 = 27_000_000;
/// Where the programme clock begins again.
pub const PCR_WRAP: u64 = (1 << 33) * 300;
/// Where time stamps begin again.
pub const PTS_WRAP: u64 = 1 << 33;

/// Off its place by so many ticks, a reference is still that of a constant rate.
const OFF_MAX: f64 = 54.0;
/// References until the kind of rate is judged; that many off in a row, and it is variable.
const JUDGED_AFTER: u32 = 8;
/// References on their place in a row until a variable rate is constant.
const CONSTANT_AFTER: u32 = 64;
/// The slope is taken over this time: longer smooths the references' jitter better.
const SLOPE_TICKS: u64 = 2 * TICKS_PER_SECOND;
/// Two references further apart than this, or backwards, are a jump.
const JUMP_TICKS: u64 = TICKS_PER_SECOND / 2;
/// References kept for the slope.
const POINTS_MAX: usize = 256;

/// Ticks from `earlier` to `later` on the clock that wraps: less than half a wrap is forward.
#[must_use]
pub fn pcr_distance(earlier: u64, later: u64) -> i64 {
    let forward = (later + PCR_WRAP - earlier) % PCR_WRAP;
    if forward < PCR_WRAP / 2 {
        forward as i64
    } else {
        forward as i64 - PCR_WRAP as i64
    }
}

/// Time stamp units (90 kHz) from `earlier` to `later`, likewise.
#[must_use]
pub fn pts_distance(earlier: u64, later: u64) -> i64 {
    let forward = later.wrapping_sub(earlier) & (PTS_WRAP - 1);
    if forward < PTS_WRAP / 2 {
        forward as i64
    } else {
        forward as i64 - PTS_WRAP as i64
    }
}

/// A reference and so many ticks more.
#[must_use]
pub fn pcr_after(pcr: u64, ticks: u64) -> u64 {
    (pcr + ticks % PCR_WRAP) % PCR_WRAP
}

/// How packets follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Too few references yet.
    Unknown,
    /// Every packet takes the same time.
    Constant,
    /// It changes.
    Variable,
}

/// What a reference was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// In its place, or the rate is variable.
    Fine,
    /// Of a constant rate, but off its place.
    Off,
    /// The clock jumped.
    Jump,
}

/// The running programme clock over the packets of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Packets seen.
    packets: u64,
    /// References on one clock: at which packet, and ticks since the first (not wrapped).
    points: VecDeque<(u64, u64)>,
    last: Option<(u64, u64)>,
    ticks_per_packet: f64,
    rate: Rate,
    /// References in a row that were off their place, or on it.
    off: u32,
    on: u32,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            packets: 0,
            points: VecDeque::new(),
            last: None,
            ticks_per_packet: 0.0,
            rate: Rate::Unknown,
            off: 0,
            on: 0,
        }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// The time that a packet takes, in ticks; 0 while unknown.
    pub(crate) fn ticks_per_packet(&self) -> f64 {
        self.ticks_per_packet
    }

    /// Packets without a reference went by.
    pub(crate) fn pass(&mut self, packets: u64) {
        self.packets += packets;
    }

    /// A packet with a reference comes. `jumps`: it says so itself.
    pub(crate) fn reference(&mut self, pcr: u64, jumps: bool) -> Reference {
        let at = self.packets;
        self.packets += 1;
        let Some((last_at, last_pcr)) = self.last.replace((at, pcr)) else {
            self.points.push_back((at, 0));
            return Reference::Fine;
        };
        let distance = pcr_distance(last_pcr, pcr);
        let Some(ticks) = u64::try_from(distance)
            .ok()
            .filter(|ticks| !jumps && (1..=JUMP_TICKS).contains(ticks))
        else {
            // The rate is believed further; the slope begins anew.
            self.points.clear();
            self.points.push_back((at, 0));
            self.off = 0;
            return Reference::Jump;
        };
        let packets = at - last_at;
        let back = self.points.back().map_or(0, |point| point.1) + ticks;
        let expected = self.slope();
        self.points.push_back((at, back));
        while self.points.len() > POINTS_MAX
            || (self.points.len() > 2 && back - self.points[1].1 >= SLOPE_TICKS)
        {
            self.points.pop_front();
        }
        let off =
            expected.is_some_and(|slope| (ticks as f64 - slope * packets as f64).abs() > OFF_MAX);
        self.judge(expected.is_some(), off);
        if self.rate == Rate::Variable {
            self.ticks_per_packet = ticks as f64 / packets as f64;
            return Reference::Fine;
        }
        if off {
            // What is far off must not bend the slope.
            let origin = self.points.pop_back();
            self.points.clear();
            self.points.extend(origin.map(|(at, _)| (at, 0)));
            return Reference::Off;
        }
        self.ticks_per_packet = self.slope().unwrap_or(self.ticks_per_packet);
        Reference::Fine
    }

    fn judge(&mut self, measured: bool, off: bool) {
        if off {
            self.off += 1;
            self.on = 0;
        } else if measured {
            self.on += 1;
            self.off = 0;
        }
        self.rate = match self.rate {
            Rate::Unknown if self.on >= JUDGED_AFTER => Rate::Constant,
            Rate::Unknown if self.off >= JUDGED_AFTER => Rate::Variable,
            Rate::Constant if self.off >= JUDGED_AFTER => Rate::Variable,
            Rate::Variable if self.on >= CONSTANT_AFTER => Rate::Constant,
            rate => rate,
        };
    }

    /// Ticks of a packet over the references that are kept.
    fn slope(&self) -> Option<f64> {
        let (first, last) = (self.points.front()?, self.points.back()?);
        let packets = last.0 - first.0;
        (packets > 0).then(|| (last.1 - first.1) as f64 / packets as f64)
    }

    /// What the clock shows where the next packet stands, `later` packets on.
    pub(crate) fn now(&self, later: u64) -> Option<u64> {
        let (at, pcr) = self.last?;
        let ticks = (self.packets - at + later) as f64 * self.ticks_per_packet;
        Some(pcr_after(pcr, ticks.round() as u64))
    }
}
