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
        let mut family = Self {
            parents: find_parents(trace),
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

/// The first spans of an id, or of an id within a service, that somebody may be a child of. Looked
/// up, because somebody may send a million spans of one id.
#[derive(Clone, Copy, Default)]
struct Sides {
    /// It makes a call.
    makes: Option<usize>,
    /// It makes none.
    other: Option<usize>,
    /// It receives a call whose id is its own.
    shared: Option<usize>,
}

impl Sides {
    fn add(&mut self, span: &Span, at: usize) {
        let side = match span.kind.sends() {
            true => &mut self.makes,
            false => &mut self.other,
        };
        side.get_or_insert(at);
        if span.shared && !span.kind.sends() {
            self.shared.get_or_insert(at);
        }
    }
}

/// Each span's parent, as far as it is here.
///
/// Of a call's two sides with one id, the caller's is the receiver's parent. The receiver's is the
/// parent of what its service did, and the caller's of what its own service did. A call whose
/// receiver shares its id has been received: another that names it as its parent is a call of that
/// receiver's.
fn find_parents(trace: &[&Span]) -> Vec<Option<usize>> {
    let mut all: HashMap<Interaction, Sides> = HashMap::with_capacity(trace.len());
    let mut own: HashMap<(Interaction, &str), Sides> = HashMap::with_capacity(trace.len());
    for (at, span) in trace.iter().enumerate() {
        all.entry(span.id).or_default().add(span, at);
        if !span.service.is_empty() {
            let own = own.entry((span.id, &*span.service)).or_default();
            own.add(span, at);
        }
    }
    let parent = |span: &&Span| {
        let receives = span.kind.receives();
        let caller = all.get(&span.id).and_then(|sides| sides.makes);
        if receives && caller.is_some() {
            return caller;
        }
        let id = span.parent?;
        let sides = all.get(&id).copied().unwrap_or_default();
        if receives {
            return sides.shared.or(sides.makes).or(sides.other);
        }
        let own = own.get(&(id, &*span.service)).copied().unwrap_or_default();
        own.other.or(own.makes).or(sides.other).or(sides.makes)
    };
    trace.iter().map(parent).collect()
}

/// Spans of one id, kind, service and host that differ otherwise.
fn twins(trace: &[&Span]) -> Vec<bool> {
    let identity = |span: &Span| (span.id, span.kind, span.service.clone(), span.host.clone());
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
