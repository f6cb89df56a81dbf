//! Segments: packets from one key frame to the next, null packets left out, each beginning with the
//! tables.

use selvedge_entry::Timestamp;

use crate::clock::{pcr_distance, pts_distance};
use crate::fault::Faults;
use crate::packet::{self, Bytes, NULL_PID, PACKET, PAT_PID};
use crate::pes;
use crate::program::Program;
use crate::psi::Pmt;

/// A segment that gets no key frame is cut after so many times its length, or so many bytes.
const WITHOUT_KEY: u64 = 5;
const BYTES_MAX: usize = 64 << 20;
/// A time by the stream that differs by more from the host's is set anew.
const DRIFT_NS: u64 = 1_000_000_000;

/// A part of the stream that can be played by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How long it lasts, in 90 kHz.
    pub lasts: u64,
    /// Its first picture's time stamp.
    pub pts: u64,
    /// When its first picture came.
    pub at: Timestamp,
    /// The clock jumped before it, or something else came on.
    pub jumps: bool,
    /// Its packets.
    pub bytes: Vec<u8>,
}

/// Cuts a stream.
#[derive(Debug)]
pub struct Segmenter {
    /// In 90 kHz.
    length: u64,
    program: Program,
    faults: Faults,
    pat: Option<Bytes>,
    maps: Vec<Bytes>,
    /// The map that is coming in.
    coming: Vec<Bytes>,
    /// Continuity counters of the PAT and the PMT, which are sent more often than they come.
    counters: [u8; 2],
    pcr: Option<u64>,
    current: Option<Segment>,
    /// The clock jumped since the current segment began.
    jumped: bool,
    /// Something else comes on with the next key frame.
    other: bool,
    /// Where the times of segments go on.
    next_at: Option<Timestamp>,
}

impl Segmenter {
    /// Into segments of this length in milliseconds, or a little more.
    #[must_use]
    pub fn new(length_ms: u64) -> Self {
        Self {
            length: length_ms * 90,
            program: Program::new(),
            faults: Faults::default(),
            pat: None,
            maps: Vec::new(),
            coming: Vec::new(),
            counters: [0; 2],
            pcr: None,
            current: None,
            jumped: false,
            other: false,
            next_at: None,
        }
    }

    /// Takes packets (a multiple of 188 bytes); gives each segment that ends in them.
    pub fn push(&mut self, packets: &[u8], now: Timestamp, mut each: impl FnMut(Segment)) {
        for packet in packets.as_chunks::<PACKET>().0 {
            if let Some(segment) = self.one(packet, now) {
                each(segment);
            }
        }
    }

    /// Something else comes on with the next key frame, on the same clock: a segment begins there,
    /// for it may be made in another way.
    pub fn cut(&mut self) {
        self.other = true;
    }

    /// The segment that is being filled, as it ends with the stream.
    pub fn finish(&mut self) -> Option<Segment> {
        self.current.take().filter(|segment| segment.lasts > 0)
    }

    fn one(&mut self, packet: &Bytes, now: Timestamp) -> Option<Segment> {
        let pid = packet::pid(packet);
        if pid == NULL_PID {
            return None;
        }
        if pid == PAT_PID {
            // One that an encoder would refuse makes no segments.
            _ = self.program.take_pat(packet, &mut self.faults);
            self.pat = Some(*packet);
            self.table(packet, 0);
            return None;
        }
        if Some(pid) == self.program.pmt_pid() {
            self.map(packet);
            return None;
        }
        let map = self.program.map()?;
        if map.pcr_pid == pid
            && let Some(pcr) = packet::pcr(packet)
        {
            let distance = self.pcr.replace(pcr).map(|last| pcr_distance(last, pcr));
            let second = crate::TICKS_PER_SECOND as i64;
            self.jumped |= distance.is_some_and(|ticks| !(0..second).contains(&ticks))
                || packet::is_discontinuity(packet);
        }
        let ended = if leading(map) == Some(pid) && packet::starts_unit(packet) {
            let key = starts_key_frame(map, packet);
            self.picture(packet, key, now)
        } else {
            None
        };
        if let Some(current) = &mut self.current {
            current.bytes.extend_from_slice(packet);
        }
        ended
    }

    /// A picture begins: perhaps a segment does.
    fn picture(&mut self, packet: &Bytes, key: bool, now: Timestamp) -> Option<Segment> {
        let pts = pes::pts(&packet[packet::payload(packet)?..])?;
        let mut cut = key;
        if let Some(current) = &mut self.current {
            // Pictures do not come in the order of their times.
            let lasts = u64::try_from(pts_distance(current.pts, pts)).unwrap_or(0);
            let long = lasts >= self.length * WITHOUT_KEY || current.bytes.len() > BYTES_MAX;
            cut = (key && (lasts >= self.length || self.jumped || self.other)) || long;
            if !self.jumped {
                current.lasts = current.lasts.max(lasts);
                if cut {
                    current.lasts = lasts;
                }
            }
        }
        if !cut {
            return None;
        }
        let ended = self.current.take();
        let at = match (&ended, self.next_at) {
            (Some(ended), Some(_)) if !self.jumped => {
                let next = ended.at.saturating_add_ns(ended.lasts * 100_000 / 9);
                let off = next
                    .saturating_ns_since(now)
                    .max(now.saturating_ns_since(next));
                if off > DRIFT_NS { now } else { next }
            }
            _ => now,
        };
        self.next_at = Some(at);
        self.current = Some(Segment {
            lasts: 0,
            pts,
            at,
            jumps: std::mem::take(&mut self.jumped) | std::mem::take(&mut self.other),
            bytes: Vec::with_capacity(ended.as_ref().map_or(0, |ended| ended.bytes.len())),
        });
        for (packet, which) in self.pat.into_iter().map(|p| (p, 0)).collect::<Vec<_>>() {
            self.table(&packet, which);
        }
        for packet in self.maps.clone() {
            self.table(&packet, 1);
        }
        ended
    }

    /// A packet of the map: kept whole for the segments that begin later.
    fn map(&mut self, packet: &Bytes) {
        if packet::starts_unit(packet) {
            self.coming.clear();
        }
        // A map has at most six packets.
        if self.coming.len() < 8 {
            self.coming.push(*packet);
        }
        if matches!(
            self.program.take_pmt(packet, &mut self.faults),
            Ok((true, _))
        ) {
            self.maps = std::mem::take(&mut self.coming);
        }
        self.table(packet, 1);
    }

    /// Puts a packet of a table into the segment, under the segment's own counter.
    fn table(&mut self, packet: &Bytes, which: usize) {
        let Some(current) = &mut self.current else {
            return;
        };
        let mut packet = *packet;
        packet::set_continuity(&mut packet, self.counters[which]);
        self.counters[which] = (self.counters[which] + 1) & 0x0F;
        current.bytes.extend_from_slice(&packet);
    }
}

/// The stream of which it is said where segments begin: the pictures, or the sound where there are
/// none.
pub(crate) fn leading(map: &Pmt) -> Option<u16> {
    let mut streams = map.streams.iter();
    let video = streams.find(|stream| is_video(stream.kind));
    video.or(map.streams.first()).map(|stream| stream.pid)
}

/// Whether a packet begins a picture that needs none before it. Sound alone can begin anywhere.
pub(crate) fn starts_key_frame(map: &Pmt, packet: &Bytes) -> bool {
    let pid = packet::pid(packet);
    if leading(map) != Some(pid) || !packet::starts_unit(packet) {
        return false;
    }
    let stream = map.streams.iter().find(|stream| stream.pid == pid);
    let kind = stream.map_or(0, |stream| stream.kind);
    let payload = packet::payload(packet).map_or(&[][..], |start| &packet[start..]);
    !is_video(kind) || packet::is_random_access(packet) || has_key(kind, payload)
}

fn is_video(kind: u8) -> bool {
    matches!(kind, 0x01 | 0x02 | 0x10 | 0x1B | 0x24 | 0x33)
}

/// Whether the first bytes of a picture hold what only a key frame has, for streams whose packets
/// do not say it themselves.
fn has_key(kind: u8, payload: &[u8]) -> bool {
    let mut codes = payload.windows(4).filter(|four| four[..3] == [0, 0, 1]);
    codes.any(|four| match kind {
        // A sequence header.
        0x01 | 0x02 => four[3] == 0xB3,
        // An IDR slice, or the sequence's parameters before one.
        0x1B => matches!(four[3] & 0x1F, 5 | 7),
        // A picture without any before it, or parameters.
        0x24 => matches!(four[3] >> 1 & 0x3F, 16..=21 | 32 | 33),
        _ => false,
    })
}
