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
    let mut out = [0; BYTES];
    parse_hex(text, &mut out)?;
    Some(out)
}

/// Appends `bytes` in lower-case hex. The caller has sized the string.
fn push_hex<const N: usize>(out: &mut ArrayString<N>, bytes: &[u8]) {
    for &byte in bytes {
        let [high, low] = pair(byte).map(char::from);
        out.push(high);
        out.push(low);
    }
}

/// Reads exactly `out.len()` bytes of lower-case hex.
#[inline]
pub(crate) fn parse_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    let mut wrong = 0;
    for (byte, pair) in out.iter_mut().zip(text.as_chunks().0) {
        let pair = u16::from_le_bytes(*pair);
        // Letters have bit 6, and of their lowest four bits 1 to 6 are ten and more.
        let values = ((pair & 0x0f0f) + (pair >> 6 & 0x0101) * 9) & 0x0f0f;
        // They are right where they are written as they came.
        wrong |= digits(values) ^ pair;
        *byte = (values << 4 | values >> 8) as u8;
    }
    (wrong == 0).then_some(())
}

pub(crate) fn hex_u64(value: u64) -> ArrayString<16> {
    let mut out = ArrayString::new();
    push_hex(&mut out, &value.to_be_bytes());
    out
}

pub(crate) fn parse_hex_u64(text: &[u8]) -> Option<u64> {
    text.try_into()
        .ok()
        .and_then(unhex::<8, 16>)
        .map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let mut piece = [0; 8];
                let read = parse_hex(&text[start..start + 16], &mut piece);
                assert_eq!(read.is_some(), is_digit, "{byte:#x} at {at}");
                if let Some(expected) = expected {
                    assert_eq!(piece, expected[start / 2..][..8]);
                }
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
            let mut back = [0; 5];
            assert_eq!(parse_hex(out.as_bytes(), &mut back), Some(()));
            assert_eq!(back, [byte, byte ^ 0x5a, 1, 2, byte]);
        }
    }

    #[test]
    fn a_text_of_another_length_is_refused() {
        assert_eq!(parse_hex_u64(b"0123456789abcde"), None);
        assert_eq!(parse_hex_u64(b"0123456789abcdef0"), None);
        assert_eq!(parse_hex(b"000", &mut [0; 1]), None);
        assert_eq!(
            parse_hex_u64(b"0123456789abcdef"),
            Some(0x0123_4567_89ab_cdef)
        );
    }
}
