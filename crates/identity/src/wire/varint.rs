//! Numbers of variable length, in two forms: base64 digits inside a text (a depth), and bytes
//! inside a binary part (the fields of a head).
//!
//! Both put the least significant group first, mark every group but the last by its top bit, and
//! have one form only for a number: no needless zero groups at the end.

use super::{HeaderText, base64};

/// Bits of a number in one base64 digit; the sixth says that another digit follows.
const DIGIT_BITS: u32 = 5;
const DIGIT_MORE: u8 = 1 << DIGIT_BITS;

/// The most digits that a number takes: 6 digits are 30 bits.
pub(crate) const DIGITS_MAX: usize = 6;

/// Writes a number below 2^30 as 1 to 6 digits to the start of `out`, which has room for them,
/// and returns how many they were.
pub(crate) fn write_digits(out: &mut [u8], mut number: u32) -> usize {
    let mut at = 0;
    loop {
        let group = number as u8 & (DIGIT_MORE - 1);
        number >>= DIGIT_BITS;
        out[at] = base64::digit(if number == 0 {
            group
        } else {
            group | DIGIT_MORE
        });
        at += 1;
        if number == 0 {
            return at;
        }
    }
}

/// As [`write_digits`], to the end of `out`.
#[inline]
pub(crate) fn put_digits<const N: usize>(out: &mut HeaderText<N>, number: u32) {
    if number >> DIGIT_BITS == 0 {
        out.put(&[base64::digit(number as u8)]);
    } else {
        let mut digits = [0; DIGITS_MAX];
        let length = write_digits(&mut digits, number);
        out.put(&digits[..length]);
    }
}

/// Reads a number's digits from the start of `text`; returns it and how many they were. `None`
/// if there are more than 6, a needless one, or a character that is no digit.
#[inline]
pub(crate) fn read_digits(text: &[u8]) -> Option<(u32, usize)> {
    match base64::digit_value(*text.first()?) {
        Some(only @ 0..DIGIT_MORE) => Some((only.into(), 1)),
        _ => read_several_digits(text),
    }
}

#[inline(never)]
fn read_several_digits(text: &[u8]) -> Option<(u32, usize)> {
    let mut number = 0;
    for (at, &character) in text.iter().take(DIGITS_MAX).enumerate() {
        let group = base64::digit_value(character)?;
        number |= u32::from(group & (DIGIT_MORE - 1)) << (DIGIT_BITS * at as u32);
        if group & DIGIT_MORE == 0 {
            let needless = group == 0 && at > 0;
            return (!needless).then_some((number, at + 1));
        }
    }
    None
}

/// The most bytes that a `u64` takes.
pub(crate) const BYTES_MAX: usize = 10;

/// Appends a number as 1 to 10 bytes of 7 bits each (LEB128).
pub(crate) fn push_bytes(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a number from the start of `bytes` and moves them past it; `None` if it is cut short,
/// over 64 bits or not in its shortest form.
pub(crate) fn read_bytes(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..BYTES_MAX {
        let (&group, rest) = bytes.split_first()?;
        *bytes = rest;
        if at == BYTES_MAX - 1 && group > 1 {
            return None;
        }
        number |= u64::from(group & 0x7f) << (7 * at);
        if group & 0x80 == 0 {
            let needless = group == 0 && at > 0;
            return (!needless).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_are_least_significant_first() {
        for (number, text) in [
            (0, "A"),
            (1, "B"),
            (31, "f"),
            (32, "gB"),
            (1023, "_f"),
            (1024, "ggB"),
            ((1 << 30) - 1, "_____f"),
        ] {
            let mut out = [0; DIGITS_MAX];
            let length = write_digits(&mut out, number);
            assert_eq!(&out[..length], text.as_bytes());
            assert_eq!(read_digits(text.as_bytes()), Some((number, length)));
        }
    }

    #[test]
    fn needless_missing_or_too_many_digits_are_refused() {
        for text in ["", "g", "gA", "ggA", "______B", "______", "="] {
            assert_eq!(read_digits(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bytes_over_64_bits_cut_short_or_needless_are_refused() {
        let cases: [&[u8]; 5] = [
            &[],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81],
        ];
        for mut case in cases {
            assert_eq!(read_bytes(&mut case), None);
        }
    }

    proptest! {
        #[test]
        fn numbers_survive(wide: u64, shift in 0_u32..64) {
            let number = wide >> shift;
            let mut out = Vec::new();
            push_bytes(&mut out, number);
            out.push(7);
            let mut rest = &out[..];
            prop_assert_eq!(read_bytes(&mut rest), Some(number));
            prop_assert_eq!(rest, &[7][..]);

            let small = (number & ((1 << 30) - 1)) as u32;
            let mut digits = [0; DIGITS_MAX];
            let length = write_digits(&mut digits, small);
            prop_assert_eq!(read_digits(&digits[..length]), Some((small, length)));
        }
    }
}
