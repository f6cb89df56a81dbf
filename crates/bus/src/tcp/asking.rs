//! The parts of messages that are about reports: an owner's terms, questions and their answers.

use bytes::{BufMut, Bytes};
use selvedge_identity::ServerName;

use super::frame::{BODY_MAX, FrameError};
use super::message::{Body, batch_body_len, put_batch, put_extents, put_text};
use crate::{BusError, Found, ReportMode, SourceError, Terms};

/// The longest question. It is a page's: what an owner gave back as the next one included.
pub(crate) const QUESTION_MAX: usize = 1024 * 1024;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody owns that journal now.
    Absent,
    /// The owner did not answer, for this reason.
    Unanswered(String),
}

impl Refusal {
    /// What the one who asked is told.
    pub(crate) fn error(self, server: &ServerName) -> BusError {
        let server = server.clone();
        match self {
            Self::Absent => BusError::Absent { server },
            Self::Unanswered(reason) => BusError::Unanswered { server, reason },
        }
    }

    /// What a hub says of an error of its own.
    pub(crate) fn of(error: BusError) -> Self {
        match error {
            BusError::Absent { .. } => Self::Absent,
            BusError::Unanswered { reason, .. } => Self::Unanswered(reason),
            other => Self::Unanswered(other.to_string()),
        }
    }
}

/// What a frame holds of an owner's answer. One that is too long is an owner's mistake.
pub(crate) fn fitting(found: Result<Found, SourceError>) -> Result<Found, Refusal> {
    let found = found.map_err(|error| Refusal::Unanswered(error.0))?;
    let batches: usize = found.batches.iter().map(batch_body_len).sum();
    let next = found.next.as_ref().map_or(0, Bytes::len);
    let extents = (found.looked.len() + found.gaps.len()) * 28;
    if next > QUESTION_MAX || batches + next + extents + 64 > BODY_MAX {
        let reason = "its answer is too long for a bus link".to_owned();
        return Err(Refusal::Unanswered(reason));
    }
    Ok(found)
}

pub(super) fn put_terms(out: &mut Vec<u8>, terms: Terms) {
    let mode = ReportMode::ALL.iter().position(|mode| *mode == terms.mode);
    out.put_u8(mode.unwrap_or(0) as u8);
    out.put_u8(terms.peers_at_once.into());
    out.put_u8(terms.holders);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

pub(super) fn put_answer(out: &mut Vec<u8>, result: &Result<Found, Refusal>) {
    match result {
        Ok(found) => {
            out.put_u8(0);
            out.put_u32_le(found.batches.len() as u32);
            for batch in &found.batches {
                put_batch(out, batch);
            }
            put_extents(out, &found.looked);
            put_extents(out, &found.gaps);
            out.put_u8(found.next.is_some().into());
            if let Some(next) = &found.next {
                put_bytes(out, next);
            }
        }
        Err(Refusal::Absent) => out.put_u8(1),
        Err(Refusal::Unanswered(reason)) => {
            out.put_u8(2);
            put_text(out, reason);
        }
    }
}

impl Body {
    pub(crate) fn flag(&mut self) -> Result<bool, FrameError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::Content("neither yes nor no")),
        }
    }

    pub(super) fn terms(&mut self) -> Result<Terms, FrameError> {
        let mode = ReportMode::ALL.get(usize::from(self.u8()?)).copied();
        Ok(Terms {
            mode: mode.ok_or(FrameError::Content("unknown way to report"))?,
            peers_at_once: self.flag()?,
            holders: self.u8()?,
        })
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, FrameError> {
        let count = self.u32()? as usize;
        if count > QUESTION_MAX {
            return Err(FrameError::Content("question too long"));
        }
        self.take(count)
    }

    pub(super) fn answer(&mut self) -> Result<Result<Found, Refusal>, FrameError> {
        Ok(match self.u8()? {
            0 => {
                // The shortest batch: a name of one byte, and one record of none.
                let count = self.count(30)?;
                let mut batches = Vec::with_capacity(count);
                for _ in 0..count {
                    batches.push(self.batch()?);
                }
                Ok(Found {
                    batches,
                    looked: self.extents()?,
                    gaps: self.extents()?,
                    next: match self.flag()? {
                        true => Some(self.bytes()?),
                        false => None,
                    },
                })
            }
            1 => Err(Refusal::Absent),
            2 => Err(Refusal::Unanswered(self.text()?)),
            _ => return Err(FrameError::Content("unknown outcome of a question")),
        })
    }
}
