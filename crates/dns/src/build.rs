//! Queries written and answers read, for those who ask: which here are tests, benchmarks and fuzz
//! targets.

mod decode;

pub use decode::{Decoded, DecodedEdns};

use crate::name::Name;

/// A query to be.
#[derive(Clone, Debug)]
pub struct QueryBuilder {
    id: u16,
    recursion_desired: bool,
    question: Vec<u8>,
    edns: Option<(u16, u32)>,
    options: Vec<u8>,
}

/// An EDNS option of a query.
#[derive(Clone, Copy, Debug)]
pub enum OptionOf<'a> {
    /// Asks for the server's name.
    Nsid,
    /// A cookie: the client's 8 bytes, then the server's.
    Cookie(&'a [u8]),
}

impl QueryBuilder {
    /// A query for that name, which ends with a dot.
    ///
    /// # Panics
    /// If it is no name.
    #[must_use]
    pub fn new(name: &str, kind: u16) -> Self {
        let name = Name::parse(name.as_bytes(), None).expect("a name with a dot at its end");
        let question = [name.wire(), &kind.to_be_bytes(), &[0, 1]].concat();
        Self {
            question,
            ..Self::bare()
        }
    }

    /// A query without a question.
    #[must_use]
    pub fn bare() -> Self {
        Self {
            id: 0,
            recursion_desired: false,
            question: Vec::new(),
            edns: None,
            options: Vec::new(),
        }
    }

    /// With that id.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// In that class instead of IN.
    #[must_use]
    pub fn class(mut self, class: u16) -> Self {
        let at = self.question.len().saturating_sub(2);
        self.question.truncate(at);
        self.question.extend_from_slice(&class.to_be_bytes());
        self
    }

    /// With recursion desired.
    #[must_use]
    pub fn recursion_desired(mut self) -> Self {
        self.recursion_desired = true;
        self
    }

    /// With EDNS, taking answers of so many bytes.
    #[must_use]
    pub fn edns(mut self, size: u16) -> Self {
        self.edns = Some((size, self.edns.map_or(0, |(_, flags)| flags)));
        self
    }

    /// With EDNS of that version.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        let (size, flags) = self.edns.unwrap_or((512, 0));
        self.edns = Some((size, flags | u32::from(version) << 16));
        self
    }

    /// Wanting signatures; with EDNS.
    #[must_use]
    pub fn dnssec_ok(mut self) -> Self {
        let (size, flags) = self.edns.unwrap_or((512, 0));
        self.edns = Some((size, flags | 0x8000));
        self
    }

    /// With that option; only with EDNS.
    #[must_use]
    pub fn option(mut self, option: OptionOf<'_>) -> Self {
        let (code, value): (u16, &[u8]) = match option {
            OptionOf::Nsid => (3, &[]),
            OptionOf::Cookie(cookie) => (10, cookie),
        };
        self.options.extend_from_slice(&code.to_be_bytes());
        self.options
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.options.extend_from_slice(value);
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let questions = u8::from(!self.question.is_empty());
        let additional = u8::from(self.edns.is_some());
        let mut out = self.id.to_be_bytes().to_vec();
        out.extend([u8::from(self.recursion_desired), 0, 0, questions]);
        out.extend([0, 0, 0, 0, 0, additional]);
        out.extend_from_slice(&self.question);
        if let Some((size, flags)) = self.edns {
            out.extend([0, 0, 41]);
            out.extend_from_slice(&size.to_be_bytes());
            out.extend_from_slice(&flags.to_be_bytes());
            out.extend_from_slice(&(self.options.len() as u16).to_be_bytes());
            out.extend_from_slice(&self.options);
        }
        out
    }
}
