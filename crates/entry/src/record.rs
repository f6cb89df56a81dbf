//! Records: how an entry lies in a journal.
//!
//! The first byte is the record's kind (the journal keeps 0 for itself), the rest is fields; see
//! docs/formats/entry.md for every byte. Reading never panics and never allocates more than a
//! small multiple of the bytes it was given.

use bytes::Bytes;
use thiserror::Error;

use crate::codec::{put_closing, put_effect, put_opening, read_closing, read_effect, read_opening};
use crate::wire::{Reader, put_bytes, put_message, put_number};
use crate::{Closing, Effect, Opening};

/// One record of an entry. The journal gives it its sequence; a later record names its opening's
/// sequence in the same epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry starts.
    Opening(Box<Opening>),
    /// Its effect is known.
    Effect {
        /// Its opening's sequence.
        opening: u64,
        /// The effect.
        effect: Effect,
    },
    /// It ended.
    Closing {
        /// Its opening's sequence.
        opening: u64,
        /// The end.
        closing: Box<Closing>,
    },
    /// A short entry, all in one.
    Whole(Box<Opening>, Box<Closing>),
    /// What an action sends to many receivers at once: no part of an entry.
    Broadcast {
        /// The opening's sequence of the action that sends it.
        opening: u64,
        /// The broadcast (docs/formats/broadcast.md), at most 1 MiB.
        broadcast: Bytes,
    },
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// They end too early.
    #[error("record ends too early")]
    Truncated,
    /// A part is missing or has a value it cannot have.
    #[error("bad {0} in record")]
    Bad(&'static str),
    /// A kind of record that this version does not know (0 is the journal's own).
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
}

pub(crate) const OPENING: u8 = 1;
pub(crate) const EFFECT: u8 = 2;
pub(crate) const CLOSING: u8 = 3;
pub(crate) const WHOLE: u8 = 4;
pub(crate) const BROADCAST: u8 = 5;

pub(crate) const WHOLE_OPENING: u32 = 1;
pub(crate) const WHOLE_CLOSING: u32 = 2;

const BROADCAST_OPENING: u32 = 1;
const BROADCAST_BYTES: u32 = 2;

/// Bytes of a broadcast at most.
const BROADCAST_MAX: usize = 1 << 20;

impl Record {
    /// The kinds of record that begin an entry.
    pub(crate) const OPENS: [u8; 2] = [OPENING, WHOLE];

    /// Whether bytes are meant as a broadcast: who looks for nothing else need not read the rest.
    #[must_use]
    pub fn is_broadcast(bytes: &[u8]) -> bool {
        bytes.first() == Some(&BROADCAST)
    }

    /// Appends the binary form (docs/formats/entry.md). Its first byte is the record's kind, 1 to
    /// 255; kind 0 belongs to the journal.
    ///
    /// Texts, lists and bodies over the format's limits are cut, so that what is written can
    /// always be read: names after 1 KiB, values after 64 KiB, lists after 4096 elements, bodies
    /// after 16 MiB (and marked truncated).
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opening(opening) => {
                out.push(OPENING);
                put_opening(out, opening);
            }
            Self::Effect { opening, effect } => {
                out.push(EFFECT);
                put_effect(out, *opening, effect);
            }
            Self::Closing { opening, closing } => {
                out.push(CLOSING);
                put_closing(out, Some(*opening), closing);
            }
            Self::Whole(opening, closing) => {
                let body = |body: &Option<Bytes>| body.as_ref().map_or(0, Bytes::len);
                out.push(WHOLE);
                let expected = 200 + body(&opening.request.body);
                put_message(out, WHOLE_OPENING, expected, |out| {
                    put_opening(out, opening);
                });
                let expected = 64 + body(&closing.request.body) + body(&closing.response.body);
                put_message(out, WHOLE_CLOSING, expected, |out| {
                    put_closing(out, None, closing);
                });
            }
            Self::Broadcast { opening, broadcast } => {
                out.push(BROADCAST);
                put_number(out, BROADCAST_OPENING, *opening);
                put_bytes(out, BROADCAST_BYTES, broadcast);
            }
        }
    }

    /// Reads the binary form. Bodies of 4 KiB and more, and broadcasts, share the memory of `bytes`,
    /// all else is copied.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let (kind, fields) = bytes.split_first().ok_or(RecordError::Truncated)?;
        let mut message = Reader::new(fields);
        match *kind {
            OPENING => Ok(Self::Opening(Box::new(read_opening(message, bytes)?))),
            EFFECT => {
                let (opening, effect) = read_effect(message)?;
                Ok(Self::Effect { opening, effect })
            }
            CLOSING => {
                let (opening, closing) = read_closing(message, bytes)?;
                Ok(Self::Closing {
                    opening: opening.ok_or(RecordError::Bad("opening"))?,
                    closing: Box::new(closing),
                })
            }
            WHOLE => {
                let (mut opening, mut closing) = (None, None);
                while let Some((number, value)) = message.field()? {
                    match number {
                        WHOLE_OPENING => {
                            let part = value.message("opening")?;
                            opening = Some(Box::new(read_opening(part, bytes)?));
                        }
                        WHOLE_CLOSING => {
                            let part = value.message("closing")?;
                            closing = Some(Box::new(read_closing(part, bytes)?.1));
                        }
                        _ => {}
                    }
                }
                Ok(Self::Whole(
                    opening.ok_or(RecordError::Bad("opening"))?,
                    closing.ok_or(RecordError::Bad("closing"))?,
                ))
            }
            BROADCAST => {
                let (mut opening, mut broadcast) = (None, None);
                while let Some((number, value)) = message.field()? {
                    match number {
                        BROADCAST_OPENING => opening = Some(value.number("opening")?),
                        BROADCAST_BYTES => {
                            let part = value.bytes(BROADCAST_MAX, "broadcast")?;
                            broadcast = Some(bytes.slice_ref(part));
                        }
                        _ => {}
                    }
                }
                Ok(Self::Broadcast {
                    opening: opening.ok_or(RecordError::Bad("opening"))?,
                    broadcast: broadcast.ok_or(RecordError::Bad("broadcast"))?,
                })
            }
            kind => Err(RecordError::UnknownKind(kind)),
        }
    }
}
