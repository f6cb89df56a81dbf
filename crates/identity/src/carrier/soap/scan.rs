//! A scanner of XML tags: start tags with the namespaces they declare, end tags, text, comments.
//! It copies nothing and goes no further than its limit.

use super::{SCAN_MAX, SoapError};

/// Elements within each other.
const DEPTH_MAX: usize = 32;

/// Namespaces that one tag may declare.
const NAMESPACES_MAX: usize = 64;

pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// There is more than `bytes`.
    cut: bool,
}

pub(super) enum Token<'a> {
    Start(Start<'a>),
    /// An end tag's name.
    End(&'a [u8]),
    Text(&'a [u8]),
    Comment,
}

pub(super) struct Start<'a> {
    /// With its prefix.
    pub(super) name: &'a [u8],
    /// `<name/>`: no end tag follows.
    pub(super) empty: bool,
    /// Prefix (empty: the default) and name.
    namespaces: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Start<'a> {
    pub(super) fn prefix(&self) -> &'a [u8] {
        split(self.name).0
    }

    pub(super) fn local(&self) -> &'a [u8] {
        split(self.name).1
    }
}

/// The namespace that a prefix stands for, by the declarations of the innermost tag first.
pub(super) fn resolve<'a>(tags: &[&Start<'a>], prefix: &[u8]) -> Option<&'a [u8]> {
    let mut declared = tags.iter().flat_map(|tag| &tag.namespaces);
    declared.find(|(p, _)| *p == prefix).map(|(_, name)| *name)
}

/// Prefix and local name.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().position(|&b| b == b':') {
        Some(colon) => (&name[..colon], &name[colon + 1..]),
        None => (b"", name),
    }
}

/// Whether a text is white space only.
pub(super) fn is_space(text: &[u8]) -> bool {
    text.iter().all(|b| b" \t\r\n".contains(b))
}

impl<'a> Scanner<'a> {
    /// Starts behind the byte order mark and the XML declaration.
    pub(super) fn new(envelope: &'a [u8]) -> Result<Self, SoapError> {
        let bytes = &envelope[..envelope.len().min(SCAN_MAX)];
        let mut scanner = Self {
            bytes,
            at: 0,
            cut: envelope.len() > SCAN_MAX,
        };
        scanner.take(b"\xef\xbb\xbf");
        // The marks of UTF-16, and its characters without them.
        if matches!(scanner.rest(), [0xfe | 0xff | 0, ..] | [_, 0, ..]) {
            return Err(SoapError::Encoding);
        }
        if let [
            b'<',
            b'?',
            b'x',
            b'm',
            b'l',
            b' ' | b'\t' | b'\r' | b'\n',
            ..,
        ] = scanner.rest()
        {
            let declaration = scanner.until(b"?>")?;
            if !is_ascii_based(declaration) {
                return Err(SoapError::Encoding);
            }
        }
        Ok(scanner)
    }

    /// Bytes from the envelope's start.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn malformed(&self) -> SoapError {
        SoapError::Malformed { at: self.at }
    }

    /// The next token, and past it.
    pub(super) fn next(&mut self) -> Result<Token<'a>, SoapError> {
        match self.rest() {
            [] => Err(self.ended()),
            [b'<', b'!', b'-', b'-', ..] => {
                self.at += 4;
                self.until(b"-->").map(|_| Token::Comment)
            }
            [b'<', b'!', b'[', ..] => Err(SoapError::Cdata),
            [b'<', b'!', ..] => Err(SoapError::Doctype),
            [b'<', b'?', ..] => Err(SoapError::Instruction),
            [b'<', b'/', ..] => {
                self.at += 2;
                let name = self.name()?;
                self.space();
                self.expect(b">")?;
                Ok(Token::End(name))
            }
            [b'<', ..] => {
                self.at += 1;
                self.start().map(Token::Start)
            }
            text => {
                let length = text.iter().position(|&b| b == b'<');
                let length = length.ok_or_else(|| self.ended())?;
                self.at += length;
                Ok(Token::Text(&text[..length]))
            }
        }
    }

    /// Past the end of an element whose start tag was just read.
    pub(super) fn skip(&mut self, start: &Start<'a>) -> Result<(), SoapError> {
        let mut open = Vec::new();
        if !start.empty {
            open.push(start.name);
        }
        while let Some(&innermost) = open.last() {
            match self.next()? {
                Token::Start(start) if start.empty => {}
                Token::Start(_) if open.len() == DEPTH_MAX => return Err(SoapError::Oversized),
                Token::Start(start) => open.push(start.name),
                Token::End(name) if name == innermost => {
                    open.pop();
                }
                Token::End(_) => return Err(self.malformed()),
                Token::Text(_) | Token::Comment => {}
            }
        }
        Ok(())
    }

    /// The rest of a start tag, from its name on.
    fn start(&mut self) -> Result<Start<'a>, SoapError> {
        let mut start = Start {
            name: self.name()?,
            empty: false,
            namespaces: Vec::new(),
        };
        loop {
            let spaced = self.space();
            if self.take(b">") {
                return Ok(start);
            }
            if self.take(b"/>") {
                start.empty = true;
                return Ok(start);
            }
            if !spaced {
                return Err(self.unexpected());
            }
            let name = self.name()?;
            self.space();
            self.expect(b"=")?;
            self.space();
            let value = self.quoted()?;
            let prefix = match split(name) {
                (b"xmlns", prefix) => prefix,
                (b"", b"xmlns") => b"",
                _ => continue,
            };
            if value.contains(&b'&') {
                return Err(SoapError::Entity);
            }
            if start.namespaces.iter().any(|(p, _)| *p == prefix) {
                return Err(self.malformed());
            }
            if start.namespaces.len() == NAMESPACES_MAX {
                return Err(SoapError::Oversized);
            }
            start.namespaces.push((prefix, value));
        }
    }

    /// A name with at most one prefix. Letters beyond ASCII are taken as they come.
    fn name(&mut self) -> Result<&'a [u8], SoapError> {
        let rest = self.rest();
        let first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b >= 0x80;
        let inner = |b: &u8| first(*b) || b.is_ascii_digit() || b"-.:".contains(b);
        let length = rest.iter().take_while(|b| inner(b)).count();
        let name = &rest[..length];
        let mut parts = name.split(|&b| b == b':');
        let whole = |part: &[u8]| part.first().is_some_and(|&b| first(b));
        if length == rest.len() || parts.clone().count() > 2 || !parts.all(whole) {
            return Err(self.unexpected());
        }
        self.at += length;
        Ok(name)
    }

    /// A value in quotes of either kind.
    fn quoted(&mut self) -> Result<&'a [u8], SoapError> {
        let quote = match self.rest().first() {
            Some(b'"') => b"\"",
            Some(b'\'') => b"'",
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        let value = self.until(quote)?;
        if value.contains(&b'<') {
            return Err(self.malformed());
        }
        Ok(value)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Past `text`, if it is what follows.
    fn take(&mut self, text: &[u8]) -> bool {
        let follows = self.rest().starts_with(text);
        self.at += if follows { text.len() } else { 0 };
        follows
    }

    fn expect(&mut self, text: &[u8]) -> Result<(), SoapError> {
        if self.take(text) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// Past white space; whether there was any.
    fn space(&mut self) -> bool {
        let before = self.at;
        self.at += self.rest().iter().take_while(|b| is_space(&[**b])).count();
        self.at > before
    }

    /// What stands before the next `end`, and past both.
    fn until(&mut self, end: &[u8]) -> Result<&'a [u8], SoapError> {
        let rest = self.rest();
        let length = rest.windows(end.len()).position(|w| w == end);
        let length = length.ok_or_else(|| self.ended())?;
        self.at += length + end.len();
        Ok(&rest[..length])
    }

    /// What follows is wrong, or cut off.
    fn unexpected(&self) -> SoapError {
        // A tag that the limit cuts anywhere reads as wrong there: no `>` follows.
        if self.cut && !self.rest().contains(&b'>') {
            return SoapError::Oversized;
        }
        self.malformed()
    }

    fn ended(&self) -> SoapError {
        if self.cut {
            SoapError::Oversized
        } else {
            SoapError::Malformed {
                at: self.bytes.len(),
            }
        }
    }
}

/// Whether an XML declaration names no encoding, or UTF-8 or ASCII.
fn is_ascii_based(declaration: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(declaration) else {
        return false;
    };
    let Some((_, rest)) = text.split_once("encoding") else {
        return true;
    };
    let value = rest.trim_start().strip_prefix('=').unwrap_or_default();
    let value = value.trim_start();
    let quote = value.chars().next().filter(|c| "\"'".contains(*c));
    let name = quote.and_then(|quote| value[1..].split(quote).next());
    name.is_some_and(|name| {
        ["utf-8", "us-ascii"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}
