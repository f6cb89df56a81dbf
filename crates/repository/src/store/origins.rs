//! Requests: what the entries and the spans of one origin make together.
//!
//! A request costs 64 bytes here, some 100 more in the tables that find it, and its verdict
//! ([`super::verdicts`]).
//! One of its entries or spans stands for it: the shallowest, its receiving side first. Every
//! change makes the request dirty until it is judged again; the list of dirty ones is bounded, and
//! who overflows it is found by looking through the requests.

use std::collections::VecDeque;
use std::sync::Arc;

use selvedge_entry::{Direction, Outcome};
use selvedge_identity::{Epoch, Origin, ServerName};
use selvedge_spans::Span;

use super::index::{EntryRow, Index, NONE, Row, push_once};
use super::segments::Location;
use super::spans::{Role, SpanRow};
use super::verdicts::Verdict;

/// The most requests that wait to be judged in the order of their change.
const DIRTY_MAX: usize = 1 << 16;

/// One request: all entries and spans of one origin.
#[derive(Debug)]
pub(crate) struct OriginRow {
    pub(crate) origin: Origin,
    /// The newest arrival; the chain goes on in the entries.
    pub(crate) head: Row,
    /// The entry that stands for its entries.
    top: Row,
    /// The newest span; the chain goes on in the spans.
    pub(crate) spans_head: Row,
    /// The span that stands for its spans.
    spans_top: Row,
    pub(crate) entries: u32,
    pub(crate) spans: u32,
    /// Counts its changes.
    pub(crate) changes: u32,
    /// Its changes when its verdict was found.
    pub(crate) judged: u32,
    /// It is in the list of dirty requests, or with who judges them.
    pub(crate) queued: bool,
    pub(crate) verdict: Option<Arc<Verdict>>,
}

/// What stands for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Top<'a> {
    Entry(&'a EntryRow),
    Span(&'a SpanRow),
}

/// Requests that changed and are in nobody's hands.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    rows: VecDeque<Row>,
    /// Some did not fit.
    overflown: bool,
    /// Where to look for those.
    sweep: usize,
}

impl OriginRow {
    /// Its verdict, if nothing changed since.
    pub(crate) fn fresh(&self) -> Option<&Arc<Verdict>> {
        self.verdict
            .as_ref()
            .filter(|_| self.judged == self.changes)
    }
}

impl Top<'_> {
    /// When it began.
    pub(crate) fn start(self) -> i64 {
        match self {
            Self::Entry(entry) => entry.start,
            Self::Span(span) => span.start,
        }
    }

    /// Its duration in nanoseconds, once it ended.
    pub(crate) fn duration(self) -> Option<u64> {
        match self {
            Self::Entry(entry) => entry.ended.then_some(entry.duration),
            Self::Span(span) => span.ended.then_some(span.duration),
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Entry(entry) => entry.outcome,
            Self::Span(span) => span.outcome,
        }
    }
}

impl Index {
    /// The entries of a request.
    pub(crate) fn chain(&self, request: &OriginRow) -> impl Iterator<Item = (Row, &EntryRow)> {
        self.follow(request.head, |entry| entry.next_in_origin)
    }

    /// What stands for a request.
    pub(crate) fn top(&self, request: &OriginRow) -> Option<Top<'_>> {
        self.higher(
            self.entries.get(request.top as usize),
            self.spans.rows.get(request.spans_top as usize),
        )
    }

    /// The one that is to be shown of an entry and a span.
    pub(crate) fn higher<'a>(
        &self,
        entry: Option<&'a EntryRow>,
        span: Option<&'a SpanRow>,
    ) -> Option<Top<'a>> {
        let (entry, span) = match (entry, span) {
            (Some(entry), Some(span)) => (entry, span),
            (entry, span) => return entry.map(Top::Entry).or(span.map(Top::Span)),
        };
        let (depth, side, start, ..) = self.rank(entry);
        let (span_depth, span_side) = span.role.rank();
        let above = (depth, side, start) <= (span_depth, span_side, span.start);
        Some(if above {
            Top::Entry(entry)
        } else {
            Top::Span(span)
        })
    }

    /// What orders the entries of a request for the question which stands for it: depth, then
    /// receiving side, then inside, then calling side; ties by time and position, so that the
    /// order of arrival never shows.
    pub(crate) fn rank(&self, entry: &EntryRow) -> (u32, u8, i64, &ServerName, Epoch, u64) {
        let side = match entry.direction {
            Direction::Inbound => 0,
            Direction::Internal => 1,
            Direction::Outbound => 2,
        };
        let (server, epoch) = self.journals.name(entry.epoch);
        (
            entry.depth,
            side,
            entry.start,
            server,
            epoch,
            entry.sequence,
        )
    }

    /// The same for spans: ties by all that a list shows of them.
    pub(crate) fn span_rank<'a>(&'a self, span: &'a SpanRow) -> impl Ord + 'a {
        let name = |id| self.names.get(id);
        (
            span.role.rank(),
            span.start,
            name(span.service),
            name(span.operation),
            span.ended.then_some(span.duration),
            span.outcome == Outcome::Error,
        )
    }

    /// Chains an entry into its request; returns the request.
    pub(crate) fn chain_origin(&mut self, row: Row, origin: Origin) -> Row {
        let number = self.intern_origin(origin);
        let known_start = self.start(number);
        let request = &self.origins[number as usize];
        let known = self.entries.get(request.top as usize);
        let above = known.is_none_or(|top| self.rank(&self.entries[row as usize]) < self.rank(top));
        let request = &mut self.origins[number as usize];
        let entry = &mut self.entries[row as usize];
        entry.origin = number;
        entry.next_in_origin = std::mem::replace(&mut request.head, row);
        request.entries += 1;
        if above {
            request.top = row;
        }
        self.restart(number, known_start);
        self.touch(number);
        number
    }

    /// Takes a span that was not seen before, whose content has this hash.
    pub(crate) fn take_span(&mut self, span: &Span, at: Location, batch: u32, hash: u64) {
        let outcome = span.outcome();
        let role = Role::of(span);
        let (service, operation) = (
            self.names.intern(&span.service),
            self.names.intern(&span.name),
        );
        let start = span.start.unwrap_or_default().0;
        let row = SpanRow {
            at,
            batch,
            start,
            duration: span.duration_ns.unwrap_or(0),
            service,
            operation,
            next_in_origin: NONE,
            outcome,
            role,
            ended: span.duration_ns.is_some(),
        };
        let row = self.spans.push(hash, row);
        let origin = self.chain_span(row, span.origin);
        // A span of no service is found by its trace alone.
        if !span.service.is_empty() {
            let version = span.resource.version();
            let operation = role.handles().then_some(operation);
            self.count(service, operation, version, &span.host);
            let service = self.services.entry(service).or_default();
            service.began(start, outcome == Outcome::Error);
            push_once(&mut service.origins, origin);
        }
    }

    /// Notes that a request changed, if it is one.
    pub(crate) fn touch(&mut self, number: Row) {
        let Some(request) = self.origins.get_mut(number as usize) else {
            return;
        };
        request.changes = request.changes.wrapping_add(1);
        if !request.queued {
            request.queued = self.dirty.push(number);
        }
    }

    /// Takes requests that changed, at most so many; they count as queued until
    /// [`Index::settle`] is told of them.
    pub(crate) fn take_dirty(&mut self, count: usize) -> Vec<Row> {
        let listed = count.min(self.dirty.rows.len());
        let mut rows: Vec<Row> = self.dirty.rows.drain(..listed).collect();
        while self.dirty.overflown && rows.len() < count {
            let Some(request) = self.origins.get_mut(self.dirty.sweep) else {
                (self.dirty.overflown, self.dirty.sweep) = (false, 0);
                break;
            };
            if request.fresh().is_none() && !request.queued {
                request.queued = true;
                rows.push(self.dirty.sweep as Row);
            }
            self.dirty.sweep += 1;
        }
        rows
    }

    /// Gives back a request that was taken as dirty; it is queued again if it changed since its
    /// verdict.
    pub(crate) fn settle(&mut self, number: Row) {
        let request = &mut self.origins[number as usize];
        request.queued = request.fresh().is_none() && self.dirty.push(number);
    }

    /// Keeps a verdict on a request that was found when it had changed so often.
    pub(crate) fn judge(&mut self, number: Row, changes: u32, verdict: &Arc<Verdict>) {
        let request = &mut self.origins[number as usize];
        if request.changes == changes {
            request.judged = changes;
            let known = request.verdict.replace(Arc::clone(verdict));
            self.tally.replace(known.as_deref(), verdict);
        }
    }

    fn chain_span(&mut self, row: Row, origin: Origin) -> Row {
        let number = self.intern_origin(origin);
        let known_start = self.start(number);
        let top = self
            .spans
            .rows
            .get(self.origins[number as usize].spans_top as usize);
        let new = &self.spans.rows[row as usize];
        let above = top.is_none_or(|top| self.span_rank(new) < self.span_rank(top));
        let request = &mut self.origins[number as usize];
        self.spans.rows[row as usize].next_in_origin =
            std::mem::replace(&mut request.spans_head, row);
        request.spans += 1;
        if above {
            request.spans_top = row;
        }
        self.restart(number, known_start);
        self.touch(number);
        number
    }

    fn intern_origin(&mut self, origin: Origin) -> Row {
        let origins = &mut self.origins;
        *self.by_origin.entry(origin).or_insert_with(|| {
            origins.push(OriginRow {
                origin,
                head: NONE,
                top: NONE,
                spans_head: NONE,
                spans_top: NONE,
                entries: 0,
                spans: 0,
                changes: 0,
                judged: 0,
                queued: false,
                verdict: None,
            });
            (origins.len() - 1) as Row
        })
    }

    fn start(&self, number: Row) -> Option<i64> {
        let request = &self.origins[number as usize];
        self.top(request).map(Top::start)
    }

    /// Sorts a request anew whose start was another.
    fn restart(&mut self, number: Row, known: Option<i64>) {
        let start = self.start(number);
        if start == known {
            return;
        }
        let origin = self.origins[number as usize].origin;
        if let Some(known) = known {
            self.by_start.remove(&(known, origin));
        }
        if let Some(start) = start {
            self.by_start.insert((start, origin), number);
        }
    }
}

impl Dirty {
    fn push(&mut self, number: Row) -> bool {
        if self.rows.len() < DIRTY_MAX {
            self.rows.push_back(number);
            return true;
        }
        self.overflown = true;
        self.sweep = self.sweep.min(number as usize);
        false
    }
}
