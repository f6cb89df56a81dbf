//! A request stack: the newest ids, oldest first; the last is the request's own.
//!
//! In texts it is its ids' bytes one after the other. Ids are copied as whole words, the later
//! over the unused end of the earlier, and read back likewise: copies of 1 to 8 bytes would cost
//! a call each.

use arrayvec::ArrayVec;

use crate::wire::{HeaderText, base64};
use crate::{STACK_MAX, StackId};

/// A request stack.
pub(crate) type Stack = ArrayVec<StackId, STACK_MAX>;

/// Bytes of the longest stack; so also room to read or write the last id of any as eight bytes.
const BYTES_MAX: usize = STACK_MAX * 8;

/// The bytes of a stack.
pub(crate) struct StackBytes {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl StackBytes {
    /// Reads their base64.
    #[inline]
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; BYTES_MAX];
        let length = base64::read(text, &mut bytes)?;
        Some(Self { bytes, length })
    }

    /// Appends the ids, all of `width` bytes (1 to 8). `None` if there is none, there are too
    /// many, or the last is cut short.
    #[inline]
    pub(crate) fn push_all(&self, width: u8, stack: &mut Stack) -> Option<()> {
        let mut at = 0;
        while at < self.length {
            at = self.push(at, width, stack)?;
        }
        (at == self.length && at > 0).then_some(())
    }

    /// Appends the id that begins at byte `at`, and returns where the next one does.
    #[inline]
    pub(crate) fn push(&self, at: usize, width: u8, stack: &mut Stack) -> Option<usize> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        stack.try_push(StackId::from_padded(*bytes, width)).ok()?;
        Some(at + usize::from(width))
    }

    /// The number of bytes.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

/// Appends the base64 of the ids' bytes, each cut to at most `width`.
///
/// From number to number, without bytes in between: bytes that were just written by eights and
/// are read by threes cost more than all the rest.
#[inline]
pub(crate) fn put<const N: usize>(out: &mut HeaderText<N>, ids: &[StackId], width: u8) {
    let mut writer = base64::Writer::default();
    for id in ids {
        let (bits, width) = (id.to_bits(), u32::from(id.width().min(width)));
        if width > 4 {
            writer.put(out, bits >> 32, 32);
            writer.put(out, bits << 32 >> (96 - 8 * width), 8 * width - 32);
        } else {
            writer.put(out, bits >> (64 - 8 * width), 8 * width);
        }
    }
    writer.end(out);
}
