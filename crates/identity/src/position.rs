//! Where a record stands: server, epoch, sequence.

use std::fmt;
use std::str::FromStr;

use crate::{Epoch, ParseIdError, ServerName};

/// The place of a record in the journals of a fleet; an entry's position is its opening's.
/// Sequences are dense within an epoch, so a reader sees every gap, and readers dedupe by
/// position. Shown as `server/epoch/sequence`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Whose journal.
    pub server: ServerName,
    /// Which run of its writer.
    pub epoch: Epoch,
    /// The record's number in that run, from 0.
    pub sequence: u64,
}

impl FromStr for Position {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("position");
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or_else(error);
        let (server, epoch, sequence) = (next()?, next()?, next()?);
        if sequence.is_empty() || !sequence.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        Ok(Self {
            server: server.parse()?,
            epoch: epoch.parse()?,
            sequence: sequence.parse().map_err(|_| error())?,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.server, self.epoch, self.sequence)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::wire::serde_as_text!(Position);
