//! SCTE-35: the second form of an indication, a `time_signal` with one segmentation descriptor.
//!
//! The segmentation is an unscheduled event: it starts (0x40) when a rule is raised and ends (0x41)
//! when it clears, both under one event id, a hash of the rule's raise. The whole id stands in the
//! descriptor's UPID, of the kind MPU (0x0C), format identifier `SVDG`.

use crate::clock::PTS_WRAP;
use crate::psi::{close, crc32};

/// The format identifier before our ids.
pub(crate) const FORMAT: [u8; 4] = *b"SVDG";
/// `CUEI`, before everything of SCTE-35.
pub(crate) const CUEI: [u8; 4] = *b"CUEI";
const TABLE: u8 = 0xFC;
const TIME_SIGNAL: u8 = 6;
const SPLICE_NULL: u8 = 0;
const SEGMENTATION: u8 = 2;
const MPU: u8 = 0x0C;
/// Bytes of the longest id that fits into the descriptor.
pub(crate) const ID_MAX: usize = 200;

/// What a section of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// The indication's id.
    pub id: String,
    /// The segmentation's event id: a raise and its clear share it.
    pub event: u32,
    /// It begins; else it ends.
    pub starts: bool,
    /// When, in 90 kHz.
    pub pts: u64,
}

impl Cue {
    /// `event` names the raise: the id without its last part.
    pub(crate) fn new(id: &str, starts: bool, pts: u64) -> Self {
        let event = id.rsplit_once('.').map_or(id, |(raise, _)| raise);
        Self {
            id: id.to_owned(),
            event: crc32(event.as_bytes()),
            starts,
            pts: pts % PTS_WRAP,
        }
    }

    /// The section. The id is at most 200 bytes long.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut signal = vec![0xFE | (self.pts >> 32) as u8 & 1];
        signal.extend((self.pts as u32).to_be_bytes());
        let mut descriptor = CUEI.to_vec();
        descriptor.extend(self.event.to_be_bytes());
        // Not cancelled; a programme segmentation, no duration, no restrictions.
        descriptor.extend([0x7F, 0xBF, MPU]);
        descriptor.push((FORMAT.len() + self.id.len()) as u8);
        descriptor.extend(FORMAT);
        descriptor.extend(self.id.as_bytes());
        let kind = if self.starts { 0x40 } else { 0x41 };
        descriptor.extend([kind, 1, 1]);
        let mut loops = vec![SEGMENTATION, descriptor.len() as u8];
        loops.extend(descriptor);
        section(TIME_SIGNAL, &signal, &loops)
    }

    /// Of a section of ours whose CRC holds.
    pub(crate) fn read(section: &[u8]) -> Option<Self> {
        if section.len() < 20 || section[0] != TABLE || crc32(section) != 0 || section[3] != 0 {
            return None;
        }
        let clear = section[4] & 0x80 == 0;
        let adjustment = u64::from(section[4] & 1) << 32
            | u64::from(u32::from_be_bytes(*section[5..].first_chunk()?));
        if !clear || section[13] != TIME_SIGNAL {
            return None;
        }
        let signal = section.get(14..19)?;
        if signal[0] & 0x80 == 0 {
            return None;
        }
        let pts = u64::from(signal[0] & 1) << 32
            | u64::from(u32::from_be_bytes(*signal[1..].first_chunk()?));
        let length = usize::from(u16::from_be_bytes(*section.get(19..21)?.first_chunk()?));
        let loops = section.get(21..21 + length)?;
        let (_, body) = crate::psi::descriptors(loops).find(|(tag, _)| *tag == SEGMENTATION)?;
        let fixed = body.get(..12)?;
        if fixed[..4] != CUEI || fixed[8] & 0x80 != 0 || fixed[9] & 0xC0 != 0x80 || fixed[10] != MPU
        {
            return None;
        }
        let upid = body.get(12..12 + usize::from(fixed[11]))?;
        let id = std::str::from_utf8(upid.strip_prefix(&FORMAT)?).ok()?;
        Some(Self {
            id: id.to_owned(),
            event: u32::from_be_bytes(*fixed[4..].first_chunk()?),
            starts: *body.get(12 + upid.len())? == 0x40,
            pts: (pts + adjustment) % PTS_WRAP,
        })
    }
}

/// A section that says nothing, so that the stream's packets do not stay out.
pub(crate) fn nothing() -> Vec<u8> {
    section(SPLICE_NULL, &[], &[])
}

fn section(command: u8, body: &[u8], descriptors: &[u8]) -> Vec<u8> {
    // Version 0, clear, no adjustment, no cue index, all tiers.
    let mut out = vec![TABLE, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend([
        0xFF,
        0xF0 | (body.len() >> 8) as u8 & 0x0F,
        body.len() as u8,
    ]);
    out.push(command);
    out.extend(body);
    out.extend((descriptors.len() as u16).to_be_bytes());
    out.extend(descriptors);
    close(&mut out, 0x30);
    out
}
