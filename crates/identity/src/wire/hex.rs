//! Lower-case hex, as identifiers are shown and as W3C Trace Context writes them.
//!
//! Upper case is refused: an identifier has one text only, so texts can be compared.

use arrayvec::ArrayString;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The value of each byte as a digit, or `BAD`.
const VALUES: [u8; 256] = {
    let mut values = [BAD; 256];
    let mut digit = 0;
    while digit < 16 {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// Above every digit's value, so that one test after a loop finds a wrong byte anywhere in it.
const BAD: u8 = 0x80;

/// Appends `bytes` in lower-case hex. The caller has sized the string.
pub(crate) fn push_hex<const N: usize>(out: &mut ArrayString<N>, bytes: &[u8]) {
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// Writes `bytes` in lower-case hex to the start of `out`, which has room for them, and returns
/// how many characters that were.
pub(crate) fn write_hex(out: &mut [u8], bytes: &[u8]) -> usize {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
    bytes.len() * 2
}

/// Reads exactly `out.len()` bytes of lower-case hex.
pub(crate) fn parse_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    let mut seen = 0;
    for (pair, byte) in text.chunks_exact(2).zip(out) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = (high << 4) | low;
    }
    (seen & BAD == 0).then_some(())
}

pub(crate) fn hex_u64(value: u64) -> ArrayString<16> {
    let mut out = ArrayString::new();
    push_hex(&mut out, &value.to_be_bytes());
    out
}

pub(crate) fn parse_hex_u64(text: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    parse_hex(text, &mut bytes)?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_but_the_sixteen_digits_is_refused() {
        for byte in 0..=255_u8 {
            let mut out = [0];
            let digit = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert_eq!(parse_hex(&[b'0', byte], &mut out).is_some(), digit);
            assert_eq!(parse_hex(&[byte, b'0'], &mut out).is_some(), digit);
        }
    }

    #[test]
    fn a_text_of_another_length_is_refused() {
        assert_eq!(parse_hex_u64(b"0123456789abcde"), None);
        assert_eq!(parse_hex_u64(b"0123456789abcdef0"), None);
        assert_eq!(
            parse_hex_u64(b"0123456789abcdef"),
            Some(0x0123_4567_89ab_cdef)
        );
    }
}
