//! A request stack: the newest ids, oldest first; the last is the request's own.
//!
//! In texts it is its ids' bytes one after the other, in base64. Read and written from number to
//! number where ids are short, as nearly always: bytes that were just written in pieces of one size
//! and are read in another cost more than all the rest.

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

/// Reads the base64 of ids that all have `width` bytes (1 to 8) into an empty stack. `None` if
/// there is none, there are too many, or the last is cut short.
#[inline]
pub(crate) fn read(text: &[u8], width: u8, stack: &mut Stack) -> Option<()> {
    if width > 4 {
        let bytes = StackBytes::read(text)?;
        let mut at = 0;
        while at < bytes.length() {
            at = bytes.push(at, width, stack)?;
        }
        return (at == bytes.length() && at > 0).then_some(());
    }
    let id_bits = 8 * u32::from(width);
    let mut reader = base64::Reader::new(text);
    let (mut bits, mut held) = (0_u64, 0);
    while let Some((more, count)) = reader.next() {
        bits = (bits << count) | u64::from(more);
        held += count;
        while held >= id_bits {
            held -= id_bits;
            let id = StackId::of_number(bits >> held, width);
            stack.try_push(id).ok()?;
        }
    }
    (reader.is_good() && held == 0 && !stack.is_empty()).then_some(())
}

/// Appends the base64 of the ids' bytes, each cut to at most `width`.
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
