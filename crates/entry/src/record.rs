//! Records: how an entry lies in a journal.

use bytes::Bytes;
use thiserror::Error;

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
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// They end too early.
    #[error("record ends too early")]
    Truncated,
    /// A part has a value it cannot have.
    #[error("bad {0} in record")]
    Bad(&'static str),
    /// A kind of record that this version does not know (0 is the journal's own).
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
}

impl Record {
    /// Appends the binary form (docs/formats/entry.md). Its first byte is the record's kind, 1 to
    /// 255; kind 0 belongs to the journal.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!("entry helper")
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let _ = bytes;
        todo!("entry helper")
    }
}
