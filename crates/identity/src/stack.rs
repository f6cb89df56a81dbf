//! A request stack: the newest ids, oldest first; the last is the request's own.
//!
//! In texts it is its ids' bytes one after the other, in base64. Read and written from number to
//! number where ids are short, as nearly always: bytes that were just written in pieces of one size
//! and are read in another cost more than all the rest. And three at a time where they have four
//! bytes, for then no bits are left over: by newer instructions where the machine has them.

use std::fmt;
use std::ops::Deref;

#[cfg(target_arch = "x86_64")]
use crate::wire::sse::{self, sse};
use crate::wire::{HeaderText, base64};
use crate::{STACK_MAX, StackId};

/// A request stack: at most [`STACK_MAX`] ids. All places hold an id, so that they are filled
/// without a test for each.
#[derive(Clone)]
pub(crate) struct Stack {
    ids: [StackId; STACK_MAX],
    /// (Of four bytes: where it has one, it is read with its neighbours, and to read across what was
    /// just written in pieces is to wait until all are in the cache.)
    length: u32,
    /// The width of all ids, as nearly always; 0 where they differ, or there are none.
    width: u8,
}

impl Stack {
    /// An empty one.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            ids: [StackId::PLACEHOLDER; STACK_MAX],
            length: 0,
            width: 0,
        }
    }

    /// That of these ids; `None` if they are too many.
    pub(crate) fn of(ids: &[StackId]) -> Option<Self> {
        let mut stack = Self::new();
        stack.ids.get_mut(..ids.len())?.copy_from_slice(ids);
        stack.length = ids.len() as u32;
        stack.width = common_width(ids);
        Some(stack)
    }

    /// As an empty one.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.length = 0;
        self.width = 0;
    }

    /// Appends an id; `None` if the stack is full.
    #[inline]
    pub(crate) fn push(&mut self, id: StackId) -> Option<()> {
        *self.ids.get_mut(self.length as usize)? = id;
        self.length += 1;
        if self.length == 1 {
            self.width = id.width();
        } else if self.width != id.width() {
            self.width = 0;
        }
        Some(())
    }

    /// Becomes the newest `kept` ids of `other`, cut to the width of `own`, and then `own`. `kept`
    /// is below [`STACK_MAX`].
    #[inline]
    pub(crate) fn advance(&mut self, other: &Self, kept: usize, own: StackId) {
        let kept = kept.min(other.len()).min(STACK_MAX - 1);
        let newest = &other[other.len() - kept..];
        let width = own.width();
        let places = self.ids.iter_mut().zip(newest);
        self.length = kept as u32 + 1;
        if other.width >= width {
            for (place, id) in places {
                *place = id.cut_known(width);
            }
            self.ids[kept] = own;
            self.width = width;
        } else {
            for (place, id) in places {
                *place = id.cut(width);
            }
            self.ids[kept] = own;
            self.width = common_width(self);
        }
    }

    /// The newest id, if there is any.
    #[inline]
    pub(crate) fn newest(&self) -> StackId {
        self.ids[(self.length as usize).wrapping_sub(1) % STACK_MAX]
    }

    /// The narrowest id's width.
    #[inline]
    pub(crate) fn narrowest(&self) -> u8 {
        let least = || self.iter().map(StackId::width).min();
        self.width().or_else(least).unwrap_or(8)
    }

    /// The width that all ids have; `None` where they differ, or there are none.
    #[inline]
    pub(crate) fn width(&self) -> Option<u8> {
        (self.width > 0).then_some(self.width)
    }
}

impl Deref for Stack {
    type Target = [StackId];

    #[inline]
    fn deref(&self) -> &[StackId] {
        // (The length is in range; the compiler does not know.)
        &self.ids[..(self.length as usize).min(STACK_MAX)]
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
    if width != 4 {
        return read_rest(text, width, stack);
    }
    // Three at a time, for as many as fit.
    let (pieces, rest) = text.as_chunks();
    let places = stack.ids.as_chunks_mut::<3>().0;
    if pieces.len() > places.len() || !read_threes(pieces, places) {
        return None;
    }
    stack.length = pieces.len() as u32 * 3;
    stack.width = 4;
    if rest.is_empty() {
        return (stack.length > 0).then_some(());
    }
    read_rest(rest, 4, stack)
}

/// As [`read`], into a stack that may have ids of this width already. A call of its own, for it is
/// seldom needed.
#[inline(never)]
fn read_rest(text: &[u8], width: u8, stack: &mut Stack) -> Option<()> {
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
            stack.push(StackId::of_number(bits >> held, width))?;
        }
    }
    (reader.is_good() && held == 0 && !stack.is_empty()).then_some(())
}

/// Reads ids of four bytes, three from each piece, and returns whether those are base64. There are
/// as many places.
#[inline]
fn read_threes(pieces: &[[u8; 16]], places: &mut [[StackId; 3]]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = sse() {
        return read_threes_by_sse(sse, pieces, places);
    }
    read_threes_by_tables(pieces, places)
}

#[inline(never)]
fn read_threes_by_tables(pieces: &[[u8; 16]], places: &mut [[StackId; 3]]) -> bool {
    let mut seen = base64::Seen::default();
    for (place, piece) in places.iter_mut().zip(pieces) {
        for (place, four) in place.iter_mut().zip(seen.fours(piece)) {
            *place = StackId::of_four(four);
        }
    }
    seen.is_good()
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn read_threes_by_sse(sse: Sse4_2, pieces: &[[u8; 16]], places: &mut [[StackId; 3]]) -> bool {
        let mut seen = sse::Seen::new();
        for (place, piece) in places.iter_mut().zip(pieces) {
            for (place, four) in place.iter_mut().zip(seen.fours(piece)) {
                *place = StackId::of_four(four);
            }
        }
        seen.is_good()
    }
);

/// The width that all ids have; 0 where they differ, or there are none.
fn common_width(ids: &[StackId]) -> u8 {
    match ids {
        [first, rest @ ..] if rest.iter().all(|id| id.width() == first.width()) => first.width(),
        _ => 0,
    }
}

/// Appends the base64 of the ids' bytes, each cut to `width`, which none is narrower than.
#[inline]
pub(crate) fn put_cut<const N: usize>(out: &mut HeaderText<N>, ids: &[StackId], width: u8) {
    if width != 4 {
        return put_each(out, ids, |_| width);
    }
    let mut rest = ids;
    while let Some((three, behind)) = rest.split_first_chunk() {
        out.put(&text_of_three(three));
        rest = behind;
    }
    if !rest.is_empty() {
        put_each(out, rest, |_| 4);
    }
}

/// The base64 of the first four bytes of three ids.
#[inline]
fn text_of_three(three: &[StackId; 3]) -> [u8; 16] {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = sse() {
        return text_of_three_by_sse(sse, three);
    }
    text_of_three_by_tables(three)
}

#[inline(never)]
fn text_of_three_by_tables([a, b, c]: &[StackId; 3]) -> [u8; 16] {
    base64::of_fours([a.first_four(), b.first_four(), c.first_four()])
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn text_of_three_by_sse(sse: Sse4_2, three: &[StackId; 3]) -> [u8; 16] {
        let [a, b, c] = three;
        sse::of_fours([a.first_four(), b.first_four(), c.first_four()])
    }
);

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
        fn a_stack_knows_its_widths_however_it_came_about(
            ids in prop::collection::vec(prop_oneof![
                any::<[u8; 4]>().prop_map(|id| id.to_vec()),
                prop::collection::vec(any::<u8>(), 1..=8),
            ], 0..=STACK_MAX),
            own in prop::collection::vec(any::<u8>(), 1..=8),
            kept in 0..STACK_MAX,
        ) {
            let ids: Vec<_> = ids.iter().filter_map(|id| StackId::new(id)).collect();
            let own = StackId::new(&own).unwrap();
            let mut pushed = Stack::new();
            for id in &ids {
                pushed.push(*id).unwrap();
            }
            let (mut advanced, whole) = (pushed.clone(), Stack::of(&ids).unwrap());
            advanced.advance(&whole, kept, own);
            let mut model = ids[ids.len().saturating_sub(kept)..].to_vec();
            model.push(own);
            for id in &mut model {
                *id = id.cut(own.width());
            }
            for (stack, model) in [(pushed, &ids), (whole, &ids), (advanced, &model)] {
                prop_assert_eq!(&stack[..], &model[..]);
                let widths: Vec<_> = model.iter().map(StackId::width).collect();
                let same = widths.first().filter(|first| widths.iter().all(|w| w == *first));
                prop_assert_eq!(stack.width(), same.copied());
                prop_assert_eq!(stack.narrowest(), widths.iter().copied().min().unwrap_or(8));
                if let Some(newest) = model.last() {
                    prop_assert_eq!(stack.newest(), *newest);
                }
            }
        }

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
            let pieces = text.as_chunks().0;
            let pieces = &pieces[..pieces.len().min(STACK_MAX / 3)];
            let mut places = [[[StackId::PLACEHOLDER; 3]; STACK_MAX / 3]; 2];
            prop_assert!(read_threes(pieces, &mut places[0]));
            prop_assert!(read_threes_by_tables(pieces, &mut places[1]));
            prop_assert_eq!(places[0], places[1]);
            for three in &places[0] {
                prop_assert_eq!(text_of_three(three), text_of_three_by_tables(three));
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
