//! An identifier in the header of a SOAP envelope, 1.1 or 1.2 (D5):
//! `<sv:Request xmlns:sv="urn:selvedge:request:1">…</sv:Request>`, with the value that the HTTP
//! header has. For SOAP over what has no headers of its own; it passes intermediaries, as it
//! names no role and needs not be understood.
//!
//! Read by a small scanner, not by an XML parser: only what stands before the body is looked at,
//! and of that only as much as tells where the header's blocks begin and end. What could make a
//! parser see other blocks than this scanner is refused: DOCTYPE, CDATA, processing instructions,
//! encodings that are not ASCII's, two blocks of ours. An entity is refused where it would change
//! what is read (our block, a namespace's name); in the text of others' blocks it is passed over.
//! Drawn in `docs/formats/carriers.md`.

mod scan;

use std::ops::Range;

use thiserror::Error;

use crate::RequestIdentifier;
use scan::{Scanner, Start, Token, is_space, resolve};

/// The namespace of our block.
pub const NAMESPACE: &str = "urn:selvedge:request:1";

/// Bytes of an envelope that are looked at: its header must end within them.
pub const SCAN_MAX: usize = 64 * 1024;

/// The namespaces of SOAP 1.1 and 1.2.
const ENVELOPES: [&[u8]; 2] = [
    b"http://schemas.xmlsoap.org/soap/envelope/",
    b"http://www.w3.org/2003/05/soap-envelope",
];

/// Why an envelope was not read. It is then to be served as if it had no block of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SoapError {
    /// The first element is no SOAP envelope, or holds neither header nor body first.
    #[error("not an envelope of SOAP 1.1 or 1.2")]
    NotAnEnvelope,
    /// Not well-formed XML.
    #[error("malformed soap envelope at byte {at}")]
    Malformed {
        /// Where, in bytes from the envelope's start.
        at: usize,
    },
    /// The header does not end within [`SCAN_MAX`] bytes (or would not, with our block), its
    /// elements stand too deep in each other (32), or one declares too many namespaces (64).
    #[error("oversized soap header")]
    Oversized,
    /// Not UTF-8 or ASCII by its XML declaration or its first bytes.
    #[error("soap envelope in an encoding other than utf-8")]
    Encoding,
    /// A document type, which SOAP forbids.
    #[error("soap envelope with a doctype")]
    Doctype,
    /// A processing instruction, which SOAP forbids.
    #[error("soap envelope with a processing instruction")]
    Instruction,
    /// A CDATA section in the header.
    #[error("soap header with a cdata section")]
    Cdata,
    /// An entity or character reference in our block or in a namespace's name.
    #[error("soap header with an entity where none is read")]
    Entity,
    /// Two blocks of ours.
    #[error("soap header with two request identifiers")]
    Twice,
}

/// The text of our block, without white space around it, to be read as
/// [`super::Headers::request`]; `None` if there is no such block.
///
/// # Errors
/// See [`SoapError`].
pub fn read(envelope: &[u8]) -> Result<Option<&[u8]>, SoapError> {
    let block = find(envelope)?.block;
    Ok(block.map(|block| envelope[block.value].trim_ascii()))
}

/// The envelope with our block in its header: in the place of one that is there, else as the
/// first. A header is added where there is none. All else stays as it is, byte for byte.
///
/// # Errors
/// See [`SoapError`].
pub fn write(envelope: &[u8], identifier: &RequestIdentifier) -> Result<Vec<u8>, SoapError> {
    let found = find(envelope)?;
    let block = format!(
        "<sv:Request xmlns:sv=\"{NAMESPACE}\">{}</sv:Request>",
        identifier.encode()
    );
    let block = block.as_bytes();
    let (replaced, parts): (Range<usize>, [&[u8]; 7]) = match (found.block, found.place) {
        (Some(old), _) => (old.whole, [block, b"", b"", b"", b"", b"", b""]),
        (None, Place::Within(at)) => (at..at, [block, b"", b"", b"", b"", b"", b""]),
        (None, Place::Empty { slash, name }) => {
            (slash..slash + 2, [b">", block, b"</", name, b">", b"", b""])
        }
        (None, Place::Missing { at, prefix }) => (
            at..at,
            [b"<", prefix, b"Header>", block, b"</", prefix, b"Header>"],
        ),
    };
    let mut out = Vec::with_capacity(envelope.len() + block.len() + 64);
    out.extend_from_slice(&envelope[..replaced.start]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(&envelope[replaced.end..]);
    // What we write, we can read.
    if found.end + out.len() - envelope.len() > SCAN_MAX {
        return Err(SoapError::Oversized);
    }
    Ok(out)
}

/// What the scanner found.
struct Found<'a> {
    block: Option<Block>,
    place: Place<'a>,
    /// The end of what was looked at.
    end: usize,
}

/// Our block, as ranges of the envelope.
struct Block {
    whole: Range<usize>,
    value: Range<usize>,
}

/// Where a block is to be written.
enum Place<'a> {
    /// Into the header, at its start.
    Within(usize),
    /// The header is one empty tag, whose `/>` stands at `slash`.
    Empty { slash: usize, name: &'a [u8] },
    /// There is no header: it goes to `at`, with the envelope's prefix (and its colon).
    Missing { at: usize, prefix: &'a [u8] },
}

fn find(envelope: &[u8]) -> Result<Found<'_>, SoapError> {
    let mut scanner = Scanner::new(envelope)?;
    let root = next_start(&mut scanner)?;
    let soap = resolve(&[&root], root.prefix());
    let known = soap.filter(|name| ENVELOPES.contains(name));
    if root.local() != b"Envelope" || known.is_none() || root.empty {
        return Err(SoapError::NotAnEnvelope);
    }
    let inner = scanner.at();
    let first = next_start(&mut scanner)?;
    if resolve(&[&first, &root], first.prefix()) != soap {
        return Err(SoapError::NotAnEnvelope);
    }
    let place = match (first.local(), first.empty) {
        (b"Header", false) => Place::Within(scanner.at()),
        (b"Header", true) => Place::Empty {
            slash: scanner.at() - 2,
            name: first.name,
        },
        (b"Body", _) => Place::Missing {
            at: inner,
            prefix: &root.name[..root.name.len() - root.local().len()],
        },
        _ => return Err(SoapError::NotAnEnvelope),
    };
    let block = match place {
        Place::Within(_) => find_block(&mut scanner, &root, &first)?,
        _ => None,
    };
    Ok(Found {
        block,
        place,
        end: scanner.at(),
    })
}

/// The next token, which must be a start tag; white space and comments before it are skipped.
fn next_start<'a>(scanner: &mut Scanner<'a>) -> Result<Start<'a>, SoapError> {
    loop {
        match scanner.next()? {
            Token::Start(start) => return Ok(start),
            Token::Comment => {}
            Token::Text(text) if is_space(text) => {}
            Token::Text(_) | Token::End(_) => return Err(scanner.malformed()),
        }
    }
}

/// Goes through the header's blocks, to the end of the header.
fn find_block(
    scanner: &mut Scanner<'_>,
    root: &Start<'_>,
    header: &Start<'_>,
) -> Result<Option<Block>, SoapError> {
    let mut block = None;
    loop {
        let start = scanner.at();
        match scanner.next()? {
            Token::Comment => {}
            Token::Text(text) if is_space(text) => {}
            Token::End(name) if name == header.name => return Ok(block),
            Token::Text(_) | Token::End(_) => return Err(scanner.malformed()),
            Token::Start(tag) => {
                let namespace = resolve(&[&tag, header, root], tag.prefix());
                if tag.local() != b"Request" || namespace != Some(NAMESPACE.as_bytes()) {
                    scanner.skip(&tag)?;
                    continue;
                }
                if block.is_some() {
                    return Err(SoapError::Twice);
                }
                let value = read_value(scanner, &tag)?;
                block = Some(Block {
                    whole: start..scanner.at(),
                    value,
                });
            }
        }
    }
}

/// The text of an element that holds nothing else, and its end tag.
fn read_value(scanner: &mut Scanner<'_>, tag: &Start<'_>) -> Result<Range<usize>, SoapError> {
    let start = scanner.at();
    if tag.empty {
        return Ok(start..start);
    }
    let mut end = start;
    loop {
        match scanner.next()? {
            Token::Text(text) if text.contains(&b'&') => return Err(SoapError::Entity),
            Token::Text(_) => end = scanner.at(),
            Token::End(name) if name == tag.name => return Ok(start..end),
            _ => return Err(scanner.malformed()),
        }
    }
}
