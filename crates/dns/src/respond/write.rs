//! An answer's bytes.

use crate::body::Body;
use crate::query::{HEADER, kind, rcode};

/// What stays the same whatever is answered: id, question, EDNS, and how large it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    id: u16,
    /// Operation code and the flags that are echoed.
    flags: u16,
    question: &'a [u8],
    opt: Option<Opt<'a>>,
    limit: usize,
}

/// What an answer's OPT record says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt<'a> {
    pub(crate) size: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) nsid: Option<&'a Vec<u8>>,
    pub(crate) cookie: Option<([u8; 8], [u8; 16])>,
}

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;

impl<'a> Answer<'a> {
    pub(crate) fn new(
        id: u16,
        flags: u16,
        question: &'a [u8],
        opt: Option<Opt<'a>>,
        limit: usize,
    ) -> Self {
        Self {
            id,
            flags,
            question,
            opt,
            limit,
        }
    }

    pub(crate) fn name_length(&self) -> usize {
        self.question.len().saturating_sub(4)
    }

    /// An error without records.
    pub(crate) fn error(&self, code: u16, out: &mut Vec<u8>) {
        self.head(0, code, [0; 3], out);
        self.tail(code, out);
    }

    /// Nothing but the wish that the asker come over TCP.
    pub(crate) fn cut_short(&self, out: &mut Vec<u8>) {
        self.head(TRUNCATED, rcode::NO_ERROR, [0; 3], out);
        self.tail(rcode::NO_ERROR, out);
    }

    /// A body; whether it fitted. If not, the answer is cut short.
    pub(crate) fn body(&self, body: &Body, out: &mut Vec<u8>) -> bool {
        let length = HEADER + self.question.len() + body.bytes.len() + self.tail_length();
        if length > self.limit {
            self.cut_short(out);
            return false;
        }
        let authoritative = match body.authoritative {
            true => AUTHORITATIVE,
            false => 0,
        };
        self.head(authoritative, body.rcode, body.counts, out);
        body.write(self.name_length(), out);
        self.tail(body.rcode, out);
        true
    }

    /// Addresses of the question's name, to be kept for `ttl` seconds. They are few, and fit.
    pub(crate) fn addresses(&self, body: &Body, ttl: u32, out: &mut Vec<u8>) -> bool {
        let start = HEADER + self.question.len();
        if !self.body(body, out) {
            return false;
        }
        let count = usize::from(body.counts[0]).max(1);
        let each = body.bytes.len() / count;
        for record in 0..usize::from(body.counts[0]) {
            // A pointer, type and class stand before it.
            let at = start + record * each + 6;
            out[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        true
    }

    /// The question's name is an alias of the name that has `label` before it.
    pub(crate) fn alias(&self, label: &[u8], ttl: u32, out: &mut Vec<u8>) {
        self.head(AUTHORITATIVE, rcode::NO_ERROR, [1, 0, 0], out);
        out.extend([0xc0, HEADER as u8]);
        out.extend(kind::CNAME.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend((label.len() as u16 + 3).to_be_bytes());
        out.push(label.len() as u8);
        out.extend_from_slice(label);
        out.extend([0xc0, HEADER as u8]);
        self.tail(rcode::NO_ERROR, out);
    }

    /// The answer to "everything" (RFC 8482, 4.2): a record that says there is none.
    pub(crate) fn everything(&self, out: &mut Vec<u8>) {
        self.head(AUTHORITATIVE, rcode::NO_ERROR, [1, 0, 0], out);
        out.extend([0xc0, HEADER as u8]);
        out.extend(kind::HINFO.to_be_bytes());
        out.extend([0, 1]);
        out.extend(3600_u32.to_be_bytes());
        out.extend([0, 9, 7]);
        out.extend(b"RFC8482");
        out.push(0);
        self.tail(rcode::NO_ERROR, out);
    }

    fn head(&self, flags: u16, code: u16, counts: [u16; 3], out: &mut Vec<u8>) {
        out.extend(self.id.to_be_bytes());
        out.extend((RESPONSE | self.flags | flags | code & 0xf).to_be_bytes());
        out.extend(u16::from(!self.question.is_empty()).to_be_bytes());
        let [answers, authorities, additional] = counts;
        out.extend(answers.to_be_bytes());
        out.extend(authorities.to_be_bytes());
        let additional = additional + u16::from(self.opt.is_some());
        out.extend(additional.to_be_bytes());
        out.extend_from_slice(self.question);
    }

    fn tail_length(&self) -> usize {
        self.opt.map_or(0, |opt| 11 + opt.options_length())
    }

    fn tail(&self, code: u16, out: &mut Vec<u8>) {
        let Some(opt) = &self.opt else { return };
        out.extend([0, 0, 41]);
        out.extend(opt.size.to_be_bytes());
        let dnssec = match opt.dnssec_ok {
            true => 0x80,
            false => 0,
        };
        out.extend([(code >> 4) as u8, 0, dnssec, 0]);
        out.extend((opt.options_length() as u16).to_be_bytes());
        if let Some(nsid) = opt.nsid {
            out.extend([0, 3]);
            out.extend((nsid.len() as u16).to_be_bytes());
            out.extend_from_slice(nsid);
        }
        if let Some((client, server)) = &opt.cookie {
            out.extend([0, 10, 0, 24]);
            out.extend_from_slice(client);
            out.extend_from_slice(server);
        }
    }
}

impl Opt<'_> {
    fn options_length(&self) -> usize {
        self.nsid.map_or(0, |nsid| 4 + nsid.len()) + self.cookie.map_or(0, |_| 28)
    }
}
