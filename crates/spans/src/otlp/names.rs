//! Names that many spans of a batch have in common, each made once.
//!
//! A few slots, found by a cheap mix of a name's bytes; a new name takes the place of the one that
//! was there. So memory and work are bounded whatever comes.

use selvedge_entry::Text;

use crate::protobuf::Broken;

const SLOTS: usize = 64;

/// See the file's head.
#[derive(Default)]
pub(super) struct Names {
    slots: Vec<Text>,
}

impl Names {
    /// The text of these bytes.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Result<Text, Broken> {
        if self.slots.is_empty() {
            self.slots = vec![Text::default(); SLOTS];
        }
        let slot = &mut self.slots[slot(bytes)];
        if slot.as_bytes() != bytes {
            *slot = std::str::from_utf8(bytes).map_err(|_| Broken)?.into();
        }
        Ok(slot.clone())
    }
}

fn slot(bytes: &[u8]) -> usize {
    let word = |part: Option<&[u8; 8]>| part.map_or(0, |part| u64::from_le_bytes(*part));
    let (first, last) = (word(bytes.first_chunk()), word(bytes.last_chunk()));
    let short = bytes
        .iter()
        .take(8)
        .fold(0u64, |mix, byte| mix << 8 | u64::from(*byte));
    let mixed = (first ^ last.rotate_left(29) ^ short).wrapping_add(bytes.len() as u64);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}
