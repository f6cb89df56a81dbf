//! The check, hex and base64 by the instructions that nearly every x86 has (x86-64-v2, of 2008):
//! what a hop does most. Other machines do the same by [`super::check`]'s library, [`super::hex`]
//! and the tables of [`super::base64`]; tests compare them.
//!
//! The one call that the compiler cannot prove, of code for instructions that not every machine
//! has, is in the macro `kernel!`: who has its token has asked the machine.

use std::arch::x86_64::*;

pub(crate) use fearless_simd::Sse4_2;

use super::check::OriginText;

/// That this machine has them, if it does.
#[inline]
pub(crate) fn sse() -> Option<Sse4_2> {
    fearless_simd::Level::new().as_sse4_2()
}

#[inline]
#[target_feature(enable = "sse4.2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    let number = i128::from_le_bytes(*bytes);
    _mm_set_epi64x((number >> 64) as i64, number as i64)
}

#[inline]
#[target_feature(enable = "sse4.2")]
fn store(bytes: __m128i) -> [u8; 16] {
    let (low, high) = (_mm_cvtsi128_si64(bytes), _mm_extract_epi64::<1>(bytes));
    (i128::from(high) << 64 | i128::from(low as u64)).to_le_bytes()
}

#[inline]
#[target_feature(enable = "sse4.2")]
fn all(byte: u8) -> __m128i {
    _mm_set1_epi8(byte as i8)
}

fearless_simd::kernel!(
    /// The CRC-32C of a text, and of an origin's behind it: in 40 instructions for 67 bytes, where
    /// the library takes 150, mostly to prepare for any length.
    pub(super) fn crc32c(sse: Sse4_2, body: &[u8], origin: Option<&OriginText>) -> u32 {
        // The odd bytes first, and one by one: so a text is mostly read in the pieces in which it
        // was just written. To read across two of them is to wait until both are in the cache.
        let (odd, mut rest) = body.as_rchunks();
        let mut crc = u32::MAX;
        for byte in odd {
            crc = _mm_crc32_u8(crc, *byte);
        }
        let mut crc = u64::from(crc);
        while let Some((four, behind)) = rest.split_first_chunk::<4>() {
            crc = crc32c_of_eights(crc, four);
            rest = behind;
        }
        crc = crc32c_of_eights(crc, rest);
        if let Some(origin) = origin {
            crc = crc32c_of_eights(crc, origin.as_chunks().0);
        }
        !(crc as u32)
    }
);

#[inline]
#[target_feature(enable = "sse4.2")]
fn crc32c_of_eights(mut crc: u64, eights: &[[u8; 8]]) -> u64 {
    for eight in eights {
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(*eight));
    }
    crc
}

fearless_simd::kernel!(
    /// The 24 bytes of three pieces of hex.
    pub(super) fn unhex_pieces(
        sse: Sse4_2,
        a: &[u8; 16],
        b: &[u8; 16],
        c: &[u8; 16],
    ) -> Option<([u8; 16], [u8; 8])> {
        let mut seen = _mm_setzero_si128();
        let (a, b, c) = (
            unhex(a, &mut seen),
            unhex(b, &mut seen),
            unhex(c, &mut seen),
        );
        let (first, last) = (_mm_packus_epi16(a, b), _mm_packus_epi16(c, c));
        let good = _mm_testz_si128(seen, all(0xf0)) == 1;
        good.then(|| (store(first), _mm_cvtsi128_si64(last).to_le_bytes()))
    }
);

/// The values of eight pairs of digits, in 16 bits each. `seen` collects those of the digits, which
/// are above 15 for what is none.
#[inline]
#[target_feature(enable = "sse4.2")]
fn unhex(text: &[u8; 16], seen: &mut __m128i) -> __m128i {
    let text = load(text);
    // Above '9' this begins anew at 16, and below '0' it ends at 255.
    let digit = _mm_subs_epu8(_mm_add_epi8(text, all(255 - b'9')), all(6));
    let digit = _mm_sub_epi8(digit, all(255 - 15));
    let letter = _mm_adds_epu8(_mm_sub_epi8(text, all(b'a')), all(10));
    let value = _mm_min_epu8(digit, letter);
    *seen = _mm_or_si128(*seen, value);
    _mm_maddubs_epi16(value, _mm_set1_epi16(0x0110))
}

/// What was seen of a text that is read in pieces of sixteen characters.
pub(crate) struct Seen(__m128i);

impl Seen {
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(crate) fn new() -> Self {
        Self(_mm_setzero_si128())
    }

    /// As [`super::base64::Seen::fours`].
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(crate) fn fours(&mut self, piece: &[u8; 16]) -> [[u8; 4]; 3] {
        let text = load(piece);
        let upper = _mm_and_si128(_mm_srli_epi16::<4>(text), all(0x0f));
        let lower = _mm_and_si128(text, all(0x0f));
        let wrong_of_upper = _mm_shuffle_epi8(load(&WRONG_OF_UPPER), upper);
        let wrong_of_lower = _mm_shuffle_epi8(load(&WRONG_OF_LOWER), lower);
        self.0 = _mm_or_si128(self.0, _mm_and_si128(wrong_of_upper, wrong_of_lower));

        let values = _mm_add_epi8(text, _mm_shuffle_epi8(load(&TO_VALUE), upper));
        let underscores = _mm_cmpeq_epi8(text, all(b'_'));
        let more = all(63 - (b'_' - b'A'));
        let values = _mm_add_epi8(values, _mm_and_si128(underscores, more));

        let pairs = _mm_maddubs_epi16(values, _mm_set1_epi16(0x0140));
        let groups = _mm_madd_epi16(pairs, _mm_set1_epi32(0x0001_1000));
        let bytes = _mm_shuffle_epi8(groups, load(&BYTES_OF_GROUPS));
        [
            _mm_extract_epi32::<0>(bytes).to_le_bytes(),
            _mm_extract_epi32::<1>(bytes).to_le_bytes(),
            _mm_extract_epi32::<2>(bytes).to_le_bytes(),
        ]
    }

    /// Whether all that came was base64.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(crate) fn is_good(&self) -> bool {
        _mm_testz_si128(self.0, self.0) == 1
    }
}

/// What is wrong with a character, a bit for each kind of it, is what both its halves have: bit 0
/// is the kind of `-`, 1 of `0`, 2 of `A` and `a`, 3 of `P` and `_`, 4 of `p`, 7 of all else.
const WRONG_OF_UPPER: [u8; 16] = [
    0x80, 0x80, 0x01, 0x02, 0x04, 0x08, 0x04, 0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
];
const WRONG_OF_LOWER: [u8; 16] = [
    0x85, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x83, 0x9b, 0x9b, 0x9a, 0x9b, 0x93,
];

/// What makes a character its value, by its upper half; of `_` it is too little.
const TO_VALUE: [u8; 16] = {
    let (hyphen, digit, capital) = (62 - b'-', 52 - b'0', 0_u8.wrapping_sub(b'A'));
    let letter = 26_u8.wrapping_sub(b'a');
    [
        0, 0, hyphen, digit, capital, capital, letter, letter, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
};

/// The bytes of four groups, of which each has 24 bits.
const BYTES_OF_GROUPS: [u8; 16] = [
    2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 0x80, 0x80, 0x80, 0x80,
];

/// As [`super::base64::of_fours`].
#[inline]
#[target_feature(enable = "sse4.2")]
pub(crate) fn of_fours(fours: [[u8; 4]; 3]) -> [u8; 16] {
    let [a, b, c] = fours.map(i32::from_le_bytes);
    let groups = _mm_shuffle_epi8(_mm_setr_epi32(a, b, c, 0), load(&GROUPS_OF_BYTES));
    // The first and the third value of a group move down to their bytes, the others up.
    let (first, third) = (_mm_srli_epi16::<10>(groups), _mm_srli_epi16::<6>(groups));
    let (second, fourth) = (_mm_slli_epi16::<4>(groups), _mm_slli_epi16::<8>(groups));
    let down = _mm_blend_epi16::<0b1010_1010>(first, third);
    let up = _mm_blend_epi16::<0b1010_1010>(second, fourth);
    let values = _mm_or_si128(
        _mm_and_si128(down, _mm_set1_epi16(0x003f)),
        _mm_and_si128(up, _mm_set1_epi16(0x3f00)),
    );

    // 0 for small letters, 1 to 10 for digits, 11 and 12 for the last two, 13 for capitals.
    let kinds = _mm_subs_epu8(values, all(51));
    let capitals = _mm_cmpgt_epi8(all(26), values);
    let kinds = _mm_or_si128(kinds, _mm_and_si128(capitals, all(13)));
    store(_mm_add_epi8(
        values,
        _mm_shuffle_epi8(load(&TO_CHARACTER), kinds),
    ))
}

/// The bytes of each group, where its four values can be moved apart.
const GROUPS_OF_BYTES: [u8; 16] = [1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10];

/// What makes a value its character, by its kind.
const TO_CHARACTER: [u8; 16] = {
    let (letter, digit, capital) = (b'a' - 26, b'0'.wrapping_sub(52), b'A');
    let (hyphen, underscore) = (b'-'.wrapping_sub(62), b'_' - 63);
    [
        letter, digit, digit, digit, digit, digit, digit, digit, digit, digit, digit, hyphen,
        underscore, capital, 0, 0,
    ]
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::base64;

    fearless_simd::kernel!(
        fn read_fours(sse: Sse4_2, piece: &[u8; 16]) -> Option<[[u8; 4]; 3]> {
            let mut seen = Seen::new();
            let fours = seen.fours(piece);
            seen.is_good().then_some(fours)
        }
    );

    fearless_simd::kernel!(
        fn write_fours(sse: Sse4_2, fours: [[u8; 4]; 3]) -> [u8; 16] {
            of_fours(fours)
        }
    );

    /// The same by the tables.
    fn plainly(piece: &[u8; 16]) -> Option<[[u8; 4]; 3]> {
        let mut seen = base64::Seen::default();
        let fours = seen.fours(piece);
        seen.is_good().then_some(fours)
    }

    #[test]
    fn every_byte_is_read_as_the_tables_read_it_at_every_place() {
        let Some(sse) = sse() else { return };
        for at in 0..16 {
            for byte in 0..=255 {
                let mut piece = *b"-_09AZazPOpo3mXq";
                piece[at] = byte;
                assert_eq!(
                    read_fours(sse, &piece),
                    plainly(&piece),
                    "{byte:#x} at {at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn base64_is_written_and_read_as_by_the_tables(fours: [[u8; 4]; 3], piece: [u8; 16]) {
            if let Some(sse) = sse() {
                let text = base64::of_fours(fours);
                prop_assert_eq!(write_fours(sse, fours), text);
                prop_assert_eq!(read_fours(sse, &text), Some(fours));
                prop_assert_eq!(read_fours(sse, &piece), plainly(&piece));
            }
        }
    }
}
