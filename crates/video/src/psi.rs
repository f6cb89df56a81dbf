//! Programme-specific information: sections, their CRC, the PAT and the PMT.

use crate::packet::{self, Bytes, PACKET};

/// Bytes of the longest section of a PAT or PMT, with its first three.
pub(crate) const SECTION_MAX: usize = 1024;
/// Bytes of the longest section there is.
pub(crate) const PRIVATE_SECTION_MAX: usize = 4096;

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x04C1_1DB7
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// The CRC of sections (polynomial 04C11DB7, most significant bit first, from all ones). Over a
/// section with its CRC it is 0.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        crc << 8 ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ *byte)]
    })
}

/// Puts sections together from the packets of one packet identifier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sections {
    held: Vec<u8>,
    counter: Option<u8>,
    running: bool,
    longest: usize,
}

impl Sections {
    /// Of sections of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            longest,
            ..Self::default()
        }
    }

    /// Takes a packet, and gives each section that ends in it. A lost packet loses the section.
    pub(crate) fn push(&mut self, packet: &Bytes, mut each: impl FnMut(&[u8])) {
        let Some(start) = packet::payload(packet) else {
            return;
        };
        if packet::is_damaged(packet) || packet::is_scrambled(packet) {
            self.running = false;
            return;
        }
        let counter = packet::continuity(packet);
        let before = self.counter.replace(counter);
        if before == Some(counter) {
            return;
        }
        if before.is_some_and(|before| (before + 1) & 0x0F != counter) {
            self.running = false;
        }
        let payload = &packet[start..];
        if !packet::starts_unit(packet) {
            if self.running {
                self.extend(payload, &mut each);
            }
            return;
        }
        let pointer = usize::from(payload[0]);
        let Some(fresh) = payload.get(1 + pointer..) else {
            self.running = false;
            return;
        };
        if self.running {
            self.extend(&payload[1..=pointer], &mut each);
        }
        self.held.clear();
        self.running = true;
        self.extend(fresh, &mut each);
    }

    fn extend(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        self.held.extend_from_slice(bytes);
        loop {
            // Stuffing fills the rest of a packet.
            if self.held.first().is_none_or(|table| *table == 0xFF) {
                if !self.held.is_empty() {
                    self.held.clear();
                    self.running = false;
                }
                return;
            }
            let Some(head) = self.held.first_chunk::<3>() else {
                return;
            };
            let length = 3 + (usize::from(head[1] & 0x0F) << 8 | usize::from(head[2]));
            if length > self.longest {
                self.held.clear();
                self.running = false;
                return;
            }
            if self.held.len() < length {
                return;
            }
            each(&self.held[..length]);
            self.held.drain(..length);
        }
    }
}

/// Cuts a section into packets; `counter` is the next continuity counter and moves on.
pub(crate) fn packetise(section: &[u8], pid: u16, counter: &mut u8, mut each: impl FnMut(Bytes)) {
    let mut rest = section;
    let mut first = true;
    while first || !rest.is_empty() {
        let room = if first { PACKET - 5 } else { PACKET - 4 };
        let (part, after) = rest.split_at(rest.len().min(room));
        let mut payload = Vec::with_capacity(PACKET);
        if first {
            payload.push(0);
        }
        payload.extend_from_slice(part);
        payload.resize(PACKET - 4, 0xFF);
        each(packet::build(pid, first, *counter, &payload));
        *counter = (*counter + 1) & 0x0F;
        rest = after;
        first = false;
    }
}

/// What the head of a long section says.
struct Head<'a> {
    id: u16,
    version: u8,
    current: bool,
    number: u8,
    last: u8,
    body: &'a [u8],
}

/// The head and the body of a section of this table whose CRC holds.
fn head(section: &[u8], table: u8) -> Option<Head<'_>> {
    if section.len() < 12 || section[0] != table || section[1] & 0x80 == 0 || crc32(section) != 0 {
        return None;
    }
    Some(Head {
        id: u16::from_be_bytes([section[3], section[4]]),
        version: section[5] >> 1 & 0x1F,
        current: section[5] & 1 != 0,
        number: section[6],
        last: section[7],
        body: &section[8..section.len() - 4],
    })
}

/// A programme association table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pat {
    pub(crate) current: bool,
    pub(crate) sections: u8,
    /// Number and PMT's packet identifier of each programme.
    pub(crate) programs: Vec<(u16, u16)>,
}

impl Pat {
    /// `None`: not one, or damaged.
    pub(crate) fn read(section: &[u8]) -> Option<Self> {
        let head = head(section, 0)?;
        let all = head.body.chunks_exact(4).map(|four| {
            let number = u16::from_be_bytes([four[0], four[1]]);
            (number, u16::from_be_bytes([four[2], four[3]]) & 0x1FFF)
        });
        Some(Self {
            current: head.current,
            sections: head.last,
            // Number 0 is the network's table.
            programs: all.filter(|(number, _)| *number != 0).collect(),
        })
    }
}

/// An elementary stream of a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What it carries (table 2-34 of the standard).
    pub kind: u8,
    /// Its packet identifier.
    pub pid: u16,
    /// Its descriptors.
    pub descriptors: Vec<u8>,
}

/// A programme map table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmt {
    /// The programme's number.
    pub program: u16,
    /// 0 to 31; it moves on with every change.
    pub version: u8,
    /// It is in force, not the next.
    pub current: bool,
    pub(crate) number: u8,
    pub(crate) last: u8,
    /// Where the programme's clock is.
    pub pcr_pid: u16,
    /// The programme's descriptors.
    pub descriptors: Vec<u8>,
    /// Its streams.
    pub streams: Vec<Stream>,
}

impl Pmt {
    /// `None`: not one, or damaged.
    #[must_use]
    pub fn read(section: &[u8]) -> Option<Self> {
        let head = head(section, 2)?;
        let length =
            usize::from(u16::from_be_bytes([*head.body.get(2)?, *head.body.get(3)?]) & 0x0FFF);
        let descriptors = head.body.get(4..4 + length)?.to_vec();
        let mut rest = head.body.get(4 + length..)?;
        let mut streams = Vec::new();
        while !rest.is_empty() {
            let fixed = rest.first_chunk::<5>()?;
            let length = usize::from(u16::from_be_bytes([fixed[3], fixed[4]]) & 0x0FFF);
            streams.push(Stream {
                kind: fixed[0],
                pid: u16::from_be_bytes([fixed[1], fixed[2]]) & 0x1FFF,
                descriptors: rest.get(5..5 + length)?.to_vec(),
            });
            rest = &rest[5 + length..];
        }
        Some(Self {
            program: head.id,
            version: head.version,
            current: head.current,
            number: head.number,
            last: head.last,
            pcr_pid: u16::from_be_bytes([head.body[0], head.body[1]]) & 0x1FFF,
            descriptors,
            streams,
        })
    }

    /// The section; `None` where it would be over 1,024 bytes.
    #[must_use]
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut out = vec![2, 0, 0];
        out.extend(self.program.to_be_bytes());
        out.push(0xC0 | (self.version & 0x1F) << 1 | u8::from(self.current));
        out.extend([self.number, self.last]);
        out.extend((0xE000 | self.pcr_pid).to_be_bytes());
        out.extend((0xF000 | u16::try_from(self.descriptors.len()).ok()?).to_be_bytes());
        out.extend(&self.descriptors);
        for stream in &self.streams {
            out.push(stream.kind);
            out.extend((0xE000 | stream.pid).to_be_bytes());
            out.extend((0xF000 | u16::try_from(stream.descriptors.len()).ok()?).to_be_bytes());
            out.extend(&stream.descriptors);
        }
        if out.len() + 4 > SECTION_MAX {
            return None;
        }
        close(&mut out, 0xB0);
        Some(out)
    }
}

/// Writes a section's length and CRC; `flags` are the four bits beside the length.
pub(crate) fn close(section: &mut Vec<u8>, flags: u8) {
    let length = section.len() - 3 + 4;
    section[1] = flags | (length >> 8) as u8 & 0x0F;
    section[2] = length as u8;
    section.extend(crc32(section).to_be_bytes());
}

/// Descriptors one by one: tag and body. Ends where one does not fit.
pub(crate) fn descriptors(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let body = rest.get(..usize::from(head[1]))?;
        bytes = &rest[body.len()..];
        Some((head[0], body))
    })
}
