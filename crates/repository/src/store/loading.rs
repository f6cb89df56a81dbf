//! Reads entries and spans back from the files.
//!
//! Where they lie is copied out of the index first, so that the index is never locked while files
//! are read.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use selvedge_entry::{Entry, Fold, Record};
use selvedge_identity::{Origin, SessionId};
use selvedge_spans::{Contexts, Part, Span};

use super::index::{EntryRef, Index};
use super::origins::OriginRow;
use super::segments::Location;
use super::{Store, StoreError};
use crate::request::Request;

/// Where a request's parts lie.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) origin: Origin,
    pub(super) entries: Vec<EntryRef>,
    pub(super) spans: Vec<SpanRef>,
}

/// Where a span lies, with its batch's resources and scopes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpanRef {
    pub(super) at: Location,
    pub(super) batch: u32,
    pub(super) contexts: Location,
}

impl Store {
    /// All that is here of a request; `None` if nothing is.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn request(&self, origin: Origin) -> Result<Option<Request>, StoreError> {
        self.request_of(origin, Part::Whole)
    }

    /// The same without what its call tree does not need of spans: their other attributes, events
    /// and links. One attribute without a name stands for what is left out.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn outline(&self, origin: Origin) -> Result<Option<Request>, StoreError> {
        self.request_of(origin, Part::Tree)
    }

    /// The entries of a visit, by position: its actions, and what else carried the session.
    /// `None` if nothing of it is here.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn session(&self, session: SessionId) -> Result<Option<Vec<Entry>>, StoreError> {
        let entries: Vec<EntryRef> = {
            let index = self.read();
            let Some(&row) = index.by_session.get(&session) else {
                return Ok(None);
            };
            let visit = &index.sessions[row as usize];
            index
                .session_chain(visit)
                .map(|(_, entry)| EntryRef::of(&index, entry))
                .collect()
        };
        self.load(entries).map(Some)
    }

    fn request_of(&self, origin: Origin, part: Part) -> Result<Option<Request>, StoreError> {
        let parts = {
            let index = self.read();
            let Some(&row) = index.by_origin.get(&origin) else {
                return Ok(None);
            };
            self.parts(&index, &index.origins[row as usize])
        };
        self.load_request(parts, part).map(Some)
    }

    /// Where the parts of a request lie.
    pub(super) fn parts(&self, index: &Index, request: &OriginRow) -> Parts {
        let mut entries = Vec::with_capacity(request.entries as usize);
        entries.extend(
            index
                .chain(request)
                .map(|(_, entry)| EntryRef::of(index, entry)),
        );
        let mut spans = Vec::with_capacity(request.spans as usize);
        let rows = index.spans.chain(request.spans_head);
        spans.extend(rows.map(|(_, row)| index.spans.place(row)));
        Parts {
            origin: request.origin,
            entries,
            spans,
        }
    }

    pub(super) fn load_request(&self, parts: Parts, part: Part) -> Result<Request, StoreError> {
        let mut spans = self.load_spans(parts.spans, part)?;
        // Their order tells nothing of how they came.
        spans.sort_unstable();
        Ok(Request {
            origin: parts.origin,
            entries: self.load(parts.entries)?,
            spans,
        })
    }

    /// Reads entries back, by position.
    pub(super) fn load(&self, mut entries: Vec<EntryRef>) -> Result<Vec<Entry>, StoreError> {
        entries.sort_unstable_by(|a, b| a.position().cmp(&b.position()));
        let mut loaded = Vec::with_capacity(entries.len());
        for entry in &entries {
            match self.load_one(entry) {
                Ok(Some(entry)) => loaded.push(entry),
                Ok(None) => self.damaged(&format!("{:?}", entry.position())),
                Err(source) => return Err(self.unreadable(source)),
            }
        }
        Ok(loaded)
    }

    /// Reads spans back, as they lie in the files.
    fn load_spans(&self, mut spans: Vec<SpanRef>, part: Part) -> Result<Vec<Span>, StoreError> {
        spans.sort_unstable_by_key(|span| (span.at.segment, span.at.offset));
        let mut loaded = Vec::with_capacity(spans.len());
        let mut reading = SpanReading::new(self);
        for span in spans {
            loaded.extend(reading.read(span, part)?);
        }
        Ok(loaded)
    }

    fn load_one(&self, entry: &EntryRef) -> io::Result<Option<Entry>> {
        let mut fold = Fold::new(entry.server.clone(), entry.epoch);
        let mut parts = vec![(entry.sequence, entry.opening)];
        parts.extend(
            entry
                .effect
                .iter()
                .chain(&entry.closing)
                .map(|part| (part.sequence, part.at)),
        );
        for (sequence, at) in parts {
            match Record::decode(&self.files.read(at)?) {
                Ok(record) => _ = fold.apply(sequence, record),
                Err(_) => return Ok(None),
            }
        }
        Ok(fold.remove(entry.sequence))
    }

    /// Another program changed a file under us: said, and the rest answered.
    fn damaged(&self, what: &str) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(what, "stored entry or span is damaged");
    }

    pub(super) fn unreadable(&self, source: io::Error) -> StoreError {
        StoreError::Files {
            what: "read",
            path: self.dir.clone(),
            source,
        }
    }
}

/// Reads one span after the other; the neighbours in a file come with it, and the contexts of a
/// batch are read once.
pub(super) struct SpanReading<'a> {
    store: &'a Store,
    /// What was read of a file last, and where it lies.
    window: Option<(Location, Bytes)>,
    contexts: HashMap<u32, Option<Arc<Contexts>>>,
}

/// Read at once from where a span begins.
const WINDOW_BYTES: u32 = 16 << 10;

/// Batches whose contexts are held at once.
const CONTEXTS_MAX: usize = 1024;

impl<'a> SpanReading<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            window: None,
            contexts: HashMap::new(),
        }
    }

    /// A span; `None` if its file is damaged, which is counted.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(super) fn read(&mut self, span: SpanRef, part: Part) -> Result<Option<Span>, StoreError> {
        let Some(contexts) = self.contexts(span)? else {
            return Ok(None);
        };
        let bytes = self.bytes(span.at)?;
        match contexts.span(&bytes, part) {
            Ok(span) => Ok(Some(span)),
            Err(error) => {
                self.store.damaged(&error.to_string());
                Ok(None)
            }
        }
    }

    fn contexts(&mut self, span: SpanRef) -> Result<Option<Arc<Contexts>>, StoreError> {
        if let Some(known) = self.contexts.get(&span.batch) {
            return Ok(known.clone());
        }
        let store = self.store;
        let bytes = store.files.read(span.contexts);
        let bytes = bytes.map_err(|source| store.unreadable(source))?;
        let contexts = Contexts::decode(&bytes).map(Arc::new);
        let contexts = contexts.inspect_err(|error| store.damaged(&error.to_string()));
        if self.contexts.len() >= CONTEXTS_MAX {
            self.contexts.clear();
        }
        let contexts = contexts.ok();
        self.contexts.insert(span.batch, contexts.clone());
        Ok(contexts)
    }

    fn bytes(&mut self, at: Location) -> Result<Bytes, StoreError> {
        if let Some((window, bytes)) = &self.window
            && window.segment == at.segment
            && window.offset <= at.offset
            && at.offset + at.length <= window.offset + window.length
        {
            let from = (at.offset - window.offset) as usize;
            return Ok(bytes.slice(from..from + at.length as usize));
        }
        let store = self.store;
        let length = at.length.max(WINDOW_BYTES);
        let bytes = store.files.read_up_to(Location { length, ..at }, at.length);
        let bytes = bytes.map_err(|source| store.unreadable(source))?;
        let window = Location {
            length: bytes.len() as u32,
            ..at
        };
        let span = bytes.slice(..at.length as usize);
        self.window = Some((window, bytes));
        Ok(span)
    }
}
