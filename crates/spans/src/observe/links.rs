//! Who is whose parent in a trace, and what part each span plays.

use std::collections::{BTreeMap, HashMap};

use selvedge_identity::Interaction;

use super::same_service;
use super::told::{Told, tell};
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
    /// Of spans without: whose call they are by their trace state. No cycles either.
    pub(crate) told: BTreeMap<usize, Told>,
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
        let parents = find_parents(trace);
        let mut family = Self {
            told: tell(trace, &parents),
            parents,
            roles: Vec::new(),
            order: Vec::with_capacity(trace.len()),
            twins: twins(trace),
            marks: marks(trace),
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
                at = self.above(one);
            }
            if let Some(met) = at.filter(|&one| walks[one] == from as u32)
                && let Some(start) = path.iter().position(|&one| one == met)
            {
                // What a trace state claims goes before what a span says of its parent.
                let worth = |one: &usize| (!self.told.contains_key(one), *one);
                let least = path[start..].iter().copied().min_by_key(worth);
                let least = least.unwrap_or(met);
                self.parents[least] = None;
                self.told.remove(&least);
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

    /// Who has to be placed first.
    fn above(&self, at: usize) -> Option<usize> {
        let told = || Some(self.told.get(&at)?.caller);
        self.parents[at].or_else(told)
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

/// The sides of every id. A trace is sorted by id, so ids are found by halving; services only of
/// ids that several spans have.
struct Known<'a> {
    trace: &'a [&'a Span],
    /// An id, its sides, and its first span's number; how many it has.
    ids: Vec<(Interaction, Sides, usize, usize)>,
    own: HashMap<(Interaction, &'a str), Sides>,
}

impl<'a> Known<'a> {
    fn of(trace: &'a [&'a Span]) -> Self {
        let mut known = Self {
            trace,
            ids: Vec::with_capacity(trace.len()),
            own: HashMap::new(),
        };
        let mut first = 0;
        for same in trace.chunk_by(|a, b| a.id == b.id) {
            let mut sides = Sides::default();
            for (span, at) in same.iter().zip(first..) {
                sides.add(span, at);
                if same.len() > 1 && !span.service.is_empty() {
                    let own = known.own.entry((span.id, &span.service)).or_default();
                    own.add(span, at);
                }
            }
            known.ids.push((same[0].id, sides, first, same.len()));
            first += same.len();
        }
        known
    }

    fn find(&self, id: Interaction) -> Option<&(Interaction, Sides, usize, usize)> {
        let at = self.ids.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
        Some(&self.ids[at])
    }

    fn all(&self, id: Interaction) -> Sides {
        self.find(id)
            .map_or(Sides::default(), |(_, sides, ..)| *sides)
    }

    /// Those within a service that is named.
    fn own(&self, id: Interaction, service: &str) -> Sides {
        let sides = match self.find(id) {
            Some((_, sides, only, 1)) => {
                let same = !service.is_empty() && *self.trace[*only].service == *service;
                same.then_some(*sides)
            }
            Some(_) => self.own.get(&(id, service)).copied(),
            None => None,
        };
        sides.unwrap_or_default()
    }
}

/// Each span's parent, as far as it is here.
///
/// Of a call's two sides with one id, the caller's is the receiver's parent. The receiver's is the
/// parent of what its service did, and the caller's of what its own service did. A call whose
/// receiver shares its id has been received: another that names it as its parent is a call of that
/// receiver's.
fn find_parents(trace: &[&Span]) -> Vec<Option<usize>> {
    let known = Known::of(trace);
    let parent = |span: &&Span| {
        let receives = span.kind.receives();
        let caller = known.all(span.id).makes;
        if receives && caller.is_some() {
            return caller;
        }
        let id = span.parent?;
        let sides = known.all(id);
        if receives {
            return sides.shared.or(sides.makes).or(sides.other);
        }
        let own = known.own(id, &span.service);
        own.other.or(own.makes).or(sides.other).or(sides.makes)
    };
    trace.iter().map(parent).collect()
}

/// Spans of one id, kind, service and host that differ otherwise: neighbours, as a trace is sorted.
fn twins(trace: &[&Span]) -> Vec<bool> {
    let alike = |a: &&Span, b: &&Span| {
        a.id == b.id && a.kind == b.kind && a.service == b.service && a.host == b.host
    };
    let groups = trace.chunk_by(alike);
    groups
        .flat_map(|same| std::iter::repeat_n(same.len() > 1, same.len()))
        .collect()
}

fn marks(trace: &[&Span]) -> Vec<u64> {
    let start = |at: usize| trace[at].start.map_or(0, |start| start.0 as u64);
    let mut marks: Vec<u64> = (0..trace.len()).map(start).collect();
    let mut first = 0;
    for same in trace.chunk_by(|a, b| a.id == b.id) {
        let mut numbers: Vec<usize> = match same.len() {
            1 => Vec::new(),
            several => (first..first + several).collect(),
        };
        first += same.len();
        numbers.sort_unstable_by_key(|&at| (start(at), at));
        let mut least = 0;
        for at in numbers {
            marks[at] = marks[at].max(least);
            least = marks[at] + 1;
        }
    }
    marks
}
