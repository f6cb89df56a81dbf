//! Domain names, as they go over the wire: length-prefixed labels, ended by the root's empty one.
//!
//! A [`Name`] keeps the case it was written in (RFC 4343) and compares without it. Names of
//! queries stay slices of the message they came in; [`lower`] makes of one the key that zones are
//! searched by.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Bytes of a name at most, the root's label included (RFC 1035, 3.1).
pub const NAME_MAX: usize = 255;

/// Bytes of a label at most.
pub const LABEL_MAX: usize = 63;

/// A name in its wire form, uncompressed.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots side by side, or nothing.
    #[error("an empty label")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("a label of more than 63 bytes")]
    LongLabel,
    /// A name of more than 255 bytes.
    #[error("a name of more than 255 bytes")]
    LongName,
    /// A backslash that is followed by neither three digits up to 255 nor a character.
    #[error("a backslash without the character or the three digits that it escapes")]
    Escape,
    /// A name without a dot at its end where none is known that it belongs to.
    #[error("no origin is known for a name without a dot at its end")]
    NoOrigin,
}

impl Name {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Reads a name as master files write it: dots between labels, `\.` and `\DDD` as escapes,
    /// relative to `origin` unless it ends with a dot; `@` is the origin.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &[u8], origin: Option<&Self>) -> Result<Self, NameError> {
        if text == b"@" {
            return origin.cloned().ok_or(NameError::NoOrigin);
        }
        if text == b"." {
            return Ok(Self::root());
        }
        let mut wire = vec![0];
        let mut start = 0;
        let mut bytes = text.iter().copied();
        let mut absolute = false;
        while let Some(byte) = bytes.next() {
            if byte == b'.' {
                close(&mut wire, start)?;
                start = wire.len();
                wire.push(0);
                absolute = true;
                continue;
            }
            absolute = false;
            let byte = match byte {
                b'\\' => escaped(&mut bytes)?,
                byte => byte,
            };
            wire.push(byte);
        }
        if !absolute {
            close(&mut wire, start)?;
            let origin = origin.ok_or(NameError::NoOrigin)?;
            wire.extend_from_slice(&origin.0);
        }
        match wire.len() {
            0..=NAME_MAX => Ok(Self(wire.into_boxed_slice())),
            _ => Err(NameError::LongName),
        }
    }

    /// The name whose wire form this is; `None` if it is none.
    #[must_use]
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        (length(wire)? == wire.len()).then(|| Self(wire.into()))
    }

    /// Its wire form.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Its key: the wire form in lower case.
    #[must_use]
    pub fn key(&self) -> Box<[u8]> {
        self.0.to_ascii_lowercase().into_boxed_slice()
    }

    /// Whether it is `other` or below it.
    #[must_use]
    pub fn is_under(&self, other: &Self) -> bool {
        suffixes(&self.0).any(|suffix| suffix.eq_ignore_ascii_case(&other.0))
    }

    /// What it is a child of; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        Some(Self(parent(&self.0)?.into()))
    }

    /// This name with one more label before it; `None` if that is too long.
    #[must_use]
    pub fn child(&self, label: &[u8]) -> Option<Self> {
        let wire: Vec<u8> = [&[label.len() as u8], label, &self.0].concat();
        let fits = (1..=LABEL_MAX).contains(&label.len()) && wire.len() <= NAME_MAX;
        fits.then(|| Self(wire.into_boxed_slice()))
    }

    /// Whether its first label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.0))
    }
}

/// A wire name as text, with a dot at its end.
#[must_use]
pub(crate) fn text(wire: &[u8]) -> String {
    if wire == [0] {
        return ".".to_owned();
    }
    let mut out = String::new();
    for label in labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                0x21..=0x7e => out.push(char::from(byte)),
                _ => out += &format!("\\{byte:03}"),
            }
        }
        out.push('.');
    }
    out
}

/// The labels of a wire name, the root's left out.
pub(crate) fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    suffixes(wire).filter_map(|suffix| match suffix[0] {
        0 => None,
        length => suffix.get(1..1 + usize::from(length)),
    })
}

/// A wire name, then what it is a child of, and so on to the root.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = Some(wire);
    std::iter::from_fn(move || {
        let this = next?;
        next = parent(this);
        (!this.is_empty()).then_some(this)
    })
}

/// What a wire name is a child of; `None` for the root, and for what is no name.
#[must_use]
pub(crate) fn parent(wire: &[u8]) -> Option<&[u8]> {
    match wire.first()? {
        0 => None,
        length => wire.get(1 + usize::from(*length)..),
    }
}

/// How many bytes of `bytes` are the name that begins there; `None` where none does: cut off, too
/// long, or compressed, which the one name of a question cannot be.
#[must_use]
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            0 if at < NAME_MAX => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
        if at >= NAME_MAX {
            return None;
        }
    }
}

/// The key of a name that came in a message. Bytes of lengths are below 64, so that they have no
/// case.
#[must_use]
pub(crate) fn lower<'a>(wire: &[u8], room: &'a mut [u8; NAME_MAX]) -> &'a [u8] {
    let wire = &wire[..wire.len().min(NAME_MAX)];
    let room = &mut room[..wire.len()];
    room.copy_from_slice(wire);
    room.make_ascii_lowercase();
    room
}

/// Writes the length of the label that begins at `start` and ends with the name so far.
fn close(wire: &mut [u8], start: usize) -> Result<(), NameError> {
    let length = wire.len() - start - 1;
    match length {
        0 => Err(NameError::EmptyLabel),
        1..=LABEL_MAX => {
            wire[start] = length as u8;
            Ok(())
        }
        _ => Err(NameError::LongLabel),
    }
}

/// The byte after a backslash: a character, or three digits.
pub(crate) fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit);
        value = value * 10 + u32::from(digit.ok_or(NameError::Escape)? - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes(), None).expect("a name")
    }

    #[test]
    fn names_are_read_relative_to_the_origin_and_written_as_they_are_read() {
        let origin = name("example.org.");
        let read = |text: &str| Name::parse(text.as_bytes(), Some(&origin)).map(|n| n.to_string());
        assert_eq!(read("www").as_deref(), Ok("www.example.org."));
        assert_eq!(read("@").as_deref(), Ok("example.org."));
        assert_eq!(read("a.b.").as_deref(), Ok("a.b."));
        assert_eq!(read(".").as_deref(), Ok("."));
        assert_eq!(read("a\\.b\\046c").as_deref(), Ok("a\\.b\\.c.example.org."));
        assert_eq!(read("a..b"), Err(NameError::EmptyLabel));
        assert_eq!(read(".a"), Err(NameError::EmptyLabel));
        assert_eq!(read(""), Err(NameError::EmptyLabel));
        assert_eq!(read("a\\25"), Err(NameError::Escape));
        assert_eq!(read("a\\256"), Err(NameError::Escape));
        assert_eq!(read(&"a".repeat(64)), Err(NameError::LongLabel));
        assert_eq!(read(&"a.".repeat(128)), Err(NameError::LongName));
        assert_eq!(Name::parse(b"www", None), Err(NameError::NoOrigin));
    }

    #[test]
    fn names_compare_without_case_and_know_what_they_are_under() {
        let (upper, www) = (name("EXAMPLE.org."), name("www.example.ORG."));
        assert_eq!(upper, name("example.ORG."));
        assert!(www.is_under(&upper) && upper.is_under(&upper) && !upper.is_under(&www));
        // A label's bytes are no name, even where they look like one.
        assert!(!name("a\\007example\\003org\\000.x.").is_under(&upper));
        assert_eq!(www.parent(), Some(upper));
        assert_eq!(Name::root().parent(), None);
    }

    #[test]
    fn the_name_of_a_question_ends_within_its_message_and_is_not_compressed() {
        assert_eq!(length(b"\x03www\x00rest"), Some(5));
        assert_eq!(length(b"\x00"), Some(1));
        assert_eq!(length(b"\x03ww"), None);
        assert_eq!(length(b"\x03www\xc0\x0c"), None);
        assert_eq!(length(b"\x40"), None);
        assert_eq!(length(b""), None);
        let mut long = b"\x3f".to_vec();
        long.extend([b'a'; 63]);
        let mut long = long.repeat(4);
        long.push(0);
        assert_eq!(length(&long), None);
        let longest = [&long[..64 * 3], &[61], &[b'a'; 61], &[0]].concat();
        assert_eq!((longest.len(), length(&longest)), (255, Some(255)));
    }
}
