//! Who is whose parent in a trace, and what part each span plays.

use std::collections::HashMap;

use selvedge_identity::Interaction;

use super::same_service;
use crate::Span;

/// What a span is to a call tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Receives,
    Makes,
    Inside,
}

/// A trace's spans, by their numbers.
#[derive(Debug)]
pub(crate) struct Family {
    /// Each span's parent, where that is here. No cycles.
    pub(crate) parents: Vec<Option<usize>>,
    pub(crate) roles: Vec<Role>,
    /// Parents before their children.
    pub(crate) order: Vec<usize>,
    /// Spans that contradict another of the same identity.
    pub(crate) twins: Vec<bool>,
    /// Each span's start, or a little later where one of its id would have the same.
    pub(crate) marks: Vec<u64>,
    /// A cycle was cut here.
    pub(crate) cut: Vec<bool>,
    pub(crate) conflicts: u64,
    pub(crate) cycles: u64,
}

impl Family {
    /// `trace`: sorted, without repeats.
    pub(crate) fn of(trace: &[&Span]) -> Self {
        let mut by_id: HashMap<Interaction, Vec<usize>> = HashMap::with_capacity(trace.len());
        for (at, span) in trace.iter().enumerate() {
            by_id.entry(span.id).or_default().push(at);
        }
        let parents = (0..trace.len())
            .map(|at| find_parent(trace, &by_id, at))
            .collect();
        let mut family = Self {
            parents,
            roles: Vec::new(),
            order: Vec::with_capacity(trace.len()),
            twins: twins(trace),
            marks: marks(trace, &by_id),
            cut: vec![false; trace.len()],
            conflicts: 0,
            cycles: 0,
        };
        family.conflicts = family.twins.iter().filter(|&&twin| twin).count() as u64;
        family.put_in_order();
        family.roles = (0..trace.len()).map(|at| family.role(trace, at)).collect();
        family
    }

    /// Walks up from each span to one that is in order already; who is met twice on one walk closes
    /// a cycle, which is cut at its least span.
    fn put_in_order(&mut self) {
        const NEW: u32 = u32::MAX;
        let mut walks = vec![NEW; self.parents.len()];
        let mut path = Vec::new();
        for from in 0..self.parents.len() {
            let mut at = Some(from);
            while let Some(one) = at.filter(|&one| walks[one] == NEW) {
                walks[one] = from as u32;
                path.push(one);
                at = self.parents[one];
            }
            if let Some(met) = at.filter(|&one| walks[one] == from as u32)
                && let Some(start) = path.iter().position(|&one| one == met)
            {
                let least = path[start..].iter().copied().min().unwrap_or(met);
                self.parents[least] = None;
                self.cut[least] = true;
                self.cycles += 1;
                // The cut span comes first, then those below it, down to the walk's start.
                let cut = path[start..].iter().position(|&one| one == least);
                let cut = start + cut.unwrap_or(0);
                let behind = path.split_off(cut + 1);
                let entry = path.split_off(start);
                self.order.extend(entry.into_iter().rev());
                self.order.extend(behind.into_iter().rev());
            }
            self.order.extend(path.drain(..).rev());
        }
    }

    fn role(&self, trace: &[&Span], at: usize) -> Role {
        let span = trace[at];
        if span.kind.receives() {
            return Role::Receives;
        }
        if span.kind.sends() {
            return Role::Makes;
        }
        let parent = self.parents[at].map(|parent| trace[parent]);
        match parent {
            Some(parent) if !same_service(span, parent) => Role::Receives,
            _ => Role::Inside,
        }
    }
}

/// Spans of one id: of a call's two sides the caller's is the receiver's parent; the receiver's is
/// the parent of what its service did, and the caller's of what its own service did.
fn find_parent(
    trace: &[&Span],
    by_id: &HashMap<Interaction, Vec<usize>>,
    at: usize,
) -> Option<usize> {
    let span = trace[at];
    if span.kind.receives() {
        let mut sides = by_id[&span.id].iter().copied();
        let caller = sides.find(|&other| trace[other].kind.sends());
        if caller.is_some() {
            return caller;
        }
    }
    let candidates = by_id.get(&span.parent?)?.iter().copied();
    candidates
        .filter(|&other| other != at)
        .min_by_key(|&other| {
            let (parent, named) = (trace[other], !span.service.is_empty());
            let own = named && parent.service == span.service;
            let rank = match (span.kind.receives(), parent.kind.sends()) {
                // A call whose receiver shares its id has been received: this is a call of that one's.
                (true, false) if parent.shared => 0,
                (true, true) => 1,
                (true, false) => 2,
                (false, sends) => 2 * u8::from(!own) + u8::from(sends),
            };
            (rank, other)
        })
}

/// Spans of one id, kind, service and host that differ otherwise.
fn twins(trace: &[&Span]) -> Vec<bool> {
    let identity = |span: &Span| (span.id, span.kind, span.service.clone(), span.host());
    let mut counts: HashMap<_, u32> = HashMap::with_capacity(trace.len());
    for span in trace {
        *counts.entry(identity(span)).or_default() += 1;
    }
    trace
        .iter()
        .map(|span| counts[&identity(span)] > 1)
        .collect()
}

fn marks(trace: &[&Span], by_id: &HashMap<Interaction, Vec<usize>>) -> Vec<u64> {
    let start = |at: usize| trace[at].start.map_or(0, |start| start.0 as u64);
    let mut marks: Vec<u64> = (0..trace.len()).map(start).collect();
    for same in by_id.values().filter(|same| same.len() > 1) {
        let mut same = same.clone();
        same.sort_unstable_by_key(|&at| (start(at), at));
        let mut least = 0;
        for at in same {
            marks[at] = marks[at].max(least);
            least = marks[at] + 1;
        }
    }
    marks
}
