//! Names that many spans have in common, each made once.
//!
//! A few slots, found by a cheap mix of a name's bytes; a new name takes the place of the one that
//! was there. So memory and work are bounded whatever comes.

use std::fmt::Write;

use selvedge_entry::Text;

use crate::ValueRef;
use crate::protobuf::Broken;

const SLOTS: usize = 256;

/// Longer texts are not looked for: few are there twice.
const LONG: usize = 64;

/// See the file's head.
#[derive(Default)]
pub(crate) struct Names {
    slots: Vec<Option<Text>>,
    scratch: String,
}

impl Names {
    /// The text of these bytes.
    pub(crate) fn text_of(&mut self, bytes: &[u8]) -> Result<Text, Broken> {
        let text = |bytes| {
            std::str::from_utf8(bytes)
                .map(Text::from)
                .map_err(|_| Broken)
        };
        if bytes.len() > LONG {
            return text(bytes);
        }
        if self.slots.is_empty() {
            self.slots = vec![None; SLOTS];
        }
        let slot = &mut self.slots[slot(bytes)];
        if let Some(known) = slot.as_ref().filter(|known| known.as_bytes() == bytes) {
            return Ok(known.clone());
        }
        Ok(slot.insert(text(bytes)?).clone())
    }

    /// The same text, shared.
    pub(crate) fn text(&mut self, text: &str) -> Text {
        self.text_of(text.as_bytes())
            .unwrap_or_else(|_| text.into())
    }

    /// A value as [`ValueRef::to_text`] says it.
    pub(crate) fn value(&mut self, value: ValueRef<'_>) -> Text {
        if let Some(text) = value.as_str() {
            return self.text(text);
        }
        let Some(number) = value.as_int() else {
            return value.to_text();
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let _ = write!(scratch, "{number}");
        let text = self.text(&scratch);
        self.scratch = scratch;
        text
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
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}
