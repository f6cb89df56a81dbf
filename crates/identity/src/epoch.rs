//! One run of a journal's writer.

use std::fmt;
use std::str::FromStr;

use crate::ParseIdError;
use crate::wire::{hex_u64, parse_hex_u64};

/// An epoch: a counter, one higher at every start of the writer, and 64 random bits that keep
/// two lives apart even where the counter was lost with the disk. Shown as
/// `<counter>-<16 hex digits>`, for one `3-9f8e7d6c5b4a3f2e`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Counts the starts of this server's journal, from 1.
    pub counter: u32,
    /// Drawn at the start.
    pub random: u64,
}

impl FromStr for Epoch {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("epoch");
        let (counter, random) = text.split_once('-').ok_or_else(error)?;
        if counter.is_empty() || !counter.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        Ok(Self {
            counter: counter.parse().map_err(|_| error())?,
            random: parse_hex_u64(random.as_bytes()).ok_or_else(error)?,
        })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.counter)?;
        f.write_str(hex_u64(self.random).as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::wire::serde_as_text!(Epoch);
