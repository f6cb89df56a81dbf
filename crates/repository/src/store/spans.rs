//! What the store knows of its spans without reading them.
//!
//! A span costs about 85 bytes here: 48 for its row, the rest for the table that tells whether it
//! is here already; a batch costs 12 more. Names are held once each, and not at all above
//! [`NAME_BYTES_MAX`](super::names::NAME_BYTES_MAX).
//!
//! Repeats are found by content: a keyed hash finds the candidate, and the bytes decide.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::io;

use selvedge_entry::Outcome;
use selvedge_spans::{Contexts, Damaged, Kind, Span};

use super::index::{NONE, Row};
use super::loading::SpanRef;
use super::names::NameId;
use super::segments::{Location, SegmentFiles};

/// One span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanRow {
    pub(crate) at: Location,
    /// The batch that it came in.
    pub(crate) batch: u32,
    pub(crate) start: i64,
    /// Valid once it ended.
    pub(crate) duration: u64,
    pub(crate) service: NameId,
    pub(crate) operation: NameId,
    pub(crate) next_in_origin: Row,
    pub(crate) outcome: Outcome,
    pub(crate) role: Role,
    /// Whether its end is known.
    pub(crate) ended: bool,
}

/// What a span may stand for in a list of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// It has no parent.
    pub(crate) root: bool,
    /// It receives a call, is inside, or makes a call, as [`super::index::Index::rank`] numbers
    /// an entry's direction.
    pub(crate) side: u8,
}

impl Role {
    pub(crate) fn of(span: &Span) -> Self {
        let root = span.parent.is_none();
        let side = match span.kind {
            Kind::Client | Kind::Producer if !root => 2,
            Kind::Server | Kind::Consumer => 0,
            // A root that makes a call stands for the request that nobody recorded.
            _ if root => 0,
            _ => 1,
        };
        Self { root, side }
    }

    /// Whether it says what its own service did, not what it asked of another.
    pub(crate) fn handles(self) -> bool {
        self.side != 2
    }

    /// What orders a request's spans, before their times: roots first, all others where entries
    /// that know their depth come first.
    pub(crate) fn rank(self) -> (u32, u8) {
        (if self.root { 0 } else { u32::MAX }, self.side)
    }
}

/// A batch's resources and scopes, and a hash of each.
pub(crate) struct Batch {
    pub(crate) contexts: Contexts,
    resources: Vec<u64>,
    scopes: Vec<u64>,
}

/// The spans of the store.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) rows: Vec<SpanRow>,
    /// Where each batch's resources and scopes lie.
    pub(crate) batches: Vec<Location>,
    /// By the hash of its content; one whose hash is taken by another stands at the next free.
    seen: HashMap<u64, Row, BuildHasherDefault<Hashed>>,
    keys: RandomState,
}

impl Batch {
    pub(crate) fn new(contexts: Contexts, keys: &RandomState) -> Self {
        Self {
            resources: contexts
                .resources()
                .map(|bytes| keys.hash_one(bytes))
                .collect(),
            scopes: contexts
                .scopes()
                .map(|bytes| keys.hash_one(bytes))
                .collect(),
            contexts,
        }
    }

    /// The hash of all that a stored span says.
    ///
    /// # Errors
    /// When its bytes name no context of this batch.
    pub(crate) fn hash(&self, span: &[u8], keys: &RandomState) -> Result<u64, Damaged> {
        let parts = self.contexts.parts(span)?;
        Ok(keys.hash_one((
            parts.own,
            self.resources[parts.resource],
            self.scopes[parts.scope],
        )))
    }

    /// Whether two stored spans say the same, down to the last byte.
    pub(crate) fn same(&self, span: &[u8], other: &Self, other_span: &[u8]) -> bool {
        let (Ok(a), Ok(b)) = (self.contexts.parts(span), other.contexts.parts(other_span)) else {
            return false;
        };
        let resource = |batch: &Self, at| batch.contexts.resources().nth(at).map(<[u8]>::to_vec);
        let scope = |batch: &Self, at| batch.contexts.scopes().nth(at).map(<[u8]>::to_vec);
        a.own == b.own
            && resource(self, a.resource) == resource(other, b.resource)
            && scope(self, a.scope) == scope(other, b.scope)
    }
}

/// Stored spans that others are compared with.
pub(super) struct Known<'a> {
    files: &'a SegmentFiles,
    /// The contexts that were read last: repeats come in batches.
    batch: Option<(u32, Batch)>,
}

impl<'a> Known<'a> {
    pub(super) fn new(files: &'a SegmentFiles) -> Self {
        Self { files, batch: None }
    }

    /// Whether the span that lies there says the same as a span of `batch`. What cannot be read
    /// for damage is the same as nothing.
    pub(super) fn same(
        &mut self,
        at: SpanRef,
        keys: &RandomState,
        batch: &Batch,
        span: &[u8],
    ) -> io::Result<bool> {
        if self
            .batch
            .as_ref()
            .is_none_or(|(number, _)| *number != at.batch)
        {
            let Ok(contexts) = Contexts::decode(&self.files.read(at.contexts)?) else {
                return Ok(false);
            };
            self.batch = Some((at.batch, Batch::new(contexts, keys)));
        }
        let known = self.files.read(at.at)?;
        let same = |(_, of): &(u32, Batch)| of.same(&known, batch, span);
        Ok(self.batch.as_ref().is_some_and(same))
    }
}

impl Spans {
    /// What hashes contents: drawn anew at every start, so that nobody can send spans that are
    /// taken for another's.
    pub(crate) fn keys(&self) -> &RandomState {
        &self.keys
    }

    /// Rows whose content may have this hash: among them all that have it.
    pub(crate) fn with_hash(&self, hash: u64) -> impl Iterator<Item = Row> {
        let mut place = hash;
        std::iter::from_fn(move || {
            let row = self.seen.get(&place).copied();
            place = place.wrapping_add(1);
            row
        })
    }

    /// Adds a batch whose resources and scopes lie there; returns its number.
    pub(crate) fn add_batch(&mut self, contexts: Location) -> u32 {
        self.batches.push(contexts);
        u32::try_from(self.batches.len() - 1).expect("fewer than 2^32 batches")
    }

    /// Adds a span's row; returns its number.
    pub(crate) fn push(&mut self, hash: u64, row: SpanRow) -> Row {
        let number = Row::try_from(self.rows.len()).expect("fewer than 2^32 spans");
        self.rows.push(row);
        let mut place = hash;
        while self.seen.contains_key(&place) {
            place = place.wrapping_add(1);
        }
        self.seen.insert(place, number);
        number
    }

    /// Notes that a span's bytes lie elsewhere now.
    pub(crate) fn move_to(&mut self, row: Row, at: Location, batch: u32) {
        let row = &mut self.rows[row as usize];
        (row.at, row.batch) = (at, batch);
    }

    /// Where a span lies.
    pub(crate) fn place(&self, row: &SpanRow) -> SpanRef {
        SpanRef {
            at: row.at,
            batch: row.batch,
            contexts: self.batches[row.batch as usize],
        }
    }

    /// The rows of one request's chain.
    pub(crate) fn chain(&self, head: Row) -> impl Iterator<Item = (Row, &SpanRow)> {
        let mut row = head;
        std::iter::from_fn(move || {
            let span = self.rows.get(row as usize).filter(|_| row != NONE)?;
            let found = (row, span);
            row = span.next_in_origin;
            Some(found)
        })
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
