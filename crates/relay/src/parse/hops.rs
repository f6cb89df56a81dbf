//! The fields between two hops: how long the body is, how the connection goes on, and which fields
//! end here.

use crate::Refusal;
use crate::fields::{is, list};
use crate::head::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Coding {
    #[default]
    None,
    Chunked,
    Unknown,
}

/// The fields between two hops, gathered.
#[derive(Default)]
pub(super) struct Hops<'a> {
    pub(super) length: Option<u64>,
    pub(super) coding: Coding,
    close: bool,
    keep: bool,
    upgrades: bool,
    protocol: Option<&'a [u8]>,
    /// Values of `Connection`: they name further fields that end here.
    connection: Vec<&'a [u8]>,
}

impl<'a> Hops<'a> {
    pub(super) fn read(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        if is(name, "content-length") {
            let length = read_length(value).ok_or(Refusal::bad("bad Content-Length"))?;
            if self
                .length
                .replace(length)
                .is_some_and(|other| other != length)
            {
                return Err(Refusal::bad("several lengths"));
            }
        } else if is(name, "transfer-encoding") {
            let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            self.coding = match self.coding {
                Coding::None if chunked => Coding::Chunked,
                Coding::None => Coding::Unknown,
                _ => return Err(Refusal::bad("several transfer codings")),
            };
        } else if is(name, "connection") {
            for option in list(value) {
                self.close |= is(option, "close");
                self.keep |= is(option, "keep-alive");
                self.upgrades |= is(option, "upgrade");
            }
            self.connection.push(value);
        } else if is(name, "upgrade") {
            self.protocol = Some(value);
        }
        Ok(())
    }

    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep)
    }

    pub(super) fn upgrade(&self) -> Option<Box<[u8]>> {
        self.upgrades.then_some(self.protocol?).map(Box::from)
    }

    /// Whether this field ends at this hop. `Host` and `Cookie` stay, whatever `Connection` names: a
    /// stranger must not take from a request what the relay adds or relies on.
    pub(super) fn removes(&self, name: &[u8]) -> bool {
        const ALWAYS: [&str; 8] = [
            "connection",
            "content-length",
            "transfer-encoding",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "upgrade",
        ];
        ALWAYS.iter().any(|always| is(name, always))
            || (!self.connection.is_empty()
                && !is(name, "host")
                && !is(name, "cookie")
                && self
                    .connection
                    .iter()
                    .flat_map(|value| list(value))
                    .any(|option| option.eq_ignore_ascii_case(name)))
    }
}

fn read_length(value: &[u8]) -> Option<u64> {
    // At most 18 digits: no overflow, and no zeros to hide behind.
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        value
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    })
}
