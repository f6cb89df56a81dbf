//! Timed ID3: a tag of ID3v2.4 with one text frame of the user's own (TXXX) for each JSON value.

/// The description of our frames.
pub(crate) const DESCRIPTION: &str = "selvedge";

/// A tag with these values, each in a frame `TXXX`.
pub(crate) fn write<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = b"ID3\x04\0\0\0\0\0\0".to_vec();
    for value in values {
        out.extend(b"TXXX");
        let length = 1 + DESCRIPTION.len() + 1 + value.len();
        out.extend(syncsafe(length));
        // No flags; UTF-8.
        out.extend([0, 0, 3]);
        out.extend(DESCRIPTION.as_bytes());
        out.push(0);
        out.extend(value.as_bytes());
    }
    let length = syncsafe(out.len() - 10);
    out[6..10].copy_from_slice(&length);
    out
}

/// The values of our frames in a tag; others are left out, and what does not fit ends it.
pub(crate) fn read(tag: &[u8]) -> Vec<&str> {
    let mut values = Vec::new();
    let Some(head) = tag
        .first_chunk::<10>()
        .filter(|head| head.starts_with(b"ID3\x04"))
    else {
        return values;
    };
    let length = unsyncsafe([head[6], head[7], head[8], head[9]]);
    let Some(mut rest) = tag.get(10..10 + length) else {
        return values;
    };
    while let Some((head, after)) = rest.split_first_chunk::<10>() {
        let length = unsyncsafe([head[4], head[5], head[6], head[7]]);
        let Some(body) = after.get(..length) else {
            return values;
        };
        rest = &after[length..];
        let value = body
            .strip_prefix(b"\x03")
            .filter(|_| head.starts_with(b"TXXX"))
            .and_then(|text| text.strip_prefix(DESCRIPTION.as_bytes()))
            .and_then(|text| text.strip_prefix(b"\0"))
            .and_then(|value| std::str::from_utf8(value).ok());
        values.extend(value);
    }
    values
}

fn syncsafe(length: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (length >> shift) as u8 & 0x7F)
}

fn unsyncsafe(bytes: [u8; 4]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7F))
}
