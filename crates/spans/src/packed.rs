//! The bytes that spans are kept in: numbers of seven bits a byte, texts behind their length.
//!
//! One value has one sequence of bytes, so what is kept packed is compared without reading it.
//! `docs/formats/repository.md` draws them.

use std::ops::Range;

use selvedge_entry::Text;

use crate::stored::{Damaged, Read};

/// Seven bits a byte, lowest first.
#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_sized(out, text.as_bytes());
}

/// Bytes behind their length.
#[inline]
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_optional(out: &mut Vec<u8>, text: Option<&Text>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

/// Reads packed bytes.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn end(&self) -> Read<()> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(Damaged("bytes left over")),
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(Damaged("cut"))?;
        self.at += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as long as asked"))
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A number, in its shortest form only: one value has one sequence of bytes.
    pub(crate) fn number(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 || shift > 0 && byte == 0 {
                return Err(Damaged("number"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged("number"))
    }

    pub(crate) fn small(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| Damaged("number"))
    }

    /// How many parts follow; each takes a byte at least.
    pub(crate) fn count(&mut self) -> Read<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged("count"))?;
        match count <= self.bytes.len() - self.at {
            true => Ok(count),
            false => Err(Damaged("count")),
        }
    }

    /// Where a part lies whose length stands before it.
    pub(crate) fn part(&mut self) -> Read<Range<usize>> {
        let length = self.count()?;
        let from = self.at;
        self.take(length)?;
        Ok(from..self.at)
    }

    pub(crate) fn sized(&mut self) -> Read<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn str(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.sized()?).map_err(|_| Damaged("text"))
    }

    pub(crate) fn text(&mut self) -> Read<Text> {
        Ok(self.str()?.into())
    }

    pub(crate) fn optional(&mut self) -> Read<Option<Text>> {
        match self.byte()? {
            0 => Ok(None),
            1 => Ok(Some(self.text()?)),
            _ => Err(Damaged("mark")),
        }
    }
}
