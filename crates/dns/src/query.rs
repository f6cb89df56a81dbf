//! A query, read from the bytes of a message; and why some get no answer.
//!
//! Everything has one reading or none. What is not a query at all, such as an answer, is never
//! answered, lest two servers answer each other for ever; what is one but malformed is told so,
//! with nothing in the answer that would make it larger than the query.

use crate::name;

/// Bytes of a message's header.
pub(crate) const HEADER: usize = 12;

/// Bytes of a message over UDP where nothing else is said (RFC 1035, 4.2.1).
pub(crate) const PLAIN_MAX: usize = 512;

/// Response codes.
pub mod rcode {
    /// No error.
    pub const NO_ERROR: u16 = 0;
    /// The query is malformed.
    pub const FORMAT_ERROR: u16 = 1;
    /// The server failed.
    pub const SERVER_FAILURE: u16 = 2;
    /// The name does not exist.
    pub const NAME_ERROR: u16 = 3;
    /// What the query asks for is not implemented.
    pub const NOT_IMPLEMENTED: u16 = 4;
    /// The server will not answer that.
    pub const REFUSED: u16 = 5;
    /// A version of EDNS that is unknown; over 15, so that it needs an OPT record.
    pub const BAD_VERSION: u16 = 16;
}

/// Types of records that are spoken of by name.
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// A name server.
    pub const NS: u16 = 2;
    /// Another name for this one.
    pub const CNAME: u16 = 5;
    /// The start of a zone.
    pub const SOA: u16 = 6;
    /// A reverse name.
    pub const PTR: u16 = 12;
    /// What the host is; the answer to ANY.
    pub const HINFO: u16 = 13;
    /// A mail server.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// A service.
    pub const SRV: u16 = 33;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// A delegation's signer; the parent's side has it.
    pub const DS: u16 = 43;
    /// Which authorities may sign certificates.
    pub const CAA: u16 = 257;
    /// A transaction's signature.
    pub const TSIG: u16 = 250;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// A well-formed query with one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The message's id.
    pub id: u16,
    /// Whether recursion is desired; it is echoed.
    pub recursion_desired: bool,
    /// Whether checking is disabled; it is echoed.
    pub checking_disabled: bool,
    /// The question's bytes as they came: name, type, class.
    pub question: &'a [u8],
    /// The question's type.
    pub kind: u16,
    /// The question's class.
    pub class: u16,
    /// What EDNS says, where the query has it.
    pub edns: Option<Edns<'a>>,
}

impl<'a> Query<'a> {
    /// The question's name as it came, in its case. Empty where there is no question.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        &self.question[..self.question.len().saturating_sub(4)]
    }
}

/// What a query's OPT record says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// How many bytes the asker takes over UDP.
    pub size: u16,
    /// The version; only 0 exists.
    pub version: u8,
    /// Whether signatures are wanted; it is echoed.
    pub dnssec_ok: bool,
    /// Whether the server's name is asked for (RFC 5001).
    pub nsid: bool,
    /// The cookie option (RFC 7873).
    pub cookie: Option<CookieOption<'a>>,
}

/// A cookie option of a lawful length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieOption<'a> {
    /// The client's part.
    pub client: [u8; 8],
    /// The server's part; empty, or 8 to 32 bytes.
    pub server: &'a [u8],
}

/// What is not a query that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed<'a> {
    /// It is never answered: shorter than a header, or itself an answer.
    Silent,
    /// It is answered with a header, and the question where that can be read.
    Told {
        /// The message's id.
        id: u16,
        /// Its operation code.
        opcode: u8,
        /// Whether recursion is desired.
        recursion_desired: bool,
        /// The question, as it came; empty if it cannot be read.
        question: &'a [u8],
        /// Why.
        rcode: u16,
    },
}

/// Reads a message. A query for a cookie alone (RFC 7873, 5.4) has an empty question.
///
/// # Errors
/// [`Malformed`].
pub fn read(message: &[u8]) -> Result<Query<'_>, Malformed<'_>> {
    let header = message
        .first_chunk::<HEADER>()
        .filter(|header| header[2] & 0x80 == 0)
        .ok_or(Malformed::Silent)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let opcode = header[2] >> 3 & 0xf;
    let told = |question, rcode| Malformed::Told {
        id: word(0),
        opcode,
        recursion_desired: header[2] & 1 != 0,
        question,
        rcode,
    };
    if opcode != 0 {
        return Err(told(&[], rcode::NOT_IMPLEMENTED));
    }
    let [questions, answers, authorities, additional] = [word(4), word(6), word(8), word(10)];
    let mut rest = &message[HEADER..];
    let question = match questions {
        0 => &[][..],
        1 => question(&mut rest).ok_or_else(|| told(&[], rcode::FORMAT_ERROR))?,
        _ => return Err(told(&[], rcode::FORMAT_ERROR)),
    };
    let malformed = || told(question, rcode::FORMAT_ERROR);
    // A response bit that is not set, or sections that a query does not have, make it none.
    if header[2] & 0b110 != 0 || answers != 0 || authorities != 0 || additional > 1 {
        return Err(malformed());
    }
    let edns = match additional {
        0 => None,
        _ => Some(opt(&mut rest).ok_or_else(malformed)?),
    };
    let cookie_only = edns.is_some_and(|edns: Edns<'_>| edns.cookie.is_some());
    if !rest.is_empty() || (question.is_empty() && !cookie_only) {
        return Err(malformed());
    }
    let tail = question.last_chunk::<4>().copied().unwrap_or_default();
    let kind = u16::from_be_bytes([tail[0], tail[1]]);
    if kind == kind::OPT {
        return Err(malformed());
    }
    Ok(Query {
        id: word(0),
        recursion_desired: header[2] & 1 != 0,
        checking_disabled: header[3] & 0x10 != 0,
        question,
        kind,
        class: u16::from_be_bytes([tail[2], tail[3]]),
        edns,
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_word(rest: &mut &[u8]) -> Option<u16> {
    let bytes = take(rest, 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn question<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = name::length(rest)?;
    take(rest, length + 4)
}

/// The one additional record that a query may have.
fn opt<'a>(rest: &mut &'a [u8]) -> Option<Edns<'a>> {
    let root = take(rest, 1)?;
    let kind = take_word(rest)?;
    if root != [0] || kind != kind::OPT {
        return None;
    }
    let size = take_word(rest)?;
    let flags = take(rest, 4)?;
    let length = take_word(rest)?;
    let mut options = take(rest, usize::from(length))?;
    let mut edns = Edns {
        size,
        version: flags[1],
        dnssec_ok: flags[2] & 0x80 != 0,
        nsid: false,
        cookie: None,
    };
    while !options.is_empty() {
        let code = take_word(&mut options)?;
        let length = take_word(&mut options)?;
        let value = take(&mut options, usize::from(length))?;
        match code {
            3 => edns.nsid = true,
            // The first counts (RFC 7873, 5.2); one of another length is malformed.
            10 if edns.cookie.is_none() => {
                let (client, server) = value.split_first_chunk::<8>()?;
                if !matches!(server.len(), 0 | 8..=32) {
                    return None;
                }
                let client = *client;
                edns.cookie = Some(CookieOption { client, server });
            }
            _ => {}
        }
    }
    Some(edns)
}

#[cfg(test)]
mod tests;
