//! An answer, read: strictly, so that whatever is not well-formed shows.

use crate::name::{NAME_MAX, text};
use crate::query::{HEADER, kind};
use crate::record::kind_name;

/// An answer's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Its id.
    pub id: u16,
    /// The header's second word: flags and the lower part of the code.
    pub flags: u16,
    /// Its response code, with what EDNS adds.
    pub rcode: u16,
    /// The question's name in its case, and its type, as text; empty without a question.
    pub question: String,
    /// Records of answer, authority and additional, each as a line; OPT is not among them.
    pub sections: [Vec<String>; 3],
    /// What EDNS says.
    pub edns: Option<DecodedEdns>,
}

/// An answer's OPT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedEdns {
    /// How many bytes its sender takes over UDP.
    pub size: u16,
    /// Options, by number.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Decoded {
    /// Reads an answer; `None` if anything in it is malformed or left over.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut at = HEADER;
        let header = message.first_chunk::<HEADER>()?;
        let word = |place: usize| u16::from_be_bytes([header[place], header[place + 1]]);
        let mut out = Self {
            id: word(0),
            flags: word(2),
            rcode: word(2) & 0xf,
            ..Self::default()
        };
        match word(4) {
            0 => {}
            1 => {
                let name = name(message, &mut at)?;
                let kind = take_word(message, &mut at)?;
                take_word(message, &mut at)?;
                out.question = format!("{} {}", text(&name), kind_name(kind));
            }
            _ => return None,
        }
        for section in 0..3 {
            for _ in 0..word(6 + 2 * section) {
                out.record(message, &mut at, section)?;
            }
        }
        (at == message.len()).then_some(out)
    }

    /// Whether the answer is authoritative.
    #[must_use]
    pub fn is_authoritative(&self) -> bool {
        self.flags & 0x0400 != 0
    }

    /// Whether it was cut short.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// The answer section's lines.
    #[must_use]
    pub fn answers(&self) -> &[String] {
        &self.sections[0]
    }

    /// The value of an EDNS option.
    #[must_use]
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        let options = &self.edns.as_ref()?.options;
        let found = options.iter().find(|(number, _)| *number == code)?;
        Some(&found.1)
    }

    fn record(&mut self, message: &[u8], at: &mut usize, section: usize) -> Option<()> {
        let owner = name(message, at)?;
        let kind = take_word(message, at)?;
        let class = take_word(message, at)?;
        let ttl = take(message, at, 4)?;
        let ttl = u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]);
        let length = usize::from(take_word(message, at)?);
        let end = *at + length;
        if end > message.len() {
            return None;
        }
        if kind == kind::OPT {
            if self.edns.is_some() || section != 2 || owner != [0] {
                return None;
            }
            self.rcode |= ((ttl >> 24) as u16) << 4;
            let mut options = Vec::new();
            while *at < end {
                let code = take_word(message, at)?;
                let length = take_word(message, at)?;
                options.push((code, take(message, at, usize::from(length))?.to_vec()));
            }
            self.edns = Some(DecodedEdns {
                size: class,
                options,
            });
            return (*at == end).then_some(());
        }
        let data = match kind {
            kind::NS | kind::CNAME | kind::PTR => text(&name(message, at)?),
            kind::SOA => {
                let (primary, mailbox) = (name(message, at)?, name(message, at)?);
                let serial = take(message, at, 20)?;
                let serial = u32::from_be_bytes([serial[0], serial[1], serial[2], serial[3]]);
                format!("{} {} {serial}", text(&primary), text(&mailbox))
            }
            kind::MX => {
                let preference = take_word(message, at)?;
                format!("{preference} {}", text(&name(message, at)?))
            }
            kind::A if length == 4 => {
                let bytes: [u8; 4] = take(message, at, 4)?.try_into().ok()?;
                core::net::Ipv4Addr::from(bytes).to_string()
            }
            kind::AAAA if length == 16 => {
                let bytes: [u8; 16] = take(message, at, 16)?.try_into().ok()?;
                core::net::Ipv6Addr::from(bytes).to_string()
            }
            _ => String::from_utf8_lossy(take(message, at, length)?).into_owned(),
        };
        self.sections[section].push(format!("{} {ttl} {} {data}", text(&owner), kind_name(kind)));
        (*at == end).then_some(())
    }
}

fn take<'a>(message: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
    let taken = message.get(*at..*at + length)?;
    *at += length;
    Some(taken)
}

fn take_word(message: &[u8], at: &mut usize) -> Option<u16> {
    let bytes = take(message, at, 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// A name, its pointers followed: each to an earlier place than the one before.
fn name(message: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut place = *at;
    let mut end = None;
    loop {
        let length = *message.get(place)?;
        match length {
            0 => {
                out.push(0);
                *at = end.unwrap_or(place + 1);
                return (out.len() <= NAME_MAX).then_some(out);
            }
            1..=63 => {
                out.extend_from_slice(message.get(place..=place + usize::from(length))?);
                place += 1 + usize::from(length);
            }
            0xc0.. => {
                let low = *message.get(place + 1)?;
                end = end.or(Some(place + 2));
                let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                if to >= place || to < HEADER {
                    return None;
                }
                place = to;
            }
            _ => return None,
        }
        if out.len() > NAME_MAX {
            return None;
        }
    }
}
