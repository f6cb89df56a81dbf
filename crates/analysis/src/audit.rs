//! Who consumed which service how often and how much (D14).
//!
//! Every call is charged twice, to consumers of different kinds, whose lines are never added up
//! together: to the *client* whose request caused it, however deep it is, and to the *service*
//! that made it. Requests that name no client are charged to `unknown`. A line adds up the calls
//! of one consumer to one service over one period; the period is that in which the request began,
//! so that a line's calls are exactly those of the requests that [`charges`] finds in it.
//!
//! A line says how its calls are known, and bounds what cannot be known: `calls_min` counts what
//! is proven to have been handled, `calls_max` adds calls of which nobody names the service or the
//! calling service, and what journals' gaps may hide ([`crate::Losses`]).
//!
//! Lines are ordered by consumer, service and period. A fold keeps only the first so many behind
//! a given line, so that it is bounded and a reader goes on page by page: a line that is kept was
//! never beyond the others, so its numbers are whole.

mod charge;
mod line;

use std::collections::BTreeMap;

use selvedge_entry::{Text, Timestamp};
use selvedge_identity::Consumer;

pub use self::charge::{Totals, charges};
pub use self::line::Line;

use self::charge::charge;

use crate::request::Request;
use crate::seen::{Overlap, Seen};
use crate::{Losses, Period};

/// What names a line, in the order of lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    /// Who consumed.
    pub consumer: Consumer,
    /// What; `None`: calls to a service that nobody names.
    pub service: Option<Text>,
    /// When the period begins; `None` where all of time is one.
    pub from: Option<Timestamp>,
}

/// Which lines an audit adds up, and in what stretches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this consumer only.
    pub consumer: Option<Consumer>,
    /// Of this service only; `Some(None)`: of calls to services that nobody names.
    pub service: Option<Option<Text>>,
    /// Over what stretches.
    pub period: Period,
    /// Only lines behind this one.
    pub after: Option<LineKey>,
    /// So many lines at most.
    pub limit: usize,
}

/// The lines of many requests; see the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    wanted: Wanted,
    seen: Seen,
    lines: BTreeMap<LineKey, Totals>,
    /// Calls to services that nobody names, by consumer and period.
    unnamed: BTreeMap<(Consumer, Option<Timestamp>), u64>,
    /// Calls whose callers nobody names, by the service that was called, if that is known.
    callerless: BTreeMap<(Option<Text>, Option<Timestamp>), u64>,
}

impl Audit {
    /// No requests yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            seen: Seen::default(),
            lines: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            callerless: BTreeMap::new(),
        }
    }

    /// Counts a request, if its origin was not counted yet.
    pub fn add(&mut self, request: &Request<'_>) {
        if !self.seen.insert(request.tree.origin()) {
            return;
        }
        let from = self
            .wanted
            .period
            .around(request.start)
            .map(|(from, _)| from);
        let charges = charge(request);
        for (service, calls) in charges.callerless {
            *self.callerless.entry((service, from)).or_default() += calls;
        }
        for ((consumer, service), totals) in charges.by_consumer {
            if self
                .wanted
                .consumer
                .as_ref()
                .is_some_and(|wanted| *wanted != consumer)
            {
                continue;
            }
            if service.is_none() {
                *self.unnamed.entry((consumer.clone(), from)).or_default() += totals.calls;
            }
            if self
                .wanted
                .service
                .as_ref()
                .is_some_and(|wanted| *wanted != service)
            {
                continue;
            }
            let key = LineKey {
                consumer,
                service,
                from,
            };
            if self.wanted.after.as_ref().is_none_or(|after| key > *after) {
                self.lines.entry(key).or_default().merge(&totals);
            }
        }
        self.bound();
    }

    /// Adds all that another fold of the same wants counted.
    ///
    /// # Errors
    /// When both counted the same origin; then nothing was added.
    pub fn merge(&mut self, other: Self) -> Result<(), Overlap> {
        self.seen.merge(other.seen)?;
        for (key, totals) in other.lines {
            self.lines.entry(key).or_default().merge(&totals);
        }
        for (key, calls) in other.unnamed {
            *self.unnamed.entry(key).or_default() += calls;
        }
        for (key, calls) in other.callerless {
            *self.callerless.entry(key).or_default() += calls;
        }
        self.bound();
        Ok(())
    }

    /// How many requests were counted.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen.len()
    }

    /// The lines in order, and the last of them if there are more behind it. `from` and `to` are
    /// the range that was asked for: periods at its ends are cut by it.
    #[must_use]
    pub fn lines(
        &self,
        losses: &Losses,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> (Vec<Line>, Option<LineKey>) {
        let lines = self
            .lines
            .iter()
            .take(self.wanted.limit)
            .map(|(key, totals)| {
                let open = self.open(key);
                Line::new(key, totals, open, self.wanted.period, losses, (from, to))
            });
        let lines: Vec<Line> = lines.collect();
        let more = self.lines.len() > lines.len();
        let last = self.lines.keys().nth(lines.len().wrapping_sub(1));
        (lines, last.filter(|_| more).cloned())
    }

    /// Calls that nobody charges to a line, and that may be its.
    fn open(&self, key: &LineKey) -> u64 {
        let to_nobody = self.unnamed.get(&(key.consumer.clone(), key.from));
        let callerless = |service| self.callerless.get(&(service, key.from));
        // What a client's requests called is the client's, whoever called.
        let by_nobody = match key.consumer {
            Consumer::Service(_) => [callerless(key.service.clone()), callerless(None)],
            Consumer::Client(_) | Consumer::Unknown => [None, None],
        };
        let open = by_nobody.into_iter().chain([to_nobody]).flatten();
        open.fold(0, |sum, calls| sum.saturating_add(*calls))
    }

    /// One line more than is shown, to tell whether there is one.
    fn bound(&mut self) {
        while self.lines.len() > self.wanted.limit.saturating_add(1) {
            self.lines.pop_last();
        }
        if self.lines.len() <= self.wanted.limit {
            return;
        }
        // What belongs to consumers beyond the last line is not asked for.
        let last = self
            .lines
            .last_key_value()
            .map(|(key, _)| key.consumer.clone());
        let beyond = |(consumer, _): &(Consumer, Option<Timestamp>)| last.as_ref() < Some(consumer);
        while self
            .unnamed
            .last_key_value()
            .is_some_and(|(key, _)| beyond(key))
        {
            self.unnamed.pop_last();
        }
    }
}
