//! What surviving identifiers can anchor, told by slow and simple code of its own.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_calltree::{Evidence, Observation, Tree};
use selvedge_entry::Direction;

use crate::world::World;

/// The standard for ids that are unique: knows the truth, and which parts of it the surviving
/// stacks spell out.
pub(crate) struct Anchored {
    /// Calls that some surviving stack names.
    pub(crate) named: BTreeSet<usize>,
    /// (child, parent) pairs that some surviving stack spells out, and the root's children.
    pub(crate) edges: BTreeSet<(usize, usize)>,
    /// Who logged each call: (callee, caller).
    pub(crate) logged: BTreeMap<usize, (bool, bool)>,
    /// Levels from a call to the nearest logged one below it.
    pub(crate) below: BTreeMap<usize, u32>,
}

impl Anchored {
    pub(crate) fn new(world: &World, kept: &[(usize, Observation)]) -> Self {
        let mut anchored = Self {
            named: BTreeSet::new(),
            edges: BTreeSet::new(),
            logged: BTreeMap::new(),
            below: BTreeMap::new(),
        };
        for (call, entry) in kept {
            let logged = anchored.logged.entry(*call).or_default();
            match entry.direction {
                Direction::Inbound => logged.0 = true,
                _ => logged.1 = true,
            }
            let mut at = *call;
            for distance in 0..entry.place.ids().len() {
                anchored.named.insert(at);
                let Some(parent) = world.calls[at].parent else {
                    break;
                };
                let spelled = distance + 1 < entry.place.ids().len();
                if spelled || world.calls[at].depth == 1 {
                    anchored.edges.insert((at, parent));
                }
                at = parent;
            }
        }
        // Calls are numbered parents first, so going backwards meets children first.
        for &(child, parent) in anchored.edges.iter().rev() {
            let below = if anchored.logged.contains_key(&child) {
                0
            } else {
                anchored.below[&child]
            };
            let known = anchored.below.entry(parent).or_insert(u32::MAX);
            *known = (*known).min(below + 1);
        }
        anchored
    }

    /// Compares a tree with the standard.
    pub(crate) fn check(&self, world: &World, tree: &Tree<'_>) {
        let name = |call: usize| {
            let call = &world.calls[call];
            let id = call.id.to_string();
            (call.depth, id)
        };
        let mut calls: BTreeMap<(u32, String), usize> = BTreeMap::new();
        for &call in &self.named {
            assert!(
                calls.insert(name(call), call).is_none(),
                "the made-up ids are not unique"
            );
        }
        let find = |node: selvedge_calltree::NodeView<'_>| -> Option<usize> {
            let prefix = node.id()?.to_string();
            let level = node.level();
            let mut found = calls
                .range((level, prefix.clone())..)
                .take_while(|((l, id), _)| *l == level && id.starts_with(&prefix))
                .map(|(_, call)| *call);
            let first = found.next();
            assert!(first.is_some(), "node {prefix} at {level} is no real call");
            assert!(
                found.next().is_none(),
                "the made-up prefixes are not unique"
            );
            first
        };
        let mut named = BTreeSet::new();
        let mut edges = BTreeSet::new();
        let root = (0..world.calls.len())
            .find(|&call| world.calls[call].parent.is_none())
            .expect("a root");
        for node in tree.nodes() {
            let Some(call) = find(node) else {
                assert!(node.level() == 0 && !self.named.contains(&root));
                continue;
            };
            assert!(named.insert(call), "call {call} is there twice");
            let logged = self.logged.get(&call).copied().unwrap_or_default();
            let wanted = match logged {
                (true, true) => Evidence::Observed,
                (true, false) if call == root => Evidence::Observed,
                (false, false) => Evidence::Inferred,
                _ => Evidence::OneSided,
            };
            assert_eq!(node.evidence(), wanted, "call {call}");
            let lost = node.inferred_from().map(|(_, lost)| lost);
            assert_eq!(lost, (logged == (false, false)).then(|| self.below[&call]));
        }
        for node in tree.nodes() {
            if let Some(parent) = node.parent() {
                let child = find(node).expect("a node with a parent has an id");
                edges.insert((child, find(parent).unwrap_or(root)));
            }
        }
        assert_eq!(named, self.named);
        assert_eq!(edges, self.edges);
    }
}

/// Level, chain, the parent's chain if one alone fits, how many fit.
type Interaction = (u32, Vec<u8>, Option<Vec<u8>>, usize);

/// The standard for ids that repeat: knows surviving identifiers only. Compares all with all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consistent {
    pub(crate) interactions: BTreeSet<Interaction>,
    /// Entries that fit several interactions.
    pub(crate) ambiguous: BTreeSet<String>,
}

impl Consistent {
    /// For identifiers whose ids are all one byte.
    pub(crate) fn new(kept: &[(usize, Observation)]) -> Self {
        let chain = |entry: &Observation| -> Vec<u8> {
            entry.place.ids().map(|id| id.as_bytes()[0]).collect()
        };
        let mut mentions: BTreeSet<(u32, Vec<u8>)> = BTreeSet::new();
        for (_, entry) in kept {
            let chain = chain(entry);
            for at in 0..chain.len() {
                mentions.insert((entry.place.depth() - at as u32, chain[at..].to_vec()));
            }
        }
        let says_more = |a: &(u32, Vec<u8>), b: &(u32, Vec<u8>)| {
            a.0 == b.0 && a.1 != b.1 && a.1.starts_with(&b.1)
        };
        let longest: Vec<&(u32, Vec<u8>)> = mentions
            .iter()
            .filter(|mention| !mentions.iter().any(|other| says_more(other, mention)))
            .collect();
        let fitting = |level: u32, chain: &[u8]| -> Vec<&Vec<u8>> {
            let fits = |(l, known): &&&(u32, Vec<u8>)| *l == level && known.starts_with(chain);
            longest
                .iter()
                .filter(fits)
                .map(|(_, known)| known)
                .collect()
        };
        let mut result = Self::default();
        for (level, chain) in &longest {
            let parents = match (level, chain.len()) {
                (0, _) => Vec::new(),
                (1, 1) => longest
                    .iter()
                    .filter(|(level, _)| *level == 0)
                    .map(|(_, c)| c)
                    .collect(),
                (_, 1) => Vec::new(),
                _ => fitting(level - 1, &chain[1..]),
            };
            let parent = (parents.len() == 1).then(|| parents[0].clone());
            result
                .interactions
                .insert((*level, chain.clone(), parent, parents.len()));
        }
        for (_, entry) in kept {
            if fitting(entry.place.depth(), &chain(entry)).len() > 1 {
                result.ambiguous.insert(entry.handle.to_string());
            }
        }
        result
    }
}
