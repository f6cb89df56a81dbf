//! Heads: a request's line and fields, an answer's status and fields.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};

use crate::fields::{Fields, Span};
use crate::{Body, Refusal, Tunnel, phrase};

/// The version a peer speaks; what we send is always 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// A request's line and end-to-end fields.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) method: Span,
    pub(crate) target: Span,
    /// What the client speaks.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
    /// The protocol the client wants to change to (`websocket`), where it asked.
    pub upgrade: Option<Box<[u8]>>,
}

impl RequestHead {
    /// A head of our own making. Method and target have to be valid.
    ///
    /// # Errors
    /// Where method or target could not be sent.
    pub fn new(method: &str, target: &str) -> Result<Self, Refusal> {
        crate::parse::check_method(method.as_bytes())?;
        crate::parse::check_target(target.as_bytes())?;
        let mut fields = Fields::default();
        Ok(Self {
            method: fields.add_text(method.as_bytes()),
            target: fields.add_text(target.as_bytes()),
            version: Version::Http11,
            fields,
            upgrade: None,
        })
    }

    /// `GET`, `POST`, …
    #[must_use]
    pub fn method(&self) -> &str {
        str::from_utf8(self.fields.text(self.method)).unwrap_or_default()
    }

    /// Path and query, or `*`.
    #[must_use]
    pub fn target(&self) -> &str {
        str::from_utf8(self.fields.text(self.target)).unwrap_or_default()
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// Replaces the target.
    ///
    /// # Errors
    /// Where it could not be sent.
    pub fn set_target(&mut self, target: &str) -> Result<(), Refusal> {
        crate::parse::check_target(target.as_bytes())?;
        self.target = self.fields.add_text(target.as_bytes());
        Ok(())
    }

    /// Whether the method is safe (RFC 9110, 9.2.1): asking twice does no harm.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    /// Writes the head with the framing of a body of that length, and an empty `host` where there
    /// is none.
    pub fn write(&self, length: Length, out: &mut BytesMut) {
        out.reserve(self.fields.size() + 96);
        out.put_slice(self.fields.text(self.method));
        out.put_u8(b' ');
        out.put_slice(self.fields.text(self.target));
        out.put_slice(b" HTTP/1.1\r\n");
        self.fields.write(out);
        // HTTP/1.1 asks for it; HTTP/1.0, in which the request may have come, does not.
        if !self.fields.has("host") {
            out.put_slice(b"host: \r\n");
        }
        // A request without a body says so where its method would lead to expect one.
        match length {
            Length::Known(0) if !matches!(self.method(), "POST" | "PUT" | "PATCH") => {}
            length => length.write(out),
        }
        if let Some(protocol) = &self.upgrade {
            out.put_slice(b"connection: upgrade\r\nupgrade: ");
            out.put_slice(protocol);
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"\r\n");
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// Seen at its end only.
    Unknown,
}

impl Length {
    /// The framing field: `content-length`, or `transfer-encoding: chunked`.
    pub(crate) fn write(self, out: &mut BytesMut) {
        match self {
            Self::Known(length) => write_content_length(length, out),
            Self::Unknown => out.put_slice(b"transfer-encoding: chunked\r\n"),
        }
    }
}

/// An answer's status and end-to-end fields.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 200, …
    pub status: u16,
    pub(crate) reason: Option<Span>,
    /// The fields.
    pub fields: Fields,
    /// The `content-length` that an answer without a body declared (to HEAD, or 304).
    pub declared: Option<u64>,
    /// The protocol that a 101 changes to.
    pub upgrade: Option<Box<[u8]>>,
}

impl ResponseHead {
    /// A head of our own making.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: None,
            fields: Fields::default(),
            declared: None,
            upgrade: None,
        }
    }

    /// Status line and fields, without framing and the empty line.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.reserve(self.fields.size() + 128);
        out.put_slice(b"HTTP/1.1 ");
        put_number(u64::from(self.status), out);
        out.put_u8(b' ');
        match self.reason {
            Some(span) => out.put_slice(self.fields.text(span)),
            None => out.put_slice(phrase(self.status).as_bytes()),
        }
        out.put_slice(b"\r\n");
        self.fields.write(out);
    }

    /// Whether an answer of this status never has a body.
    #[must_use]
    pub fn is_bodiless(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }
}

/// A request as a [`crate::Handler`] gets it.
#[derive(Debug)]
pub struct Request {
    /// Line and fields.
    pub head: RequestHead,
    /// The body; streamed while it is read.
    pub body: Body,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address it came in on.
    pub local: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Status and fields.
    pub head: ResponseHead,
    /// The body; read while it is sent.
    pub body: Body,
    /// With status 101: the other side of the connection that takes over from here.
    pub tunnel: Option<Box<Tunnel>>,
}

impl Response {
    /// An answer with a short text.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        let mut head = ResponseHead::new(status);
        head.fields
            .append("content-type", "text/plain; charset=utf-8");
        Self {
            head,
            body: Body::full(text.as_bytes().to_vec()),
            tunnel: None,
        }
    }
}

pub(crate) fn write_content_length(length: u64, out: &mut BytesMut) {
    out.put_slice(b"content-length: ");
    put_number(length, out);
    out.put_slice(b"\r\n");
}

fn put_number(mut number: u64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}
