//! PES packets: ours with an ID3 tag in them, and the time stamps of any.

use crate::packet::{self, Bytes, PACKET};

/// The stream of metadata in private stream 1.
const PRIVATE_STREAM_1: u8 = 0xBD;
/// Bytes of the longest of ours: the head, and what its length can say.
pub(crate) const PES_MAX: usize = 6 + 0xFFFF;

/// A PES packet with a time stamp, its data aligned (some players demand that it says so).
/// `None` where the data is over 65,000 bytes.
pub(crate) fn write(pts: u64, data: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(data.len() + 8).ok()?;
    let mut out = vec![0, 0, 1, PRIVATE_STREAM_1];
    out.extend(length.to_be_bytes());
    out.extend([0x84, 0x80, 5]);
    out.extend(stamp(0x2, pts));
    out.extend(data);
    Some(out)
}

/// Cuts a PES packet into packets; `counter` is the next continuity counter and moves on.
pub(crate) fn packetise(pes: &[u8], pid: u16, counter: &mut u8, mut each: impl FnMut(Bytes)) {
    for (number, part) in pes.chunks(PACKET - 4).enumerate() {
        each(packet::build(pid, number == 0, *counter, part));
        *counter = (*counter + 1) & 0x0F;
    }
}

/// Five bytes of a time stamp, after four bits that say which.
fn stamp(which: u8, pts: u64) -> [u8; 5] {
    [
        which << 4 | (pts >> 29) as u8 & 0x0E | 1,
        (pts >> 22) as u8,
        (pts >> 14) as u8 | 1,
        (pts >> 7) as u8,
        (pts << 1) as u8 | 1,
    ]
}

fn unstamp(b: &[u8]) -> u64 {
    let b: [u64; 5] = std::array::from_fn(|i| u64::from(b[i]));
    (b[0] >> 1 & 0x07) << 30 | b[1] << 22 | (b[2] >> 1) << 15 | b[3] << 7 | b[4] >> 1
}

/// Where the time stamps stand in a PES packet's first bytes: presentation, decoding.
pub(crate) fn stamps(pes: &[u8]) -> (Option<usize>, Option<usize>) {
    // Some streams have no such head: the map, padding, private stream 2, conditional access.
    let headless = |id| matches!(id, 0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xF2 | 0xF8 | 0xFF);
    if pes.len() < 14 || pes[..3] != [0, 0, 1] || headless(pes[3]) || pes[6] & 0xC0 != 0x80 {
        return (None, None);
    }
    let pts = (pes[7] & 0x80 != 0 && pes[8] >= 5).then_some(9);
    let dts = (pes[7] & 0xC0 == 0xC0 && pes[8] >= 10 && pes.len() >= 19).then_some(14);
    (pts, dts)
}

/// The presentation time stamp in a PES packet's first bytes, if there is one.
pub(crate) fn pts(pes: &[u8]) -> Option<u64> {
    stamps(pes).0.map(|at| unstamp(&pes[at..]))
}

/// Moves the time stamps of the PES packet that begins in this packet on by so much.
pub(crate) fn move_stamps(packet: &mut Bytes, by: u64) {
    let Some(start) = packet::payload(packet) else {
        return;
    };
    let (pts, dts) = stamps(&packet[start..]);
    for at in [pts, dts].into_iter().flatten() {
        let at = start + at;
        let moved = unstamp(&packet[at..]).wrapping_add(by) & (crate::clock::PTS_WRAP - 1);
        let which = packet[at] >> 4;
        packet[at..at + 5].copy_from_slice(&stamp(which, moved));
    }
}

/// The data of a whole PES packet.
pub(crate) fn data(pes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*pes.get(4)?, *pes.get(5)?]));
    let start = 9 + usize::from(*pes.get(8)?);
    pes.get(start..6 + length)
}

/// Puts PES packets together whose length is given, from the packets of one packet identifier.
#[derive(Clone, Debug, Default)]
pub(crate) struct PesPackets {
    held: Vec<u8>,
    counter: Option<u8>,
}

impl PesPackets {
    /// Takes a packet, and gives the PES packet that ends in it.
    pub(crate) fn push(&mut self, packet: &Bytes, each: impl FnOnce(&[u8])) {
        let Some(start) = packet::payload(packet) else {
            return;
        };
        let counter = packet::continuity(packet);
        let before = self.counter.replace(counter);
        if before == Some(counter) {
            return;
        }
        if packet::starts_unit(packet) {
            self.held.clear();
        } else if self.held.is_empty() || before.is_some_and(|b| (b + 1) & 0x0F != counter) {
            self.held.clear();
            return;
        }
        self.held.extend_from_slice(&packet[start..]);
        let Some(head) = self.held.first_chunk::<6>() else {
            return;
        };
        let length = 6 + usize::from(u16::from_be_bytes([head[4], head[5]]));
        if self.held.len() >= length {
            // A length of 0 is one without an end: of video, never of ours.
            if length > 6 {
                each(&self.held[..length]);
            }
            self.held.clear();
        } else if self.held.len() > PES_MAX {
            self.held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_read_as_they_were_written() {
        for pts in [0, 1, 90_000, 0x1_2345_6789, (1 << 33) - 1] {
            let pes = write(pts, b"data").expect("short");
            assert_eq!(super::pts(&pes), Some(pts));
            assert_eq!(data(&pes), Some(&b"data"[..]));
        }
    }
}
