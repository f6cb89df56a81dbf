//! Records: what a zone is made of.

use core::net::IpAddr;

use smallvec::{SmallVec, smallvec};

use crate::name::{Name, escaped};
use crate::query::kind;

/// One record of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Name,
    /// How long it may be kept, in seconds.
    pub ttl: u32,
    /// Its type.
    pub kind: u16,
    /// What it says.
    pub data: Data,
    /// Which file it was read from: an index into the zone's files.
    pub file: usize,
    /// Its line there, from 1.
    pub line: usize,
}

/// What a record says: its bytes, and between them names that may be compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data(SmallVec<[Part; 1]>);

/// A part of a record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A name that may be compressed (RFC 3597, 4: only those of the types of RFC 1035).
    Name(Name),
    /// Bytes as they are.
    Bytes(Box<[u8]>),
}

impl Data {
    /// An address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::bytes(&address.octets()),
            IpAddr::V6(address) => Self::bytes(&address.octets()),
        }
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self(smallvec![Part::Bytes(bytes.into())])
    }

    pub(crate) fn name(name: Name) -> Self {
        Self(smallvec![Part::Name(name)])
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The name it points to, of types that are one name.
    #[must_use]
    pub fn target(&self) -> Option<&Name> {
        match &self.0[..] {
            [Part::Name(name)] => Some(name),
            [Part::Bytes(_), Part::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// The address it is, of types that are one.
    #[must_use]
    pub fn as_address(&self) -> Option<IpAddr> {
        let [Part::Bytes(bytes)] = &self.0[..] else {
            return None;
        };
        let v4 = <[u8; 4]>::try_from(&**bytes).map(IpAddr::from).ok();
        v4.or_else(|| <[u8; 16]>::try_from(&**bytes).map(IpAddr::from).ok())
    }

    /// The last of a start of authority's numbers: how long nothing may be remembered (RFC 2308).
    pub(crate) fn minimum(&self) -> Option<u32> {
        match &self.0[..] {
            [Part::Name(_), Part::Name(_), Part::Bytes(numbers)] => {
                numbers.last_chunk().map(|last| u32::from_be_bytes(*last))
            }
            _ => None,
        }
    }
}

/// The names of types, as master files write them.
const KINDS: [(&str, u16); 10] = [
    ("A", kind::A),
    ("NS", kind::NS),
    ("CNAME", kind::CNAME),
    ("SOA", kind::SOA),
    ("PTR", kind::PTR),
    ("MX", kind::MX),
    ("TXT", kind::TXT),
    ("AAAA", kind::AAAA),
    ("SRV", kind::SRV),
    ("CAA", kind::CAA),
];

/// The type of that name: one of those that are read here, or `TYPE` and a number (RFC 3597).
#[must_use]
pub(crate) fn kind_of(text: &str) -> Option<u16> {
    let known = KINDS
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name));
    if let Some((_, kind)) = known {
        return Some(*kind);
    }
    let (prefix, number) = text.split_at_checked(4)?;
    prefix
        .eq_ignore_ascii_case("TYPE")
        .then(|| number.parse().ok())?
}

/// A type's name.
#[must_use]
pub(crate) fn kind_name(kind: u16) -> String {
    match KINDS.iter().find(|(_, known)| *known == kind) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("TYPE{kind}"),
    }
}

/// One word of a master file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// As it is written, escapes and all, without quotes.
    pub(crate) text: Vec<u8>,
    pub(crate) quoted: bool,
    pub(crate) line: usize,
}

impl Word {
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or("")
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    fn number<T: std::str::FromStr>(&self, what: &str) -> Result<T, String> {
        let number = self.as_str().parse();
        number.map_err(|_| format!("{:?} is not {what}", self.shown()))
    }

    pub(crate) fn name(&self, origin: Option<&Name>) -> Result<Name, String> {
        let name = Name::parse(&self.text, origin);
        name.map_err(|error| format!("{:?} is no name: {error}", self.shown()))
    }

    /// Its bytes, the escapes undone, at most 255.
    fn string(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut bytes = self.text.iter().copied();
        while let Some(byte) = bytes.next() {
            out.push(match byte {
                b'\\' => escaped(&mut bytes).map_err(|error| error.to_string())?,
                byte => byte,
            });
        }
        match out.len() {
            0..=255 => Ok(out),
            length => Err(format!(
                "a string of {length} bytes; one holds at most 255, cut it into several"
            )),
        }
    }
}

/// A time in seconds: a number, or numbers with units as in `1h30m`.
pub(crate) fn seconds(text: &str) -> Option<u32> {
    let mut total = 0_u64;
    let mut number = None;
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            let digits: u64 = number.unwrap_or(0);
            number = Some(digits.checked_mul(10)? + u64::from(byte - b'0'));
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    // A number without a unit stands alone.
    match number {
        Some(seconds) if total == 0 => total = seconds,
        Some(_) => return None,
        None if text.is_empty() => return None,
        None => {}
    }
    // RFC 2181, 8: 31 bits.
    u32::try_from(total)
        .ok()
        .filter(|seconds| *seconds <= i32::MAX as u32)
}

/// Reads a record's data from the words after its type.
pub(crate) fn data(kind: u16, words: &[Word], origin: Option<&Name>) -> Result<Data, String> {
    if let Some((mark, rest)) = words.split_first()
        && mark.text == b"\\#"
        && !mark.quoted
    {
        return generic(kind, rest);
    }
    let exactly = |count: usize, form: &str| match words.len() {
        length if length == count => Ok(()),
        _ => Err(format!("{} is written as {form}", kind_name(kind))),
    };
    Ok(match kind {
        kind::A => {
            exactly(1, "one IPv4 address")?;
            let address: core::net::Ipv4Addr = words[0].number("an IPv4 address")?;
            Data::address(address.into())
        }
        kind::AAAA => {
            exactly(1, "one IPv6 address")?;
            let address: core::net::Ipv6Addr = words[0].number("an IPv6 address")?;
            Data::address(address.into())
        }
        kind::NS | kind::CNAME | kind::PTR => {
            exactly(1, "one name")?;
            Data::name(words[0].name(origin)?)
        }
        kind::MX => {
            exactly(2, "preference and name")?;
            let preference: u16 = words[0].number("a preference up to 65535")?;
            let preference = Part::Bytes(Box::new(preference.to_be_bytes()));
            Data(smallvec![preference, Part::Name(words[1].name(origin)?)])
        }
        kind::SRV => {
            exactly(4, "priority, weight, port and name")?;
            let mut bytes = Vec::new();
            for word in &words[..3] {
                let number: u16 = word.number("a number up to 65535")?;
                bytes.extend(number.to_be_bytes());
            }
            bytes.extend_from_slice(words[3].name(origin)?.wire());
            Data::bytes(&bytes)
        }
        kind::SOA => soa(words, origin)?,
        kind::TXT => {
            let mut bytes = Vec::new();
            for word in words {
                let string = word.string()?;
                bytes.push(string.len() as u8);
                bytes.extend(string);
            }
            match bytes.len() {
                0 => return Err("TXT is written as one or more strings".to_owned()),
                1..=0xffff => Data::bytes(&bytes),
                length => return Err(format!("TXT of {length} bytes; it holds at most 65535")),
            }
        }
        kind::CAA => {
            exactly(3, "flags, tag and value")?;
            let flags: u8 = words[0].number("flags up to 255")?;
            let (tag, value) = (words[1].string()?, words[2].string()?);
            if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
                return Err("a tag of CAA is letters and digits".to_owned());
            }
            Data::bytes(&[&[flags, tag.len() as u8], &tag[..], &value].concat())
        }
        _ => {
            return Err(format!(
                "the data of {} are written as \\# LENGTH HEX (RFC 3597)",
                kind_name(kind)
            ));
        }
    })
}

fn soa(words: &[Word], origin: Option<&Name>) -> Result<Data, String> {
    let [primary, mailbox, serial, times @ ..] = words else {
        return Err(SOA_FORM.to_owned());
    };
    if times.len() != 4 {
        return Err(SOA_FORM.to_owned());
    }
    let serial: u32 = serial.number("a serial number")?;
    let mut numbers = serial.to_be_bytes().to_vec();
    for word in times {
        let time = seconds(word.as_str());
        let time = time.ok_or_else(|| format!("{:?} is not a time in seconds", word.shown()))?;
        numbers.extend(time.to_be_bytes());
    }
    Ok(Data(smallvec![
        Part::Name(primary.name(origin)?),
        Part::Name(mailbox.name(origin)?),
        Part::Bytes(numbers.into_boxed_slice()),
    ]))
}

const SOA_FORM: &str =
    "SOA is written as primary, mailbox, serial, refresh, retry, expire and minimum";

/// Data as `\# LENGTH HEX` (RFC 3597, 5).
fn generic(kind: u16, words: &[Word]) -> Result<Data, String> {
    let (length, hex) = words
        .split_first()
        .ok_or("\\# is followed by a length and hex digits")?;
    let length: usize = length.number("a length")?;
    let digits: Vec<u8> = hex.iter().flat_map(|word| &word.text).copied().collect();
    let mut bytes = Vec::new();
    for pair in digits.chunks(2) {
        let byte = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
        let byte = byte.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(byte.ok_or("hex digits come in pairs")?);
    }
    if bytes.len() != length || length > 0xffff {
        return Err(format!(
            "\\# says {length} bytes, and {} follow",
            bytes.len()
        ));
    }
    // Those that are looked into are read in their own form only, so that they can be checked.
    if KINDS.iter().any(|(_, known)| *known == kind) {
        return Err(format!(
            "{} is written in its own form here, not as \\#",
            kind_name(kind)
        ));
    }
    Ok(Data::bytes(&bytes))
}
