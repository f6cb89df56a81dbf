//! Reads protobuf messages field by field, by hand.
//!
//! Generated code would build its own copy of every message first; findings put that at a fifth of
//! the speed. Wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. Groups (3, 4)
//! have been gone from protobuf for long and are refused.

/// A message that breaks the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// A message's fields, in the order they lie.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the message's end.
    // In line wherever it is used: handed over in memory, a field would cost as much again.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = (key >> 3) as u32;
        if !(8..1 << 32).contains(&key) {
            return Err(Broken);
        }
        let value = match key & 7 {
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken)?;
                Field::Bytes(self.take(length)?)
            }
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Broken),
        };
        Ok(Some((number, value)))
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Broken> {
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => {
                let (value, length) = long_varint(self.rest)?;
                self.rest = &self.rest[length..];
                Ok(value)
            }
        }
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Broken)?;
        self.rest = rest;
        Ok(*array)
    }
}

fn long_varint(bytes: &[u8]) -> Result<(u64, usize), Broken> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(10).enumerate() {
        if n == 9 && *byte > 1 {
            return Err(Broken);
        }
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Ok((value, n + 1));
        }
    }
    Err(Broken)
}

impl<'a> Field<'a> {
    pub(crate) fn number(self) -> Result<u64, Broken> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Broken),
        }
    }

    /// A count; one that does not fit is cut to the greatest.
    pub(crate) fn count(self) -> Result<u32, Broken> {
        Ok(u32::try_from(self.number()?).unwrap_or(u32::MAX))
    }

    pub(crate) fn fixed64(self) -> Result<u64, Broken> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(Broken),
        }
    }

    pub(crate) fn fixed32(self) -> Result<u32, Broken> {
        match self {
            Self::Fixed32(value) => Ok(value),
            _ => Err(Broken),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], Broken> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Broken),
        }
    }

    pub(crate) fn message(self) -> Result<Fields<'a>, Broken> {
        self.bytes().map(Fields::new)
    }

    pub(crate) fn text(self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Broken)
    }
}
