//! The fields of a head, as they were received, easy to edit.
//!
//! A relay passes most fields on unread, so they stay slices of the received bytes: one table of
//! offsets, no allocation a field. Fields that are added lie in a second buffer.

use bytes::{BufMut, Bytes};

/// Where a piece of text lies: in the received bytes or among the added ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: u32,
    added: bool,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// Fields in the order they came; names compare without case. Framing and hop-by-hop fields
/// (`content-length`, `transfer-encoding`, `connection` and what it names, …) never stand here:
/// the parser takes them out, the writer makes its own.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    received: Bytes,
    added: Vec<u8>,
    list: Vec<Field>,
}

impl Fields {
    pub(crate) fn received(bytes: Bytes, capacity: usize) -> Self {
        Self {
            received: bytes,
            added: Vec::new(),
            list: Vec::with_capacity(capacity),
        }
    }

    /// The span of a slice that lies in the received bytes.
    pub(crate) fn span_of(base: &[u8], part: &[u8]) -> Span {
        let start = if part.is_empty() {
            0
        } else {
            part.as_ptr() as usize - base.as_ptr() as usize
        };
        debug_assert!(start + part.len() <= base.len());
        Span {
            start: start as u32,
            end: (start + part.len()) as u32,
            added: false,
        }
    }

    pub(crate) fn push_received(&mut self, name: Span, value: Span) {
        self.list.push(Field { name, value });
    }

    pub(crate) fn text(&self, span: Span) -> &[u8] {
        let bytes: &[u8] = if span.added {
            &self.added
        } else {
            &self.received
        };
        &bytes[span.start as usize..span.end as usize]
    }

    pub(crate) fn add_text(&mut self, text: &[u8]) -> Span {
        let start = self.added.len() as u32;
        self.added.extend_from_slice(text);
        Span {
            start,
            end: self.added.len() as u32,
            added: true,
        }
    }

    /// The first value of that name (given in lower case).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(n, _)| is(n, name))
            .map(|(_, value)| value)
    }

    /// All values of that name (given in lower case), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(n, _)| is(n, name))
            .map(|(_, value)| value)
    }

    /// Whether a field of that name stands there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Name and value of every field, names in the case they were sent in.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list
            .iter()
            .map(|field| (self.text(field.name), self.text(field.value)))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Keeps the fields for which `keep(name, value)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut list = std::mem::take(&mut self.list);
        list.retain(|field| keep(self.text(field.name), self.text(field.value)));
        self.list = list;
    }

    /// Removes all fields of that name; returns how many.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.list.len();
        self.retain(|n, _| !is(n, name));
        before - self.list.len()
    }

    /// Adds a field behind the others. Returns false, and adds nothing, where name or value could
    /// not stand in a head (a line break in a value would be a second field).
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        if name.is_empty() || !name.bytes().all(is_token) || !value.iter().copied().all(is_text) {
            return false;
        }
        let name = self.add_text(name.as_bytes());
        let value = self.add_text(value);
        self.list.push(Field { name, value });
        true
    }

    /// Removes all fields of that name and adds one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        self.remove(name);
        self.append(name, value)
    }

    /// Writes the fields, a line each.
    pub(crate) fn write(&self, out: &mut impl BufMut) {
        for (name, value) in self.iter() {
            out.put_slice(name);
            out.put_slice(b": ");
            out.put_slice(value);
            out.put_slice(b"\r\n");
        }
    }

    /// About how many bytes [`Self::write`] takes.
    pub(crate) fn size(&self) -> usize {
        self.received.len() + self.added.len() + 4 * self.list.len()
    }
}

/// Whether a field's name is this one (given in lower case).
#[must_use]
pub fn is(name: &[u8], lower: &str) -> bool {
    name.len() == lower.len() && name.eq_ignore_ascii_case(lower.as_bytes())
}

/// A character of a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A character that may stand in a field's value.
pub(crate) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The parts of a comma list, trimmed, empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
}
