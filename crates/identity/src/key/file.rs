//! The text of a key file: a key a line, as `<key id> <64 hex digits>`; `#` begins a comment.
//! The first key signs.

use std::fmt::Write as _;

use super::{Key, KeyId, KeyRing, KeyRingError};
use crate::wire::parse_hex;

impl KeyRing {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// Names the line that is wrong (never what stands in it).
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut keys: Vec<(KeyId, Key)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            if line.trim().is_empty() {
                continue;
            }
            let (id, key) = parse_line(line).ok_or(KeyRingError::Line { line: line_number })?;
            if keys.iter().any(|(earlier, _)| *earlier == id) {
                return Err(KeyRingError::LineTwice {
                    line: line_number,
                    id,
                });
            }
            keys.push((id, key));
        }
        Self::new(keys)
    }

    /// The text of a key file with these keys. It is as secret as they are.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::from(
            "# The keys that this fleet shares. The first signs, all verify. Keep this secret.\n",
        );
        for (id, key) in &self.keys {
            let _ = write!(out, "{id} ");
            for byte in key.secret {
                let _ = write!(out, "{byte:02x}");
            }
            out.push('\n');
        }
        out
    }
}

fn parse_line(line: &str) -> Option<(KeyId, Key)> {
    let mut words = line.split_whitespace();
    let (id, secret) = (words.next()?, words.next()?);
    let &[character] = id.as_bytes() else {
        return None;
    };
    let bytes = parse_hex::<32, 64>(secret.as_bytes())?;
    words
        .next()
        .is_none()
        .then_some((KeyId::from_character(character)?, Key::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_file_reads_back_as_written() {
        let text = format!(
            "# old and new\n\n b  {SECRET} # the new one\nA {}\n",
            "f".repeat(64)
        );
        let ring = KeyRing::parse(&text).unwrap();
        assert_eq!(ring.signer(), KeyId::from_character(b'b').unwrap());
        assert_eq!(KeyRing::parse(&ring.to_text()).unwrap(), ring);
    }

    #[test]
    fn the_error_names_the_line_and_hides_the_secret() {
        for (text, error) in [
            (String::new(), KeyRingError::Empty),
            ("# nothing\n".into(), KeyRingError::Empty),
            (
                format!("A {SECRET}\nB {SECRET}0\n"),
                KeyRingError::Line { line: 2 },
            ),
            (format!("\nAB {SECRET}\n"), KeyRingError::Line { line: 2 }),
            (format!("A {SECRET} B\n"), KeyRingError::Line { line: 1 }),
            (format!("= {SECRET}\n"), KeyRingError::Line { line: 1 }),
            ("A\n".into(), KeyRingError::Line { line: 1 }),
            (
                format!("A {SECRET}\n\nA {SECRET}\n"),
                KeyRingError::LineTwice {
                    line: 3,
                    id: KeyId(0),
                },
            ),
        ] {
            let refused = KeyRing::parse(&text).unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains(&SECRET[..8]));
        }
    }
}
