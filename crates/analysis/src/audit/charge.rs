//! What one request charges to whom.

use std::collections::BTreeMap;

use selvedge_calltree::{Evidence, NodeView};
use selvedge_entry::{Outcome, Text};
use selvedge_identity::Consumer;
use serde::{Deserialize, Serialize};

use crate::request::Request;

/// What calls add up to. Sums stop at the greatest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests in which the calls were made.
    pub requests: u64,
    /// Calls that are known: the sum of the four kinds of evidence.
    pub calls: u64,
    /// Those that both sides logged (of a root: its own side, for it has no other).
    pub observed: u64,
    /// Those that one side logged.
    pub one_sided: u64,
    /// Those that nobody logged, and that deeper calls prove.
    pub inferred: u64,
    /// Those of which several readings fit.
    pub ambiguous: u64,
    /// Those that may not have been handled: the caller got no answer and the callee logged
    /// nothing, or they may be another call seen twice.
    pub unproven: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were told no (HTTP 4xx).
    pub refused: u64,
    /// Those of which nobody knows how they ended.
    pub unknown: u64,
    /// Work, in the service's units, of the calls whose work is known.
    pub work: u64,
    /// Calls whose work nobody knows.
    pub work_unknown: u64,
    /// Bytes of requests' bodies, as far as they are known.
    pub request_bytes: u64,
    /// Bytes of answers' bodies, as far as they are known.
    pub response_bytes: u64,
    /// Calls whose bytes nobody knows.
    pub bytes_unknown: u64,
}

impl Totals {
    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        let add = |own: &mut u64, more: u64| *own = own.saturating_add(more);
        add(&mut self.requests, other.requests);
        add(&mut self.calls, other.calls);
        add(&mut self.observed, other.observed);
        add(&mut self.one_sided, other.one_sided);
        add(&mut self.inferred, other.inferred);
        add(&mut self.ambiguous, other.ambiguous);
        add(&mut self.unproven, other.unproven);
        add(&mut self.errors, other.errors);
        add(&mut self.refused, other.refused);
        add(&mut self.unknown, other.unknown);
        add(&mut self.work, other.work);
        add(&mut self.work_unknown, other.work_unknown);
        add(&mut self.request_bytes, other.request_bytes);
        add(&mut self.response_bytes, other.response_bytes);
        add(&mut self.bytes_unknown, other.bytes_unknown);
    }
}

/// What a request charges, by consumer and service.
#[must_use]
pub fn charges(request: &Request<'_>) -> BTreeMap<(Consumer, Option<Text>), Totals> {
    charge(request).by_consumer
}

/// What a request charges.
#[derive(Debug, Default)]
pub(super) struct Charges {
    pub(super) by_consumer: BTreeMap<(Consumer, Option<Text>), Totals>,
    /// Calls below the root whose callers nobody names, by the service that was called.
    pub(super) callerless: BTreeMap<Option<Text>, u64>,
}

pub(super) fn charge(request: &Request<'_>) -> Charges {
    let causer = request.client.map_or(Consumer::Unknown, Consumer::Client);
    let mut charges = Charges::default();
    for node in request.tree.nodes() {
        if begun_inside(&node) {
            continue;
        }
        let totals = totals(request, &node);
        let caller = request.caller(&node).cloned().map(Consumer::Service);
        if caller.is_none() && node.level() > 0 {
            let service = request.service(&node).cloned();
            *charges.callerless.entry(service).or_default() += 1;
        }
        for consumer in [Some(causer.clone()), caller].into_iter().flatten() {
            let line = (consumer, request.service(&node).cloned());
            charges.by_consumer.entry(line).or_default().merge(&totals);
        }
    }
    for totals in charges.by_consumer.values_mut() {
        totals.requests = 1;
    }
    charges
}

/// A root that a timer or a batch began is no call: nobody consumed it.
fn begun_inside(node: &NodeView<'_>) -> bool {
    let called = node.inbound().is_some() || node.outbound().is_some();
    node.level() == 0 && !called && node.evidence() != Evidence::Inferred
}

fn totals(request: &Request<'_>, node: &NodeView<'_>) -> Totals {
    let is = |evidence: Evidence| u64::from(node.evidence() == evidence);
    let ended = |outcome: Outcome| u64::from(node.outcome() == outcome);
    let deliveries = node.deliveries();
    let works: Vec<u64> = deliveries.iter().filter_map(|entry| entry.work).collect();
    let sides = node.inbound().into_iter().chain(node.outbound());
    let bytes = sides
        .into_iter()
        .find_map(|entry| request.bytes.get(&entry.handle));
    let (request_bytes, response_bytes) = bytes.copied().unwrap_or_default();
    Totals {
        requests: 0,
        calls: 1,
        observed: is(Evidence::Observed),
        one_sided: is(Evidence::OneSided),
        inferred: is(Evidence::Inferred),
        ambiguous: is(Evidence::Ambiguous),
        unproven: u64::from(unanswered(node) || maybe_twice(node)),
        errors: ended(Outcome::Error),
        refused: ended(Outcome::Refused),
        unknown: ended(Outcome::Unknown),
        work: works.iter().fold(0, |sum, work| sum.saturating_add(*work)),
        work_unknown: u64::from(works.is_empty()),
        request_bytes,
        response_bytes,
        bytes_unknown: u64::from(bytes.is_none()),
    }
}

/// Only the caller tells of it, and it got no answer.
fn unanswered(node: &NodeView<'_>) -> bool {
    let callee = node.inbound().is_some() || !node.actions().is_empty();
    let answered =
        node.status().is_some() || matches!(node.outcome(), Outcome::Ok | Outcome::Refused);
    node.outbound().is_some() && !callee && !answered && node.children().len() == 0
}

/// Its entries may be of a call that stands in the tree already.
fn maybe_twice(node: &NodeView<'_>) -> bool {
    node.evidence() == Evidence::Ambiguous
        && node
            .candidates()
            .iter()
            .any(|other| other.level() == node.level())
}
