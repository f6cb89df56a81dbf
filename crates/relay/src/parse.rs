//! Heads from bytes, strictly.
//!
//! Request smuggling lives on what two parsers read differently, so this one takes only what has
//! one reading, and what it passes on is written anew: own framing, own line ends. `httparse`
//! splits the lines; everything it is lenient about is checked here:
//! lines end in CR LF and nothing else, no folded lines, one valid `Host`, one agreed length,
//! never a length next to a transfer coding, `chunked` alone as coding.

mod hops;

use std::mem::MaybeUninit;

use bytes::Bytes;

use crate::fields::{Fields, is, is_text, is_token};
use crate::head::{RequestHead, ResponseHead, Version};
use crate::limits::FIELDS_MAX;
use crate::parse::hops::{Coding, Hops};
use crate::{Limits, Refusal};

/// How a message's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 where there is no body.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Answers only: all until the connection's end.
    UntilClose,
}

/// What a request's head says about its message and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The body.
    pub framing: Framing,
    /// The connection stays after the answer.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// What an answer's head says about its message and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The body.
    pub framing: Framing,
    /// The connection can be used again.
    pub keep_alive: bool,
}

/// Finds the end of a head while it arrives, looking at each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    seen: usize,
    line: usize,
}

impl HeadScanner {
    /// Looks at what is new in `buffer` (which may only have grown since the last call). Returns
    /// the head's length with its empty line, or `None` while the end is missing.
    ///
    /// # Errors
    /// At a line that ends in LF without CR.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(offset) = memchr::memchr(b'\n', &buffer[self.seen..]) {
            let at = self.seen + offset;
            if at == 0 || buffer[at - 1] != b'\r' {
                return Err(Refusal::bad("line ends without CR"));
            }
            let empty = at - 1 == self.line;
            self.seen = at + 1;
            self.line = at + 1;
            if empty {
                return Ok(Some(at + 1));
            }
        }
        self.seen = buffer.len();
        Ok(None)
    }

    /// Whether the first line has ended.
    #[must_use]
    pub fn has_line(&self) -> bool {
        self.line > 0
    }
}

type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_MAX];

/// Reads a request's head: exactly the bytes up to and with its empty line. `Limits` are those of
/// sizes; the caller has bounded the whole.
///
/// # Errors
/// With the answer that the client should get.
pub fn parse_request(head: Bytes, limits: &Limits) -> Result<(RequestHead, RequestFacts), Refusal> {
    let bytes: &[u8] = &head;
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let places = limits.head_fields_max.min(FIELDS_MAX);
    let mut parsed = httparse::Request::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut parsed, bytes, &mut slots[..places])
        .map_err(|error| refuse_request(error, bytes))?;
    if !matches!(status, httparse::Status::Complete(n) if n == bytes.len()) {
        return Err(Refusal::bad("malformed head"));
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::bad("malformed head"));
    };
    let version = if version == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    check_method(method.as_bytes())?;
    if target.len() > limits.target_bytes_max {
        return Err(Refusal::new(414, "target too long"));
    }
    let target = Target::read(method, target)?;

    let mut hops = Hops::default();
    let mut host = None;
    let mut expects_continue = false;
    for field in parsed.headers.iter() {
        let (name, value) = (field.name.as_bytes(), field.value);
        hops.read(name, value)?;
        if is(name, "host") {
            if host.replace(value).is_some() {
                return Err(Refusal::bad("several Host fields"));
            }
        } else if is(name, "expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::new(417, "unknown expectation"));
            }
            expects_continue = version == Version::Http11;
        }
    }
    match host {
        None if version == Version::Http11 => return Err(Refusal::bad("Host missing")),
        Some(host) if !is_authority(host) => return Err(Refusal::bad("bad Host")),
        _ => {}
    }
    if version == Version::Http10 && hops.coding != Coding::None {
        return Err(Refusal::bad("transfer coding in HTTP/1.0"));
    }
    let framing = match (hops.coding, hops.length) {
        (Coding::None, length) => Framing::Length(length.unwrap_or(0)),
        (_, Some(_)) => return Err(Refusal::bad("length next to transfer coding")),
        (Coding::Chunked, None) => Framing::Chunked,
        (Coding::Unknown, None) => return Err(Refusal::new(501, "unknown transfer coding")),
    };

    let mut fields = Fields::received(head.clone(), parsed.headers.len() + 8);
    for field in parsed.headers.iter() {
        let name = field.name.as_bytes();
        let own_host = target.authority.is_some() && is(name, "host");
        if !hops.removes(name) && !own_host && !is(name, "expect") {
            fields.push_received(
                Fields::span_of(bytes, name),
                Fields::span_of(bytes, field.value),
            );
        }
    }
    if let Some(authority) = target.authority {
        fields.append("host", authority);
    }
    let facts = RequestFacts {
        framing,
        keep_alive: hops.keep_alive(version),
        expects_continue: expects_continue && framing != Framing::Length(0),
    };
    // A change of protocol takes the connection over right behind the head.
    let upgrade = (framing == Framing::Length(0))
        .then(|| hops.upgrade())
        .flatten();
    let target = match target.path {
        "" if method == "OPTIONS" => fields.add_text(b"*"),
        "" => fields.add_text(b"/"),
        path if path.starts_with('?') => fields.add_text(format!("/{path}").as_bytes()),
        path => Fields::span_of(bytes, path.as_bytes()),
    };
    Ok((
        RequestHead {
            method: Fields::span_of(bytes, method.as_bytes()),
            target,
            version,
            fields,
            upgrade,
        },
        facts,
    ))
}

/// Reads an answer's head, exactly the bytes up to and with its empty line. `to_head`: it answers
/// a HEAD request.
///
/// # Errors
/// With what was wrong (the status is 502).
pub fn parse_response(
    head: Bytes,
    to_head: bool,
) -> Result<(ResponseHead, ResponseFacts), Refusal> {
    let bytes: &[u8] = &head;
    let bad = |reason| Refusal::new(502, reason);
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut slots)
        .map_err(|_| bad("malformed answer"))?;
    if !matches!(status, httparse::Status::Complete(n) if n == bytes.len()) {
        return Err(bad("malformed answer"));
    }
    let (Some(version), Some(code)) = (parsed.version, parsed.code) else {
        return Err(bad("malformed answer"));
    };
    if !(100..=999).contains(&code) {
        return Err(bad("bad status"));
    }
    let version = if version == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    let mut hops = Hops::default();
    for field in parsed.headers.iter() {
        hops.read(field.name.as_bytes(), field.value)
            .map_err(|refusal| bad(refusal.reason))?;
    }
    let mut fields = Fields::received(head.clone(), parsed.headers.len() + 8);
    for field in parsed.headers.iter() {
        if !hops.removes(field.name.as_bytes()) {
            fields.push_received(
                Fields::span_of(bytes, field.name.as_bytes()),
                Fields::span_of(bytes, field.value),
            );
        }
    }
    let head = ResponseHead {
        status: code,
        reason: parsed
            .reason
            .map(|reason| Fields::span_of(bytes, reason.as_bytes())),
        fields,
        declared: hops.length,
        upgrade: if code == 101 { hops.upgrade() } else { None },
    };
    let bodiless = to_head || head.is_bodiless();
    let framing = match (hops.coding, hops.length) {
        (Coding::None | Coding::Chunked, _) if bodiless => Framing::Length(0),
        (Coding::None, Some(length)) => Framing::Length(length),
        (Coding::None, None) => Framing::UntilClose,
        (Coding::Chunked, None) if version == Version::Http11 => Framing::Chunked,
        (Coding::Unknown, _) => return Err(bad("unknown transfer coding")),
        _ => return Err(bad("length next to transfer coding")),
    };
    let facts = ResponseFacts {
        framing,
        keep_alive: framing != Framing::UntilClose && hops.keep_alive(version),
    };
    Ok((head, facts))
}

/// The parts of a request target that count.
struct Target<'a> {
    path: &'a str,
    /// Of an absolute target: it overrules `Host`.
    authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn read(method: &str, target: &'a str) -> Result<Self, Refusal> {
        check_target_bytes(target.as_bytes())?;
        if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
            return Ok(Self {
                path: target,
                authority: None,
            });
        }
        if method == "CONNECT" {
            return Err(Refusal::new(405, "CONNECT is not served"));
        }
        let scheme = target
            .get(..7)
            .filter(|s| s.eq_ignore_ascii_case("http://"));
        let rest = scheme
            .map(|_| &target[7..])
            .ok_or(Refusal::bad("bad target"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || !is_authority(authority.as_bytes()) {
            return Err(Refusal::bad("bad target"));
        }
        Ok(Self {
            path,
            authority: Some(authority),
        })
    }
}

pub(crate) fn check_method(method: &[u8]) -> Result<(), Refusal> {
    if method.is_empty() || method.len() > 32 || !method.iter().copied().all(is_token) {
        return Err(Refusal::bad("bad method"));
    }
    if method == b"CONNECT" {
        return Err(Refusal::new(405, "CONNECT is not served"));
    }
    Ok(())
}

/// Whether bytes can begin a request: a method and nothing else stands first.
pub(crate) fn is_method_start(bytes: &[u8]) -> bool {
    let method = bytes.iter().position(|&b| !is_token(b));
    match method {
        Some(end) => (1..=32).contains(&end) && bytes[end] == b' ',
        None => bytes.len() <= 32,
    }
}

/// A target that we send: a path with its query, or `*`.
pub(crate) fn check_target(target: &[u8]) -> Result<(), Refusal> {
    if target.first() != Some(&b'/') && target != b"*" {
        return Err(Refusal::bad("bad target"));
    }
    check_target_bytes(target)
}

fn check_target_bytes(target: &[u8]) -> Result<(), Refusal> {
    // Fragments never travel; beyond that, browsers send more than RFC 3986 allows.
    let valid = |&byte: &u8| byte.is_ascii_graphic() && byte != b'#';
    if target.is_empty() || !target.iter().all(valid) {
        return Err(Refusal::bad("bad target"));
    }
    Ok(())
}

fn is_authority(host: &[u8]) -> bool {
    host.iter()
        .all(|&b| b.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+;=%".contains(&b))
}

fn refuse_request(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::new(431, "too many fields"),
        httparse::Error::Version => {
            let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
            let version = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
            let known_form = matches!(version, [b'H', b'T', b'T', b'P', b'/', a, b'.', b]
                if a.is_ascii_digit() && b.is_ascii_digit());
            let ours = version.starts_with(b"HTTP/1.") && matches!(version[7..], [b'0' | b'1']);
            if known_form && !ours {
                Refusal::new(505, "unsupported version")
            } else {
                Refusal::bad("bad version")
            }
        }
        httparse::Error::HeaderName => Refusal::bad("bad field name"),
        httparse::Error::HeaderValue => Refusal::bad("bad field value"),
        httparse::Error::NewLine => Refusal::bad("bad line end"),
        _ => Refusal::bad("malformed head"),
    }
}

/// Whether a trailer line (without its line end) is a field.
pub(crate) fn is_field_line(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&b| b == b':') else {
        return false;
    };
    colon > 0
        && line[..colon].iter().copied().all(is_token)
        && line[colon + 1..].iter().copied().all(is_text)
}

#[cfg(test)]
mod tests;
