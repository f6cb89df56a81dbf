//! A request stack: the newest ids, oldest first; the last is the request's own.
//!
//! In texts it is its ids' bytes one after the other, in base64. Read and written from number to
//! number where ids are short, as nearly always: bytes that were just written in pieces of one size
//! and are read in another cost more than all the rest. And three at a time where they have four
//! bytes, for then no bits are left over.

use std::fmt;
use std::ops::Deref;

use crate::wire::{HeaderText, base64};
use crate::{STACK_MAX, StackId};

/// A request stack: at most [`STACK_MAX`] ids. All places hold an id, so that they are filled
/// without a test for each.
#[derive(Clone)]
pub(crate) struct Stack {
    ids: [StackId; STACK_MAX],
    length: u8,
}

impl Stack {
    /// An empty one.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            ids: [StackId::PLACEHOLDER; STACK_MAX],
            length: 0,
        }
    }

    /// That of these ids; `None` if they are too many.
    pub(crate) fn of(ids: &[StackId]) -> Option<Self> {
        let mut stack = Self::new();
        stack.ids.get_mut(..ids.len())?.copy_from_slice(ids);
        stack.length = ids.len() as u8;
        Some(stack)
    }

    /// As an empty one.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends an id; `None` if the stack is full.
    #[inline]
    pub(crate) fn push(&mut self, id: StackId) -> Option<()> {
        *self.ids.get_mut(usize::from(self.length))? = id;
        self.length += 1;
        Some(())
    }

    /// Becomes the newest `kept` ids of `other` and then `own`, each cut to `width`. `kept` is
    /// below [`STACK_MAX`].
    #[inline]
    pub(crate) fn advance(&mut self, other: &Self, kept: usize, own: StackId, width: u8) {
        let kept = kept.min(other.len()).min(STACK_MAX - 1);
        let newest = &other[other.len() - kept..];
        for (place, id) in self.ids.iter_mut().zip(newest) {
            *place = id.cut(width);
        }
        self.ids[kept] = own.cut(width);
        self.length = kept as u8 + 1;
    }
}

impl Deref for Stack {
    type Target = [StackId];

    #[inline]
    fn deref(&self) -> &[StackId] {
        // The length is in range: the fallback is never taken.
        self.ids.get(..self.length.into()).unwrap_or_default()
    }
}

impl PartialEq for Stack {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Stack {}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

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
        stack.push(StackId::from_padded(*bytes, width))?;
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
    let (mut rest, mut seen) = (text, base64::Seen::default());
    if width == 4 {
        // Three at a time, for as many as fit.
        let (pieces, behind) = text.as_chunks();
        let places = stack.ids.as_chunks_mut::<3>().0;
        if pieces.len() > places.len() {
            return None;
        }
        for (place, piece) in places.iter_mut().zip(pieces) {
            let numbers = seen.numbers(piece);
            for (place, number) in place.iter_mut().zip(numbers) {
                *place = StackId::of_number(number.into(), 4);
            }
        }
        stack.length = pieces.len() as u8 * 3;
        rest = behind;
    }
    let id_bits = 8 * u32::from(width);
    let mut reader = base64::Reader::new(rest);
    let (mut bits, mut held) = (0_u64, 0);
    while let Some((more, count)) = reader.next() {
        bits = (bits << count) | u64::from(more);
        held += count;
        while held >= id_bits {
            held -= id_bits;
            stack.push(StackId::of_number(bits >> held, width))?;
        }
    }
    let good = seen.is_good() && reader.is_good();
    (good && held == 0 && !stack.is_empty()).then_some(())
}

/// The narrowest id's width.
#[inline]
pub(crate) fn narrowest(ids: &[StackId]) -> u8 {
    ids.iter().fold(8, |least, id| least.min(id.width()))
}

/// Whether all ids have this width.
#[inline]
pub(crate) fn all_have(ids: &[StackId], width: u8) -> bool {
    // Without a way out at the first: so it takes less.
    ids.iter().fold(true, |all, id| all & (id.width() == width))
}

/// Appends the base64 of the ids' bytes, each cut to `width`, which none is narrower than.
#[inline]
pub(crate) fn put_cut<const N: usize>(out: &mut HeaderText<N>, ids: &[StackId], width: u8) {
    if width != 4 {
        return put_each(out, ids, |_| width);
    }
    let (threes, rest) = ids.as_chunks::<3>();
    for three in threes {
        out.put(&base64::of_numbers(
            three.map(|id| (id.to_bits() >> 32) as u32),
        ));
    }
    if !rest.is_empty() {
        put_each(out, rest, |_| 4);
    }
}

/// Appends the base64 of the ids' bytes, each in its own width.
pub(crate) fn put<const N: usize>(out: &mut HeaderText<N>, ids: &[StackId]) {
    put_each(out, ids, StackId::width);
}

fn put_each<const N: usize>(
    out: &mut HeaderText<N>,
    ids: &[StackId],
    width: impl Fn(&StackId) -> u8,
) {
    let mut writer = base64::Writer::default();
    for id in ids {
        let (bits, width) = (id.to_bits(), u32::from(width(id)));
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
            let text = |ids: Vec<&[u8]>| {
                let mut text = String::new();
                base64::push(&mut text, &ids.concat());
                text
            };
            let stack: Vec<_> = ids.iter().filter_map(|id| StackId::new(id)).collect();
            let mut out = HeaderText::<{ base64::encoded_length(BYTES_MAX) }>::new();
            put(&mut out, &stack);
            prop_assert_eq!(out.as_str(), text(ids.iter().map(|id| &id[..]).collect()));

            let narrowest = ids.iter().map(Vec::len).min().unwrap_or(1);
            for width in [narrowest.min(width.into()), narrowest] {
                out.clear();
                put_cut(&mut out, &stack, width as u8);
                prop_assert_eq!(out.as_str(), text(ids.iter().map(|id| &id[..width]).collect()));
            }
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
