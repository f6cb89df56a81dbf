//! Where a stream of entries goes on.
//!
//! An entry is told when its last record comes, but its first came earlier. So for each journal a
//! cursor holds two sequences: from where to read again (the oldest entry that was open), and up
//! to where everything has been told. Written as text for HTTP:
//! `<server>/<epoch>/<read from>-<told>`, joined by commas.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use selvedge_identity::{Epoch, ServerName};
use thiserror::Error;

/// Bytes of the longest text.
const TEXT_MAX: usize = 64 << 10;
/// Journals of the longest cursor.
const JOURNALS_MAX: usize = 1024;

/// How far each journal was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) journals: BTreeMap<ServerName, Place>,
}

/// How far one journal was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    /// The oldest record that is needed again.
    pub(crate) from: u64,
    /// Everything below has been told.
    pub(crate) told: u64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a cursor: give back the last one as it came, or none")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (server, place)) in self.journals.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let Place { epoch, from, told } = place;
            write!(f, "{comma}{server}/{epoch}/{from}-{told}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() > TEXT_MAX {
            return Err(CursorError);
        }
        let mut journals = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (server, place) = journal(part).ok_or(CursorError)?;
            if journals.insert(server, place).is_some() || journals.len() > JOURNALS_MAX {
                return Err(CursorError);
            }
        }
        Ok(Self { journals })
    }
}

fn journal(text: &str) -> Option<(ServerName, Place)> {
    let (rest, sequences) = text.rsplit_once('/')?;
    let (server, epoch) = rest.rsplit_once('/')?;
    let (from, told) = sequences.split_once('-')?;
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| plain)
    };
    let place = Place {
        epoch: epoch.parse().ok()?,
        from: number(from)?,
        told: number(told)?,
    };
    Some((ServerName::new(server).ok()?, place)).filter(|_| place.from <= place.told)
}
