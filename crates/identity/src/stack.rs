//! A request stack: the newest ids, oldest first; the last is the request's own.
//!
//! In texts it is its ids' bytes one after the other, in base64. Read and written from number to
//! number where ids are short, as nearly always: bytes that were just written in pieces of one size
//! and are read in another cost more than all the rest. And three at a time where they have four
//! bytes, for then no bits are left over.

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
    if width == 4 {
        while let Some(numbers) = reader.next_numbers() {
            for number in numbers {
                let id = StackId::of_number(number.into(), 4);
                stack.try_push(id).ok()?;
            }
        }
    }
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
    let mut rest = ids;
    while let Some((three, behind)) = rest.split_first_chunk::<3>()
        && three.iter().all(|id| id.width().min(width) == 4)
    {
        out.put(&base64::of_numbers(
            three.map(|id| (id.to_bits() >> 32) as u32),
        ));
        rest = behind;
    }
    let mut writer = base64::Writer::default();
    for id in rest {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What [`read`] must say, the plain way: all bytes first.
    fn plainly(text: &[u8], width: u8) -> Option<Vec<StackId>> {
        let mut bytes = [0; 256];
        let length = base64::read(text, &mut bytes)?;
        let ids = bytes[..length].chunks(width.into());
        let whole = length > 0 && length.is_multiple_of(width.into()) && ids.len() <= STACK_MAX;
        whole.then(|| ids.filter_map(StackId::new).collect())
    }

    fn read_stack(text: &[u8], width: u8) -> Option<Vec<StackId>> {
        let mut stack = Stack::new();
        read(text, width, &mut stack)?;
        Some(stack.to_vec())
    }

    proptest! {
        #[test]
        fn ids_of_any_widths_are_written_as_their_bytes(
            ids in prop::collection::vec(prop_oneof![
                any::<[u8; 4]>().prop_map(|id| id.to_vec()),
                prop::collection::vec(any::<u8>(), 1..=8),
            ], 0..=STACK_MAX),
            width in 1..=8_u8,
        ) {
            let cut = ids.iter().map(|id| &id[..id.len().min(width.into())]);
            let mut expected = String::new();
            base64::push(&mut expected, &cut.collect::<Vec<_>>().concat());
            let ids: Vec<_> = ids.iter().filter_map(|id| StackId::new(id)).collect();
            let mut out = HeaderText::<{ base64::encoded_length(BYTES_MAX) }>::new();
            put(&mut out, &ids, width);
            prop_assert_eq!(out.as_str(), expected);
        }

        #[test]
        fn ids_of_any_width_are_read_as_their_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..=BYTES_MAX + 4),
            any_width in 1..=8_u8,
            damage: (prop::sample::Index, u8),
        ) {
            let mut text = String::new();
            base64::push(&mut text, &bytes);
            let mut text = text.into_bytes();
            for width in [4, any_width] {
                prop_assert_eq!(read_stack(&text, width), plainly(&text, width));
            }
            if !text.is_empty() {
                let at = damage.0.index(text.len());
                text[at] = damage.1;
                for width in [4, any_width] {
                    prop_assert_eq!(read_stack(&text, width), plainly(&text, width));
                }
            }
        }

        #[test]
        fn any_text_is_read_as_its_bytes(text in "[A-Za-z0-9_=+-]{0,100}", width in 1..=8_u8) {
            let text = text.as_bytes();
            prop_assert_eq!(read_stack(text, width), plainly(text, width));
        }
    }
}
