//! Lower-case hex, as identifiers are shown and as W3C Trace Context writes them.
//!
//! Upper case is refused: an identifier has one text only, so texts can be compared. Written and
//! read by arithmetic on the whole text at once, which the compiler does by vectors. (A table of
//! pairs writes as fast, but in small pieces, and whoever copies those at once waits for them.)

use arrayvec::ArrayString;

/// The digit of a value below 16.
#[inline]
fn digit(value: u8) -> u8 {
    value + if value > 9 { b'a' - 10 } else { b'0' }
}

/// `bytes` in lower-case hex. `TEXT` is twice `BYTES`.
#[inline]
pub(crate) fn hex<const BYTES: usize, const TEXT: usize>(bytes: &[u8; BYTES]) -> [u8; TEXT] {
    const { assert!(TEXT == BYTES * 2) };
    let mut out = [0; TEXT];
    for at in 0..BYTES {
        out[2 * at] = digit(bytes[at] >> 4);
        out[2 * at + 1] = digit(bytes[at] & 15);
    }
    out
}

/// The value of a digit; of what is none, a value over 15.
#[inline]
fn value(digit: u8) -> u8 {
    let number = digit.wrapping_sub(b'0');
    let letter = digit.wrapping_sub(b'a');
    let letter = if letter < 6 { letter + 10 } else { 0x80 };
    if number < 10 { number } else { letter }
}

/// The bytes of lower-case hex. `TEXT` is twice `BYTES`.
#[inline]
pub(crate) fn unhex<const BYTES: usize, const TEXT: usize>(
    text: &[u8; TEXT],
) -> Option<[u8; BYTES]> {
    const { assert!(TEXT == BYTES * 2) };
    let mut values = *text;
    let mut seen = 0;
    // A loop of its own: the two together are not done by vectors.
    for digit in &mut values {
        *digit = value(*digit);
        seen |= *digit;
    }
    let mut out = [0; BYTES];
    for at in 0..BYTES {
        out[at] = (values[2 * at] << 4) | values[2 * at + 1];
    }
    (seen < 16).then_some(out)
}

/// The byte of two digits.
#[inline]
pub(crate) fn unhex_pair(pair: [u8; 2]) -> Option<u8> {
    let [high, low] = pair.map(value);
    ((high | low) < 16).then_some((high << 4) | low)
}

/// Appends `bytes` in lower-case hex. The caller has sized the string.
pub(crate) fn push_hex<const N: usize>(out: &mut ArrayString<N>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(char::from(digit(byte >> 4)));
        out.push(char::from(digit(byte & 15)));
    }
}

/// Reads exactly `out.len()` bytes of lower-case hex.
pub(crate) fn parse_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    let mut seen = 0;
    for (pair, byte) in text.as_chunks::<2>().0.iter().zip(out) {
        let (high, low) = (value(pair[0]), value(pair[1]));
        seen |= high | low;
        *byte = (high << 4) | low;
    }
    (seen < 16).then_some(())
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
        for byte in 0..=255_u8 {
            let digit = char::from(byte)
                .to_digit(16)
                .filter(|_| !byte.is_ascii_uppercase());
            for at in 0..16 {
                let mut text = *b"0123456789abcdef";
                text[at] = byte;
                let read = parse_hex_u64(&text);
                let expected = digit.map(|digit| {
                    let shift = 60 - 4 * at;
                    0x0123_4567_89ab_cdef & !(15 << shift) | u64::from(digit) << shift
                });
                assert_eq!(read, expected, "{byte:#x} at {at}");
            }
            let read = unhex(&[b'7', byte]);
            assert_eq!(read, digit.map(|digit| [0x70 + digit as u8]));
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
