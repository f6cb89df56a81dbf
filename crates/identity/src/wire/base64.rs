//! URL-safe base64 without padding (RFC 4648 section 5), the strict way: unused bits of the last
//! character must be zero, so that bytes have one text only.
//!
//! By tables: measured against arithmetic on vectors, which is no faster where a machine's oldest
//! instructions must do. (Where newer ones may, ids of four bytes are read and written by those: see
//! `sse`.) Own code, because it must write into a caller's buffer without allocating and its
//! alphabet also serves for numbers ([`super::varint`]) and key ids. No `=` ever: W3C Trace Context
//! forbids it in a member's value.

use super::HeaderText;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Above every digit's value.
const BAD: u8 = 0x80;

const VALUES: [u8; 256] = {
    let mut values = [BAD; 256];
    let mut digit = 0;
    while digit < 64 {
        values[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// The character of a digit, 0 to 63 (the upper two bits are ignored).
pub(crate) fn digit(value: u8) -> u8 {
    ALPHABET[usize::from(value & 63)]
}

/// The value of a character as a digit, 0 to 63.
pub(crate) fn digit_value(character: u8) -> Option<u8> {
    let value = VALUES[usize::from(character)];
    (value != BAD).then_some(value)
}

/// How many characters `bytes` bytes take.
pub(crate) const fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// How many bytes `characters` characters hold; `None` for a length that no text has.
pub(crate) const fn decoded_length(characters: usize) -> Option<usize> {
    if characters % 4 == 1 {
        None
    } else {
        Some(characters * 3 / 4)
    }
}

/// What the four characters of a group add to its 24 bits; of what is no digit, [`WRONG`].
const IN_GROUP: [[u32; 256]; 4] = {
    let mut in_group = [[WRONG; 256]; 4];
    let mut digit = 0;
    while digit < 64 {
        let mut place = 0;
        while place < 4 {
            in_group[place][ALPHABET[digit] as usize] = (digit as u32) << (18 - 6 * place);
            place += 1;
        }
        digit += 1;
    }
    in_group
};

/// The four digits of a group as characters, each in its place of a number.
const OF_GROUP: [[u32; 64]; 4] = {
    let mut of_group = [[0; 64]; 4];
    let mut digit = 0;
    while digit < 64 {
        let mut place = 0;
        while place < 4 {
            of_group[place][digit] = (ALPHABET[digit] as u32) << (8 * place);
            place += 1;
        }
        digit += 1;
    }
    of_group
};

/// Above every group's 24 bits, so that one test after a loop finds a wrong byte anywhere in it.
const WRONG: u32 = 1 << 24;

/// The four characters of the lowest 24 bits.
#[inline]
pub(super) fn quad(bits: u32) -> [u8; 4] {
    let [a, b, c, d] = [18, 12, 6, 0].map(|shift| (bits >> shift) as usize & 63);
    (OF_GROUP[0][a] | OF_GROUP[1][b] | OF_GROUP[2][c] | OF_GROUP[3][d]).to_le_bytes()
}

/// The bits of three bytes.
#[inline]
fn group(bytes: [u8; 3]) -> u32 {
    let [first, second, third] = bytes;
    u32::from_be_bytes([0, first, second, third])
}

/// The 24 bits of four characters, or with [`WRONG`].
#[inline]
fn bits([a, b, c, d]: [u8; 4]) -> u32 {
    let in_group = |place: usize, character: u8| IN_GROUP[place][usize::from(character)];
    in_group(0, a) | in_group(1, b) | in_group(2, c) | in_group(3, d)
}

/// The sixteen characters of three times four bytes: the fewest that are whole groups too.
#[inline]
pub(crate) fn of_fours(fours: [[u8; 4]; 3]) -> [u8; 16] {
    let [first, second, third] = fours.map(u32::from_be_bytes);
    let groups = [
        first >> 8,
        first << 16 | second >> 16,
        second << 8 | third >> 24,
        third,
    ];
    let mut out = [0; 16];
    for (place, group) in out.as_chunks_mut().0.iter_mut().zip(groups) {
        *place = quad(group);
    }
    out
}

/// Writes `bytes` to the start of `out`, which has room for them, and returns how many
/// characters that were.
#[inline]
pub(crate) fn write(out: &mut [u8], bytes: &[u8]) -> usize {
    let length = encoded_length(bytes.len());
    let (groups, rest) = bytes.as_chunks();
    let (quads, last) = out[..length].as_chunks_mut();
    for (quad, group) in quads.iter_mut().zip(groups) {
        *quad = self::quad(self::group(*group));
    }
    if !rest.is_empty() {
        let mut bytes = [0; 3];
        bytes[..rest.len()].copy_from_slice(rest);
        last.copy_from_slice(&quad(group(bytes))[..rest.len() + 1]);
    }
    length
}

/// Writes bits, whole bytes of them, to the end of a text.
#[derive(Default)]
pub(crate) struct Writer {
    /// The last bits that came; of those, [`Self::held`] are not written yet.
    bits: u64,
    /// Always below 24.
    held: u32,
}

impl Writer {
    /// Appends the lowest `count` of `bits`: at most 32, and above them zeros.
    #[inline]
    pub(crate) fn put<const N: usize>(&mut self, out: &mut HeaderText<N>, bits: u64, count: u32) {
        self.bits = (self.bits << count) | bits;
        self.held += count;
        while self.held >= 24 {
            self.held -= 24;
            out.put(&quad((self.bits >> self.held) as u32));
        }
    }

    /// Writes what is left.
    #[inline]
    pub(crate) fn end<const N: usize>(self, out: &mut HeaderText<N>) {
        let quad = quad((self.bits << (24 - self.held)) as u32);
        match self.held {
            8 => out.put(&quad[..2]),
            16 => out.put(&quad[..3]),
            _ => {}
        }
    }
}

/// What was seen of a text that is read in pieces of sixteen characters.
#[derive(Default)]
pub(crate) struct Seen(u32);

impl Seen {
    /// Three times four bytes, as [`of_fours`] writes them. What they are worth,
    /// [`Self::is_good`] says then.
    #[inline]
    pub(crate) fn fours(&mut self, piece: &[u8; 16]) -> [[u8; 4]; 3] {
        // (Not by `map` over an array, which the compiler does by moving it about.)
        let [p, q, r, s, t, u, v, w, rest @ ..] = *piece;
        let (a, b) = (bits([p, q, r, s]), bits([t, u, v, w]));
        let [p, q, r, s, t, u, v, w] = rest;
        let (c, d) = (bits([p, q, r, s]), bits([t, u, v, w]));
        self.0 |= a | b | c | d;
        [
            (a << 8 | (b & (WRONG - 1)) >> 16).to_be_bytes(),
            (b << 16 | (c & (WRONG - 1)) >> 8).to_be_bytes(),
            (c << 24 | (d & (WRONG - 1))).to_be_bytes(),
        ]
    }

    /// Whether all that came was base64.
    #[inline]
    pub(crate) fn is_good(&self) -> bool {
        self.0 < WRONG
    }
}

/// Reads bits, whole bytes of them, from a text.
pub(crate) struct Reader<'a> {
    quads: std::slice::Iter<'a, [u8; 4]>,
    rest: &'a [u8],
    seen: u32,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let (quads, rest) = text.as_chunks();
        Self {
            quads: quads.iter(),
            rest,
            seen: 0,
        }
    }

    /// The next bits and how many they are, at most 24; `None` at the end. What they are worth,
    /// [`Self::is_good`] says then.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(u32, u32)> {
        if let Some(quad) = self.quads.next() {
            let bits = bits(*quad);
            self.seen |= bits;
            return Some((bits & (WRONG - 1), 24));
        }
        let zero = digit(0);
        let (quad, count) = match *std::mem::take(&mut self.rest) {
            [] => return None,
            [a, b] => ([a, b, zero, zero], 8),
            [a, b, c] => ([a, b, c, zero], 16),
            // One character alone is no byte.
            _ => {
                self.seen |= WRONG;
                return None;
            }
        };
        let bits = bits(quad);
        // Bits that no byte has must be zero.
        let unused = bits << count & (WRONG - 1);
        self.seen |= bits | if unused == 0 { 0 } else { WRONG };
        Some((bits >> (24 - count) & 0xffff, count))
    }

    /// Whether all that came was base64, in the one way that it is written.
    #[inline]
    pub(crate) fn is_good(&self) -> bool {
        self.seen < WRONG
    }
}

/// Appends `bytes` to a string.
pub(crate) fn push(out: &mut String, bytes: &[u8]) {
    for part in bytes.chunks(24) {
        let mut text = [0; 32];
        let length = write(&mut text, part);
        // ASCII: the fallback is never taken.
        out.push_str(std::str::from_utf8(&text[..length]).unwrap_or_default());
    }
}

/// Reads `text` into the start of `out` and returns how many bytes that were; `None` if the text
/// is not the one text of some bytes, or `out` is too small.
#[inline]
pub(crate) fn read(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = decoded_length(text.len())?;
    let (groups, last) = out.get_mut(..length)?.as_chunks_mut();
    let (quads, rest) = text.as_chunks();
    let mut seen = 0;
    for (group, quad) in groups.iter_mut().zip(quads) {
        let bits = bits(*quad);
        seen |= bits;
        let [_, first, second, third] = bits.to_be_bytes();
        *group = [first, second, third];
    }
    if !rest.is_empty() {
        let mut quad = [digit(0); 4];
        quad[..rest.len()].copy_from_slice(rest);
        let bits = bits(quad);
        let bytes = &bits.to_be_bytes()[1..];
        last.copy_from_slice(&bytes[..last.len()]);
        // The unused bits of the last character are the first of the next byte.
        seen |= bits | (u32::from(bytes[last.len()]) << 24);
    }
    (seen < WRONG).then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_rfc_4648_hold() {
        let examples: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"fooba", "Zm9vYmE"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff], "-_8"),
        ];
        for (bytes, text) in examples {
            let mut out = String::new();
            push(&mut out, bytes);
            assert_eq!(out, text);
            let mut back = [0; 8];
            assert_eq!(read(text.as_bytes(), &mut back), Some(bytes.len()));
            assert_eq!(&back[..bytes.len()], bytes);
        }
    }

    #[test]
    fn unused_bits_padding_and_odd_lengths_are_refused() {
        for text in ["Zh", "Zm9", "Zg==", "A", "AAAAA", "Zm+v", "Zm/v", "Zm v"] {
            assert_eq!(read(text.as_bytes(), &mut [0; 8]), None, "{text}");
        }
    }

    #[test]
    fn a_text_longer_than_the_room_for_it_is_refused() {
        assert_eq!(read(b"Zm9v", &mut [0; 2]), None);
    }

    proptest! {
        #[test]
        fn whatever_reads_is_written_back_the_same(text in "[A-Za-z0-9_=+-]{0,24}") {
            let mut bytes = [0; 32];
            if let Some(length) = read(text.as_bytes(), &mut bytes) {
                let mut back = [0; 64];
                let written = write(&mut back, &bytes[..length]);
                prop_assert_eq!(&back[..written], text.as_bytes());
            }
        }

        #[test]
        fn bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut text = String::new();
            push(&mut text, &bytes);
            prop_assert_eq!(text.len(), encoded_length(bytes.len()));
            let mut back = [0; 64];
            prop_assert_eq!(read(text.as_bytes(), &mut back), Some(bytes.len()));
            prop_assert_eq!(&back[..bytes.len()], &bytes[..]);
        }
    }
}
