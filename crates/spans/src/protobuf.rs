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
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Broken)?;
        if !(1..1 << 29).contains(&number) {
            return Err(Broken);
        }
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken)?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Broken),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Broken> {
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for (n, byte) in self.rest.iter().take(10).enumerate() {
            if n == 9 && *byte > 1 {
                return Err(Broken);
            }
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[n + 1..];
                return Ok(value);
            }
        }
        Err(Broken)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| Broken)
    }
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
