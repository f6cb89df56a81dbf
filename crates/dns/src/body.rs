//! The body of an answer, compiled when the zone is read, so that answering is copying.
//!
//! All that an answer holds beside header and question is known before anybody asks, up to where
//! its names are compressed against the question's. Those places are written relative to the end of
//! the question's name, which every name of its zone shares, so that one body serves every name
//! that a wildcard, a delegation or a negative answer is for.

use crate::name::{Name, suffixes};
use crate::query::{HEADER, rcode};
use crate::record::{Data, Part};

/// What stands in a [`Pointer`] for the question's name as a whole.
const WHOLE: i16 = i16::MIN;

/// Bytes that a compression pointer can reach, less what may stand before a body.
const REACH: usize = 0x3fff - HEADER - 255 - 4;

/// A compiled body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Whether it is authoritative: no referral is.
    pub(crate) authoritative: bool,
    pub(crate) rcode: u16,
    /// Records in answer, authority and additional.
    pub(crate) counts: [u16; 3],
    pub(crate) bytes: Box<[u8]>,
    pointers: Box<[Pointer]>,
}

/// A compression pointer to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pointer {
    /// Where in the body.
    at: u16,
    /// To where, from the end of the question's name.
    to: i16,
}

impl Body {
    /// Appends it to a message whose question's name is `name_length` bytes.
    pub(crate) fn write(&self, name_length: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let end = (HEADER + name_length) as i32;
        for pointer in &self.pointers {
            let to = match pointer.to {
                WHOLE => HEADER as i32,
                to => end + i32::from(to),
            };
            let word = 0xc000 | to as u16;
            let at = start + usize::from(pointer.at);
            out[at..at + 2].copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Which section a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// Whose a record is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'a> {
    /// The question's name, whatever it is.
    Question,
    Name(&'a Name),
}

/// Makes a [`Body`].
pub(crate) struct Compiler {
    body: Body,
    bytes: Vec<u8>,
    pointers: Vec<Pointer>,
    /// Names that a pointer can point to, in lower case, and where they are.
    known: Vec<(Box<[u8]>, i16)>,
}

impl Compiler {
    /// For questions whose names end with `suffix`.
    pub(crate) fn new(suffix: &Name) -> Self {
        let key = suffix.key();
        let known = suffixes(&key)
            .filter(|suffix| suffix.len() > 1)
            .map(|suffix| (suffix.into(), -(suffix.len() as i16)));
        Self {
            body: Body {
                authoritative: true,
                rcode: rcode::NO_ERROR,
                ..Body::default()
            },
            bytes: Vec::new(),
            pointers: Vec::new(),
            known: known.collect(),
        }
    }

    pub(crate) fn rcode(&mut self, rcode: u16) {
        self.body.rcode = rcode;
    }

    pub(crate) fn not_authoritative(&mut self) {
        self.body.authoritative = false;
    }

    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        kind: u16,
        ttl: u32,
        data: &Data,
    ) {
        match owner {
            Owner::Question => self.pointer(WHOLE),
            Owner::Name(name) => self.name(name),
        }
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend([0, 1]);
        self.bytes.extend(ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend([0, 0]);
        for part in data.parts() {
            match part {
                Part::Name(name) => self.name(name),
                Part::Bytes(bytes) => self.bytes.extend_from_slice(bytes),
            }
        }
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.body.counts[section as usize] += 1;
    }

    /// The body; `None` if it is larger than any message.
    pub(crate) fn finish(self) -> Option<Body> {
        let fits = self.bytes.len() <= usize::from(u16::MAX) - HEADER - 255 - 4;
        fits.then(|| Body {
            bytes: self.bytes.into_boxed_slice(),
            pointers: self.pointers.into_boxed_slice(),
            ..self.body
        })
    }

    fn pointer(&mut self, to: i16) {
        let at = self.bytes.len() as u16;
        self.pointers.push(Pointer { at, to });
        self.bytes.extend([0, 0]);
    }

    fn name(&mut self, name: &Name) {
        let key = name.key();
        let mut written = 0;
        for suffix in suffixes(&key) {
            if suffix.len() == 1 {
                break;
            }
            let at = self.bytes.len();
            if at < REACH
                && let Some((_, to)) = self.known.iter().find(|(known, _)| **known == *suffix)
            {
                return self.pointer(*to);
            }
            if at < REACH {
                // After the question's name come its type and class, then the body.
                self.known.push((suffix.into(), at as i16 + 4));
            }
            let label = 1 + usize::from(suffix[0]);
            self.bytes
                .extend_from_slice(&name.wire()[written..written + label]);
            written += label;
        }
        self.bytes.push(0);
    }
}
