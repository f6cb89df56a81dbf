//! URL-safe base64 without padding (RFC 4648 section 5), the strict way: unused bits of the last
//! character must be zero, so that bytes have one text only.
//!
//! Own code, because it must write into a caller's buffer without allocating and its alphabet
//! also serves for numbers ([`super::varint`]) and key ids. No `=` ever: W3C Trace Context
//! forbids it in a member's value.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Above every digit's value, so that one test after a loop finds a wrong byte anywhere in it.
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

/// Writes `bytes` to the start of `out`, which has room for them, and returns how many
/// characters that were.
pub(crate) fn write(out: &mut [u8], bytes: &[u8]) -> usize {
    let mut groups = bytes.chunks_exact(3);
    let mut quads = out.chunks_exact_mut(4);
    // `by_ref` on the groups first: `zip` asks them first, so no quad is lost at their end.
    for (group, quad) in groups.by_ref().zip(quads.by_ref()) {
        quad.copy_from_slice(&[
            digit(group[0] >> 2),
            digit((group[0] << 4) | (group[1] >> 4)),
            digit((group[1] << 2) | (group[2] >> 6)),
            digit(group[2]),
        ]);
    }
    let at = bytes.len() / 3 * 4;
    match *groups.remainder() {
        [first] => {
            out[at] = digit(first >> 2);
            out[at + 1] = digit(first << 4);
        }
        [first, second] => {
            out[at] = digit(first >> 2);
            out[at + 1] = digit((first << 4) | (second >> 4));
            out[at + 2] = digit(second << 2);
        }
        _ => {}
    }
    encoded_length(bytes.len())
}

/// Appends `bytes` to a string.
pub(crate) fn push(out: &mut String, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let mut quad = [0; 4];
        let length = write(&mut quad, group);
        out.extend(quad[..length].iter().map(|&c| char::from(c)));
    }
}

/// Reads `text` into the start of `out` and returns how many bytes that were; `None` if the text
/// is not the one text of some bytes, or `out` is too small.
pub(crate) fn read(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = decoded_length(text.len())?;
    let out = out.get_mut(..length)?;
    let value = |character: u8| VALUES[usize::from(character)];
    let mut seen = 0;
    let mut quads = text.chunks_exact(4);
    let mut groups = out.chunks_exact_mut(3);
    for (quad, group) in quads.by_ref().zip(groups.by_ref()) {
        let [a, b, c, d] = [
            value(quad[0]),
            value(quad[1]),
            value(quad[2]),
            value(quad[3]),
        ];
        seen |= a | b | c | d;
        group[0] = (a << 2) | (b >> 4);
        group[1] = (b << 4) | (c >> 2);
        group[2] = (c << 6) | d;
    }
    let unused = match (quads.remainder(), groups.into_remainder()) {
        (&[a, b], [first]) => {
            let (a, b) = (value(a), value(b));
            seen |= a | b;
            *first = (a << 2) | (b >> 4);
            b & 0b1111
        }
        (&[a, b, c], [first, second]) => {
            let (a, b, c) = (value(a), value(b), value(c));
            seen |= a | b | c;
            *first = (a << 2) | (b >> 4);
            *second = (b << 4) | (c >> 2);
            c & 0b11
        }
        _ => 0,
    };
    (seen & BAD == 0 && unused == 0).then_some(length)
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
