//! What the surviving identifiers can anchor, and what a tree anchored: two independent answers.
//!
//! The oracle knows the truth and walks up from every surviving entry as far as its stack
//! reaches. A tree's nodes are recognised by the entries that they hold, and nodes without any by
//! the true caller of their children, never by ids.

use std::ops::AddAssign;

use selvedge_calltree::{Evidence, Tree};
use selvedge_entry::Direction;

use crate::system::System;

/// Counts, summed over trees.
#[derive(Clone, Copy, Default)]
pub(crate) struct Verdict {
    /// Calls, except roots, that some surviving entry is of.
    pub(crate) surviving: u64,
    /// Those of which the nearest surviving ancestor (or the root) is found, by every link of the
    /// way.
    pub(crate) anchored: u64,
    /// The same, as the oracle says.
    pub(crate) possible: u64,
    /// Surviving calls whose caller's entries are all lost.
    pub(crate) orphans: u64,
    /// Those of them that are anchored.
    pub(crate) repaired: u64,
    /// Surviving calls with every link up to the root.
    pub(crate) whole: u64,
    /// Edges drawn, right or wrong.
    pub(crate) edges: u64,
    /// Edges drawn to another than the caller, and entries put to another's call.
    pub(crate) wrong: u64,
    /// Edges that the oracle has and the tree has not, or the other way round.
    pub(crate) unlike: u64,
    pub(crate) nodes: u64,
    pub(crate) ambiguous: u64,
    /// For each edge the other calls of the caller's level that are named: each can fit by chance.
    pub(crate) candidates: u64,
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, more: Self) {
        self.surviving += more.surviving;
        self.anchored += more.anchored;
        self.possible += more.possible;
        self.orphans += more.orphans;
        self.repaired += more.repaired;
        self.whole += more.whole;
        self.edges += more.edges;
        self.wrong += more.wrong;
        self.unlike += more.unlike;
        self.nodes += more.nodes;
        self.ambiguous += more.ambiguous;
        self.candidates += more.candidates;
    }
}

/// Compares a tree with the truth and with what was possible with stacks of `k` ids.
pub(crate) fn judge(
    system: &System,
    k: usize,
    kept: &[(usize, Direction)],
    tree: &Tree<'_>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let calls = &system.calls;
    let (mut logged, mut named, mut spelled) = (
        vec![false; calls.len()],
        vec![false; calls.len()],
        vec![false; calls.len()],
    );
    for &(number, _) in kept {
        logged[number] = true;
        let mut at = number;
        for left in (0..k).rev() {
            named[at] = true;
            let Some(parent) = calls[at].parent else {
                break;
            };
            // The root needs no id: the origin names it.
            spelled[at] |= left > 0 || calls[at].level == 1;
            at = parent;
        }
    }

    let drawn = drawn(system, tree, &mut verdict);
    let mut on_level = vec![0u64; calls.iter().map(|call| call.level).max().unwrap_or(0) + 1];
    for (call, named) in calls.iter().zip(&named) {
        on_level[call.level] += u64::from(*named);
    }
    for number in 1..calls.len() {
        verdict.unlike += u64::from(drawn[number] != spelled[number]);
        if spelled[number] {
            verdict.candidates += on_level[calls[number].level - 1].saturating_sub(1);
        }
        let Some(parent) = calls[number].parent.filter(|_| logged[number]) else {
            continue;
        };
        let anchored = climb(system, &drawn, number, |at| logged[at]);
        verdict.surviving += 1;
        verdict.anchored += u64::from(anchored);
        verdict.possible += u64::from(climb(system, &spelled, number, |at| logged[at]));
        verdict.orphans += u64::from(!logged[parent]);
        verdict.repaired += u64::from(!logged[parent] && anchored);
        verdict.whole += u64::from(climb(system, &drawn, number, |_| false));
    }
    verdict
}

/// Whether links lead from a call up to one where `stop` says so, or to the root.
fn climb(system: &System, linked: &[bool], from: usize, stop: impl Fn(usize) -> bool) -> bool {
    let mut at = from;
    while let Some(parent) = system.calls[at].parent {
        if !linked[at] {
            return false;
        }
        if stop(parent) {
            return true;
        }
        at = parent;
    }
    true
}

/// For each call whether the tree draws it below its true caller.
fn drawn(system: &System, tree: &Tree<'_>, verdict: &mut Verdict) -> Vec<bool> {
    let mut drawn = vec![false; system.calls.len()];
    // Which call each node is of: by its entries, else by its first child's true caller.
    let mut is_of: Vec<Option<usize>> = vec![None; tree.len()];
    let parents: Vec<Option<usize>> = tree
        .nodes()
        .map(|node| Some(node.parent()?.index().get()))
        .collect();
    for (at, node) in tree.nodes().enumerate() {
        verdict.nodes += 1;
        let ambiguous = node.evidence() == Evidence::Ambiguous;
        verdict.ambiguous += u64::from(ambiguous);
        let mut entries = node.entries().map(System::call_of);
        is_of[at] = entries.next();
        // Entries that may be of several calls are said to be so.
        let strangers = entries.filter(|&call| Some(call) != is_of[at]).count() as u64;
        verdict.wrong += if ambiguous { 0 } else { strangers };
    }
    // Breadth first: going backwards meets children before their parents.
    for at in (0..tree.len()).rev() {
        let caller = is_of[at].and_then(|call| system.calls[call].parent);
        if let Some(parent) = parents[at] {
            is_of[parent] = is_of[parent].or(caller);
        }
    }
    for at in 0..tree.len() {
        let (Some(call), Some(parent)) = (is_of[at], parents[at]) else {
            continue;
        };
        verdict.edges += 1;
        let right = system.calls[call].parent == is_of[parent];
        verdict.wrong += u64::from(!right);
        drawn[call] |= right;
    }
    drawn
}
