//! What is said over NATS (`docs/formats/bus-jetstream.md`): a version, a kind, a body, and a seal.
//!
//! The seal is a keyed BLAKE3 hash over all of it and the subject that it was said on. Whoever can
//! reach NATS but does not have the fleet's key can withhold and repeat messages, as whoever cuts a
//! cable can, but cannot make one up, change one or move it to another subject. The parts that are
//! the same as on a link are written as there.

use bytes::{BufMut, Bytes};
use selvedge_identity::{Epoch, ServerName};

use crate::tcp::frame::{Frame, FrameError};
use crate::tcp::message::{BATCH, Body, Message, batch_body_len, put_batch, put_epoch, put_text};
use crate::{Batch, Extent, Terms};

/// The format's version: messages of another are refused.
const VERSION: u8 = 1;
/// Bytes of a seal.
const SEAL: usize = 32;

/// Which run of which program says something.
pub(super) type Instance = [u8; 16];

/// What is said on a journal's subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Who.
    pub(super) instance: Instance,
    /// What it goes on from: the epoch and sequence that the message before it on this subject
    /// ended with. `None` in the first one.
    pub(super) before: Option<(Epoch, u64)>,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// These records come next.
    Batch(Batch),
    /// Records that are too long for a message come next: they are to be read from the owner.
    Elsewhere { epoch: Epoch, first: u64, end: u64 },
    /// The journal has a new owner; whatever the former one has under way is refused from here on.
    Claim,
}

/// What is said on an owner's subject: what holds of a journal and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) instance: Instance,
    /// The owner's program, for people.
    pub(super) name: String,
    /// Not, once it left.
    pub(super) present: bool,
    pub(super) extents: Vec<Extent>,
    pub(super) terms: Terms,
    pub(super) reported: Option<(Epoch, u64)>,
}

/// One of the parts in which an answer comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Of the question.
    pub(super) nonce: [u8; 16],
    pub(super) index: u32,
    pub(super) count: u32,
    pub(super) bytes: Bytes,
}

/// The fleet's key, as messages over NATS are sealed with it.
#[derive(Clone)]
pub(super) struct Seal([u8; 32]);

impl Seal {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn seal(&self, subject: &str, kind: u8, size: usize, body: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut out = Vec::with_capacity(2 + size + SEAL);
        out.put_u8(VERSION);
        out.put_u8(kind);
        body(&mut out);
        let mac = self.mac(subject, &out);
        out.put_slice(mac.as_bytes());
        out.into()
    }

    /// The kind and the body of a message that was sealed with this key, for this subject.
    fn open(&self, subject: &str, payload: &Bytes) -> Result<(u8, Body), FrameError> {
        let Some(length) = payload.len().checked_sub(SEAL).filter(|n| *n >= 2) else {
            return Err(FrameError::Content("message cut short"));
        };
        let mut mac = [0; SEAL];
        mac.copy_from_slice(&payload[length..]);
        // Compared in constant time by `blake3::Hash`.
        if self.mac(subject, &payload[..length]) != mac {
            return Err(FrameError::Content("seal does not hold"));
        }
        if payload[0] != VERSION {
            return Err(FrameError::Content("message of another version"));
        }
        Ok((payload[1], Body::new(payload.slice(2..length))))
    }

    fn mac(&self, subject: &str, message: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"selvedge bus over nats 1, ");
        hasher.update(subject.as_bytes());
        hasher.update(b"\0");
        hasher.update(message);
        hasher.finalize()
    }

    pub(super) fn told(&self, subject: &str, told: &Told) -> Bytes {
        let (kind, size) = match &told.what {
            What::Batch(batch) => (1, batch_body_len(batch)),
            What::Elsewhere { .. } => (2, 28),
            What::Claim => (3, 0),
        };
        self.seal(subject, kind, 16 + 21 + size, |out| {
            out.put_slice(&told.instance);
            put_place(out, told.before);
            match &told.what {
                What::Batch(batch) => put_batch(out, batch),
                What::Elsewhere { epoch, first, end } => {
                    put_epoch(out, *epoch);
                    out.put_u64_le(*first);
                    out.put_u64_le(*end);
                }
                What::Claim => {}
            }
        })
    }

    pub(super) fn open_told(&self, subject: &str, payload: &Bytes) -> Result<Told, FrameError> {
        let (kind, mut body) = self.open(subject, payload)?;
        let told = Told {
            instance: body.array()?,
            before: place(&mut body)?,
            what: match kind {
                1 => What::Batch(body.batch()?),
                2 => What::Elsewhere {
                    epoch: body.epoch()?,
                    first: body.u64()?,
                    end: body.u64()?,
                },
                3 => What::Claim,
                _ => return Err(FrameError::Content("not for a journal's subject")),
            },
        };
        body.end()?;
        Ok(told)
    }

    pub(super) fn state(&self, subject: &str, server: &ServerName, state: &State) -> Bytes {
        let join = Message::Join {
            server: server.clone(),
            extents: state.extents.clone(),
            terms: state.terms,
            reported: state.reported,
        };
        let join = join.frame(0);
        let size = 16 + 256 + 1 + join.body.len();
        self.seal(subject, 4, size, |out| {
            out.put_slice(&state.instance);
            put_text(out, &state.name);
            out.put_u8(state.present.into());
            out.put_u8(join.kind);
            out.put_slice(&join.body);
        })
    }

    pub(super) fn open_state(
        &self,
        subject: &str,
        payload: &Bytes,
    ) -> Result<(ServerName, State), FrameError> {
        let (4, mut body) = self.open(subject, payload)? else {
            return Err(FrameError::Content("not for an owner's subject"));
        };
        let (instance, name, present) = (body.array()?, body.text()?, body.flag()?);
        let Message::Join {
            server,
            extents,
            terms,
            reported,
        } = said(&mut body)?
        else {
            return Err(FrameError::Content("not for an owner's subject"));
        };
        let state = State {
            instance,
            name,
            present,
            extents,
            terms,
            reported,
        };
        Ok((server, state))
    }

    pub(super) fn alive(&self, subject: &str, instance: Instance, count: u64) -> Bytes {
        self.seal(subject, 5, 16 + 8, |out| {
            out.put_slice(&instance);
            out.put_u64_le(count);
        })
    }

    pub(super) fn open_alive(
        &self,
        subject: &str,
        payload: &Bytes,
    ) -> Result<(Instance, u64), FrameError> {
        let (5, mut body) = self.open(subject, payload)? else {
            return Err(FrameError::Content("not a sign of life"));
        };
        let alive = (body.array()?, body.u64()?);
        body.end()?;
        Ok(alive)
    }

    pub(super) fn question(&self, subject: &str, nonce: [u8; 16], asked: &Message) -> Bytes {
        let frame = asked.frame(0);
        self.seal(subject, 6, 16 + 1 + frame.body.len(), |out| {
            out.put_slice(&nonce);
            out.put_u8(frame.kind);
            out.put_slice(&frame.body);
        })
    }

    pub(super) fn open_question(
        &self,
        subject: &str,
        payload: &Bytes,
    ) -> Result<([u8; 16], Message), FrameError> {
        let (6, mut body) = self.open(subject, payload)? else {
            return Err(FrameError::Content("not a question"));
        };
        Ok((body.array()?, said(&mut body)?))
    }

    /// An answer, in parts of at most `part_max` bytes.
    pub(super) fn answer(&self, nonce: [u8; 16], answer: &Message, part_max: usize) -> Vec<Bytes> {
        let frame = answer.frame(0);
        let mut whole = Vec::with_capacity(1 + frame.body.len());
        whole.put_u8(frame.kind);
        whole.put_slice(&frame.body);
        let parts = whole.chunks(part_max);
        let count = parts.len() as u32;
        let part = |(index, bytes): (u32, &[u8])| {
            self.seal(ANSWER, 7, 16 + 8 + bytes.len(), |out| {
                out.put_slice(&nonce);
                out.put_u32_le(index);
                out.put_u32_le(count);
                out.put_slice(bytes);
            })
        };
        (0..).zip(parts).map(part).collect()
    }

    pub(super) fn open_part(&self, payload: &Bytes) -> Result<Part, FrameError> {
        let (7, mut body) = self.open(ANSWER, payload)? else {
            return Err(FrameError::Content("not an answer"));
        };
        Ok(Part {
            nonce: body.array()?,
            index: body.u32()?,
            count: body.u32()?,
            bytes: body.rest(),
        })
    }
}

/// What answers are sealed for: their subjects are drawn by NATS, their nonces name the question.
const ANSWER: &str = "an answer";

/// What was put together from an answer's parts.
pub(super) fn answered(whole: Bytes) -> Result<Message, FrameError> {
    said(&mut Body::new(whole))
}

/// What is left of a body: what a frame of a link says.
fn said(body: &mut Body) -> Result<Message, FrameError> {
    let kind = body.u8()?;
    if kind == BATCH {
        return Err(FrameError::Content("a batch out of place"));
    }
    Message::parse(&Frame::new(kind, 0, body.rest()))
}

fn put_place(out: &mut Vec<u8>, place: Option<(Epoch, u64)>) {
    out.put_u8(place.is_some().into());
    if let Some((epoch, sequence)) = place {
        put_epoch(out, epoch);
        out.put_u64_le(sequence);
    }
}

fn place(body: &mut Body) -> Result<Option<(Epoch, u64)>, FrameError> {
    Ok(match body.flag()? {
        true => Some((body.epoch()?, body.u64()?)),
        false => None,
    })
}

impl Told {
    /// How far the journal's subject goes with it.
    pub(super) fn end(&self) -> Option<(Epoch, u64)> {
        match &self.what {
            What::Batch(batch) => Some((batch.epoch, batch.end())),
            What::Elsewhere { epoch, end, .. } => Some((*epoch, *end)),
            What::Claim => self.before,
        }
    }

    /// The first record that it tells of.
    pub(super) fn first(&self) -> Option<(Epoch, u64)> {
        match &self.what {
            What::Batch(batch) => Some((batch.epoch, batch.first)),
            What::Elsewhere { epoch, first, .. } => Some((*epoch, *first)),
            What::Claim => self.before,
        }
    }
}

/// As [`super::fuzz_sealed`].
pub(super) fn fuzz(kind: u8, body: &[u8]) {
    let seal = Seal::new([7; 32]);
    let subject = "selvedge.journal.a";
    let sealed = seal.seal(subject, kind, body.len(), |out| out.put_slice(body));
    if let Ok(told) = seal.open_told(subject, &sealed) {
        assert_eq!(seal.told(subject, &told), sealed);
    }
    if let Ok((server, state)) = seal.open_state(subject, &sealed) {
        let again = seal.state(subject, &server, &state);
        assert_eq!(seal.open_state(subject, &again).ok(), Some((server, state)));
    }
    if let Ok((instance, count)) = seal.open_alive(subject, &sealed) {
        assert_eq!(seal.alive(subject, instance, count), sealed);
    }
    if let Ok((nonce, asked)) = seal.open_question(subject, &sealed) {
        let again = seal.question(subject, nonce, &asked);
        assert_eq!(
            seal.open_question(subject, &again).ok(),
            Some((nonce, asked))
        );
    }
    let answer = seal.seal(ANSWER, kind, body.len(), |out| out.put_slice(body));
    if let Ok(part) = seal.open_part(&answer) {
        let _ = answered(part.bytes);
    }
}
