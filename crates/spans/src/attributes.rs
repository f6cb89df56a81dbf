//! Named values, packed: one piece of memory for all attributes of a span.
//!
//! A span has ten attributes or so, and most are written to a store and seldom looked at. Two
//! allocations for each would be half of the cost of reading a span. So they lie one behind the
//! other in the form in which the repository keeps them ([`crate::StoredSpans`]): name, kind of
//! value, value. They are checked when they are packed and taken apart when they are asked for.
//!
//! Equal attributes have equal bytes, so comparing reads nothing. The order by bytes is an order,
//! and means nothing else.

use std::fmt;

use selvedge_entry::Text;

use crate::Value;
use crate::packed::{Reader, put_number, put_sized, put_text};
use crate::stored::{Damaged, Read};
use crate::value::NESTING_MAX;

/// Named values, in the order they were given. A name may be there more than once.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    count: u32,
    bytes: Vec<u8>,
}

/// A value where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueRef<'a>(&'a [u8]);

/// Attributes in their order, by [`Attributes::iter`].
#[derive(Clone)]
pub struct AttributesIter<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl fmt::Debug for AttributesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// What follows of a value.
pub(crate) mod tag {
    pub(crate) const EMPTY: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const TRUE: u8 = 3;
    pub(crate) const INT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const BYTES: u8 = 6;
    pub(crate) const LIST: u8 = 7;
    pub(crate) const MAP: u8 = 8;
}

const CHECKED: &str = "attributes are checked when they are packed";

impl Attributes {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one behind the others.
    pub fn push(&mut self, (name, value): (Text, Value)) {
        put_text(&mut self.bytes, &name);
        put_value(&mut self.bytes, &value);
        self.count += 1;
    }

    /// Adds others behind them.
    pub fn append(&mut self, others: &Self) {
        self.bytes.extend_from_slice(&others.bytes);
        self.count += others.count;
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ValueRef<'_>> {
        let mut named = self.iter().filter(|(key, _)| *key == name);
        named.next().map(|(_, value)| value)
    }

    /// All of them, in their order.
    #[must_use]
    pub fn iter(&self) -> AttributesIter<'_> {
        AttributesIter {
            left: self.count,
            reader: Reader::new(&self.bytes),
        }
    }

    /// All of them, each with memory of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<(Text, Value)> {
        self.iter()
            .map(|(name, value)| (name.into(), value.to_value()))
            .collect()
    }

    /// Takes attributes that were packed, and checked, outside.
    pub(crate) fn from_packed(count: usize, bytes: Vec<u8>) -> Self {
        let count = u32::try_from(count).expect("an input is shorter than 2^32 bytes");
        Self { count, bytes }
    }

    pub(crate) fn packed(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the longest text in them, or a bound of it that is at most `enough`.
    pub(crate) fn longest(&self, enough: usize) -> usize {
        if self.bytes.len() <= enough {
            return self.bytes.len();
        }
        let each = self.iter();
        let each = each.map(|(name, value)| name.len().max(value.to_value().longest()));
        each.max().unwrap_or(0)
    }
}

impl<'a> ValueRef<'a> {
    /// Its text, if it is one.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        (self.0[0] == tag::TEXT).then(|| self.reader().str().expect(CHECKED))
    }

    /// Its number, if it is a whole one.
    #[must_use]
    pub fn as_int(self) -> Option<i64> {
        let zigzag = (self.0[0] == tag::INT).then(|| self.reader().number().expect(CHECKED))?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// As text: text as it is, all else as JSON.
    #[must_use]
    pub fn to_text(self) -> Text {
        match self.as_str() {
            Some(text) => text.into(),
            None => self.to_value().to_text(),
        }
    }

    /// Taken apart.
    #[must_use]
    pub fn to_value(self) -> Value {
        Reader::new(self.0).value().expect(CHECKED)
    }

    /// Behind its tag.
    fn reader(self) -> Reader<'a> {
        Reader::new(&self.0[1..])
    }
}

impl<'a> Iterator for AttributesIter<'a> {
    type Item = (&'a str, ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.reader.str().expect(CHECKED);
        let from = self.reader.at;
        self.reader.skip_value().expect(CHECKED);
        Some((name, ValueRef(&self.reader.bytes[from..self.reader.at])))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for AttributesIter<'_> {}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a str, ValueRef<'a>);
    type IntoIter = AttributesIter<'a>;

    fn into_iter(self) -> AttributesIter<'a> {
        self.iter()
    }
}

impl Extend<(Text, Value)> for Attributes {
    fn extend<I: IntoIterator<Item = (Text, Value)>>(&mut self, more: I) {
        more.into_iter().for_each(|pair| self.push(pair));
    }
}

impl FromIterator<(Text, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Text, Value)>>(all: I) -> Self {
        let mut attributes = Self::new();
        attributes.extend(all);
        attributes
    }
}

impl<const N: usize> From<[(Text, Value); N]> for Attributes {
    fn from(all: [(Text, Value); N]) -> Self {
        all.into_iter().collect()
    }
}

impl From<Vec<(Text, Value)>> for Attributes {
    fn from(all: Vec<(Text, Value)>) -> Self {
        all.into_iter().collect()
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

fn put_pairs(out: &mut Vec<u8>, pairs: &[(Text, Value)]) {
    put_number(out, pairs.len() as u64);
    for (name, value) in pairs {
        put_text(out, name);
        put_value(out, value);
    }
}

/// Nests no deeper than the readers of spans let values nest.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Empty => out.push(tag::EMPTY),
        Value::Text(text) => {
            out.push(tag::TEXT);
            put_text(out, text);
        }
        Value::Bool(value) => put_bool(out, *value),
        Value::Int(number) => put_int(out, *number),
        Value::Double(bits) => put_double(out, *bits),
        Value::Bytes(bytes) => put_bytes(out, bytes),
        Value::List(values) => {
            out.push(tag::LIST);
            put_number(out, values.len() as u64);
            values.iter().for_each(|value| put_value(out, value));
        }
        Value::Map(values) => {
            out.push(tag::MAP);
            put_pairs(out, values);
        }
    }
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { tag::TRUE } else { tag::FALSE });
}

pub(crate) fn put_int(out: &mut Vec<u8>, number: i64) {
    out.push(tag::INT);
    put_number(out, (number << 1 ^ number >> 63) as u64);
}

pub(crate) fn put_double(out: &mut Vec<u8>, bits: u64) {
    out.push(tag::DOUBLE);
    out.extend_from_slice(&bits.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(tag::BYTES);
    put_sized(out, bytes);
}

impl Reader<'_> {
    /// Attributes behind their number, checked.
    pub(crate) fn attributes(&mut self) -> Read<Attributes> {
        let count = self.count()?;
        let from = self.at;
        for _ in 0..count {
            self.str()?;
            self.check_value(0)?;
        }
        Ok(Attributes::from_packed(
            count,
            self.bytes[from..self.at].to_vec(),
        ))
    }

    /// Those attributes whose name is wanted.
    pub(crate) fn some_attributes(&mut self, wanted: impl Fn(&str) -> bool) -> Read<Attributes> {
        let mut count = 0;
        let mut bytes = Vec::new();
        for _ in 0..self.count()? {
            let from = self.at;
            let name = self.str()?;
            if wanted(name) {
                self.check_value(0)?;
                count += 1;
                bytes.extend_from_slice(&self.bytes[from..self.at]);
            } else {
                self.skip_value()?;
            }
        }
        Ok(Attributes::from_packed(count, bytes))
    }

    fn value(&mut self) -> Read<Value> {
        Ok(match self.byte()? {
            tag::EMPTY => Value::Empty,
            tag::TEXT => Value::Text(self.text()?),
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => {
                let number = self.number()?;
                Value::Int((number >> 1) as i64 ^ -((number & 1) as i64))
            }
            tag::DOUBLE => Value::Double(u64::from_le_bytes(self.array()?)),
            tag::BYTES => Value::Bytes(self.sized()?.into()),
            tag::LIST => {
                let values = (0..self.count()?).map(|_| self.value());
                Value::List(values.collect::<Read<_>>()?)
            }
            tag::MAP => {
                let pairs = (0..self.count()?).map(|_| Ok((self.text()?, self.value()?)));
                Value::Map(pairs.collect::<Read<_>>()?)
            }
            _ => return Err(Damaged("value")),
        })
    }

    fn check_value(&mut self, level: usize) -> Read<()> {
        if level > NESTING_MAX + 1 {
            return Err(Damaged("nesting"));
        }
        match self.byte()? {
            tag::EMPTY | tag::FALSE | tag::TRUE => {}
            tag::TEXT => _ = self.str()?,
            tag::INT => _ = self.number()?,
            tag::DOUBLE => _ = self.take(8)?,
            tag::BYTES => _ = self.sized()?,
            tag::LIST => {
                for _ in 0..self.count()? {
                    self.check_value(level + 1)?;
                }
            }
            tag::MAP => {
                for _ in 0..self.count()? {
                    self.str()?;
                    self.check_value(level + 1)?;
                }
            }
            _ => return Err(Damaged("value")),
        }
        Ok(())
    }

    /// Steps over a value. Does not recurse: what is skipped need not be checked.
    fn skip_value(&mut self) -> Read<()> {
        // Values that are still to come; of those in maps the names, too.
        let mut open: Vec<(usize, bool)> = Vec::new();
        loop {
            match self.byte()? {
                tag::EMPTY | tag::FALSE | tag::TRUE => {}
                tag::TEXT | tag::BYTES => _ = self.sized()?,
                tag::INT => _ = self.number()?,
                tag::DOUBLE => _ = self.take(8)?,
                list @ (tag::LIST | tag::MAP) => open.push((self.count()?, list == tag::MAP)),
                _ => return Err(Damaged("value")),
            }
            while open.last().is_some_and(|(left, _)| *left == 0) {
                open.pop();
            }
            let Some((left, map)) = open.last_mut() else {
                return Ok(());
            };
            *left -= 1;
            if *map {
                self.sized()?;
            }
        }
    }
}
