//! Lower-case hex, as identifiers are shown and as W3C Trace Context writes them.
//!
//! Upper case is refused: an identifier has one text only, so texts can be compared. Written
//! and read by arithmetic on pairs of digits, which the compiler does by vectors. (A table of pairs
//! writes as fast, but in small pieces, and whoever copies those at once waits for them.)

use arrayvec::ArrayString;

/// The digits of two values below 16, in the bytes of a number.
#[inline]
fn digits(values: u16) -> u16 {
    let letters = (values + 0x0606) >> 4 & 0x0101;
    values + 0x0101 * u16::from(b'0') + letters * u16::from(b'a' - 10 - b'0')
}

/// The digits of a byte.
#[inline]
fn pair(byte: u8) -> [u8; 2] {
    let byte = u16::from(byte);
    digits((byte >> 4 | byte << 8) & 0x0f0f).to_le_bytes()
}

/// `bytes` in lower-case hex. `TEXT` is twice `BYTES`.
#[inline]
pub(crate) fn hex<const BYTES: usize, const TEXT: usize>(bytes: &[u8; BYTES]) -> [u8; TEXT] {
    const { assert!(TEXT == BYTES * 2) };
    let mut out = [0; TEXT];
    for at in 0..BYTES {
        [out[2 * at], out[2 * at + 1]] = pair(bytes[at]);
    }
    out
}

/// The bytes of lower-case hex. `TEXT` is twice `BYTES`.
#[inline]
pub(crate) fn unhex<const BYTES: usize, const TEXT: usize>(
    text: &[u8; TEXT],
) -> Option<[u8; BYTES]> {
    const { assert!(TEXT == BYTES * 2) };
    let (mut out, mut wrong) = ([0; BYTES], 0);
    for (byte, pair) in out.iter_mut().zip(text.as_chunks().0) {
        let pair = u16::from_le_bytes(*pair);
        // Letters have bit 6, and of their lowest four bits 1 to 6 are ten and more.
        let values = ((pair & 0x0f0f) + (pair >> 6 & 0x0101) * 9) & 0x0f0f;
        // They are right where they are written as they came.
        wrong |= digits(values) ^ pair;
        *byte = (values << 4 | values >> 8) as u8;
    }
    (wrong == 0).then_some(out)
}

/// The bytes of two texts, read at once: it takes little longer than one alone.
#[inline]
pub(crate) fn unhex_both(long: &[u8; 32], short: &[u8; 16]) -> Option<([u8; 16], [u8; 8])> {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = super::sse::sse()
        && let [first, second] = long.as_chunks().0
    {
        return super::sse::unhex_pieces(sse, first, second, short);
    }
    unhex_each(long, short)
}

#[inline(never)]
fn unhex_each(long: &[u8; 32], short: &[u8; 16]) -> Option<([u8; 16], [u8; 8])> {
    Some((unhex(long)?, unhex(short)?))
}

/// Appends `bytes` in lower-case hex. The caller has sized the string.
fn push_hex<const N: usize>(out: &mut ArrayString<N>, bytes: &[u8]) {
    for &byte in bytes {
        let [high, low] = pair(byte).map(char::from);
        out.push(high);
        out.push(low);
    }
}

/// As [`unhex`], of a text of any length.
#[inline]
pub(crate) fn parse_hex<const BYTES: usize, const TEXT: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    unhex::<BYTES, TEXT>(text.try_into().ok()?)
}

pub(crate) fn hex_u64(value: u64) -> ArrayString<16> {
    let mut out = ArrayString::new();
    push_hex(&mut out, &value.to_be_bytes());
    out
}

pub(crate) fn parse_hex_u64(text: &[u8]) -> Option<u64> {
    parse_hex::<8, 16>(text).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_texts_are_read_as_each_alone() {
        let (long, short) = (b"0123456789abcdeffedcba9876543210", b"7f00e1d2c3b4a596");
        for byte in 0..=255 {
            for at in 0..48_usize {
                let (mut long, mut short) = (*long, *short);
                match at.checked_sub(32) {
                    None => long[at] = byte,
                    Some(at) => short[at] = byte,
                }
                let each = unhex_each(&long, &short);
                assert_eq!(unhex_both(&long, &short), each, "{byte:#x} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_ids_are_read_from_both_texts(ids: ([u8; 16], [u8; 8])) {
            prop_assert_eq!(unhex_both(&hex(&ids.0), &hex(&ids.1)), Some(ids));
        }
    }

    #[test]
    fn every_byte_but_the_sixteen_digits_is_refused_at_every_place() {
        let good = b"0123456789abcdef".repeat(3);
        for byte in 0..=255_u8 {
            let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            for at in 0..good.len() {
                let mut text = [0; 48];
                text.copy_from_slice(&good);
                text[at] = byte;
                let expected = is_digit.then(|| {
                    let pair = |n| std::str::from_utf8(&text[2 * n..][..2]).unwrap();
                    std::array::from_fn(|n| u8::from_str_radix(pair(n), 16).unwrap())
                });
                assert_eq!(unhex::<24, 48>(&text), expected, "{byte:#x} at {at}");
                // Pieces of other lengths are read by other instructions.
                let start = at - at % 16;
                let piece = parse_hex::<8, 16>(&text[start..start + 16]);
                let expected: Option<[u8; 24]> = expected;
                let of_piece = expected.and_then(|all| all[start / 2..].first_chunk().copied());
                assert_eq!(piece, of_piece, "{byte:#x} at {at}");
            }
            let read = unhex(&[b'7', byte]);
            let value = char::from(byte).to_digit(16).filter(|_| is_digit);
            assert_eq!(read, value.map(|value| [0x70 + value as u8]));
        }
    }

    #[test]
    fn bytes_are_written_as_the_standard_library_writes_them() {
        for byte in 0..=255_u8 {
            let mut out = ArrayString::<10>::new();
            push_hex(&mut out, &[byte, byte ^ 0x5a, 1, 2, byte]);
            let expected = format!("{byte:02x}{:02x}0102{byte:02x}", byte ^ 0x5a);
            assert_eq!(out.as_str(), expected);
            let back = parse_hex::<5, 10>(out.as_bytes());
            assert_eq!(back, Some([byte, byte ^ 0x5a, 1, 2, byte]));
        }
    }

    #[test]
    fn a_text_of_another_length_is_refused() {
        assert_eq!(parse_hex_u64(b"0123456789abcde"), None);
        assert_eq!(parse_hex_u64(b"0123456789abcdef0"), None);
        assert_eq!(parse_hex::<1, 2>(b"000"), None);
        assert_eq!(
            parse_hex_u64(b"0123456789abcdef"),
            Some(0x0123_4567_89ab_cdef)
        );
    }
}
