//! Real traces with whole services' logs taken away, nothing protected: what the stacks that are
//! left spell out is anchored, and nothing else is (D9).
//!
//! The standard is a set: every (call, caller) pair that some surviving identifier holds side by
//! side. It shares no code with the tree, and knows no rule of repair. The files are no part of
//! the project: where they are absent, this says so and is skipped.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use selvedge_calltree::{Evidence, Observation, Place, TreeBuilder};
use selvedge_entry::Direction;
use selvedge_identity::{Origin, RequestIdentifier, StackId};
use selvedge_spans::{observe, read};

use crate::real::files;

/// A call by its depth and id.
type Call = (u32, String);

/// What surviving identifiers spell out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spelled {
    calls: BTreeSet<Call>,
    /// Of those, the ones that somebody logged.
    logged: BTreeSet<Call>,
    /// (call, caller).
    edges: BTreeSet<(Call, Call)>,
}

fn spelled(kept: &[Observation]) -> Spelled {
    let mut spelled = Spelled::default();
    for entry in kept {
        let ids: Vec<String> = entry.place.ids().map(|id| id.to_string()).collect();
        let depth = entry.place.depth();
        let calls: Vec<Call> = ids
            .into_iter()
            .zip(0..)
            .map(|(id, up)| (depth - up, id))
            .collect();
        spelled.logged.insert(calls[0].clone());
        let pairs = calls
            .windows(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()));
        spelled.edges.extend(pairs);
        spelled.calls.extend(calls);
    }
    // An origin has one root: who is called at depth 1 is called by it.
    let roots: Vec<Call> = spelled
        .calls
        .iter()
        .filter(|call| call.0 == 0)
        .cloned()
        .collect();
    if let [root] = &roots[..] {
        let first = spelled.calls.iter().filter(|call| call.0 == 1);
        let called = first.map(|call| (call.clone(), root.clone()));
        spelled.edges.extend(called.collect::<Vec<_>>());
    }
    spelled
}

fn built(origin: Origin, kept: Vec<Observation>) -> Spelled {
    let builder = TreeBuilder::batch(origin, kept);
    let tree = builder.tree();
    let mut built = Spelled::default();
    for node in tree.nodes() {
        let call =
            |node: selvedge_calltree::NodeView<'_>| Some((node.depth(), node.id()?.to_string()));
        let Some(own) = call(node) else { continue };
        assert_ne!(node.evidence(), Evidence::Ambiguous);
        if node.evidence() != Evidence::Inferred {
            built.logged.insert(own.clone());
        }
        if let Some(parent) = node.parent().and_then(call) {
            built.edges.insert((own.clone(), parent));
        }
        assert!(built.calls.insert(own), "a call is there twice");
    }
    built
}

/// The same entry with a stack of the newest `k` ids.
fn cut(entry: &Observation, k: usize) -> Observation {
    let mut stack: Vec<StackId> = entry.place.ids().take(k).collect();
    stack.reverse();
    let (origin, depth) = (entry.place.origin(), entry.place.depth());
    let identifier = RequestIdentifier::from_parts(origin, depth, k as u8, &stack);
    Observation {
        place: Place::new(&identifier.expect("as before"), None),
        ..entry.clone()
    }
}

#[test]
fn of_real_traces_without_whole_services_all_that_stacks_spell_is_anchored_and_nothing_else() {
    let mut paths = files("zipkin");
    paths.extend(files("jaeger-crisp"));
    paths.extend(files("jaeger-deathstarbench"));
    let drawn = RandomState::new();
    let mut inferred = 0;
    for path in &paths {
        let bytes = std::fs::read(path).expect("a file");
        let observed = observe(&read(&bytes).expect("spans").spans);
        for (origin, whole) in observed.requests {
            let truth = spelled(&whole);
            for (round, k) in [2, 3, 4, 6, 8].into_iter().cycle().take(20).enumerate() {
                let seed = if round < 5 {
                    round as u64
                } else {
                    drawn.hash_one(round)
                };
                let percent = [5, 25, 50, 75][round % 4];
                let lost = |service: &str| {
                    let bytes = service.bytes();
                    let mixed = bytes.fold(seed, |mix, byte| {
                        (mix ^ u64::from(byte))
                            .wrapping_mul(0x0100_0000_01b3)
                            .rotate_left(23)
                    });
                    mixed % 100 < percent
                };
                let only = [None, Some(Direction::Inbound), Some(Direction::Outbound)][round % 3];
                let survives = |entry: &&Observation| {
                    !lost(&entry.service) && only.is_none_or(|only| entry.direction == only)
                };
                let kept: Vec<Observation> = whole
                    .iter()
                    .filter(survives)
                    .map(|entry| cut(entry, k))
                    .collect();
                let wanted = spelled(&kept);
                assert!(wanted.edges.is_subset(&truth.edges), "the cut is wrong");
                let found = built(origin, kept);
                let place = format!("{} {origin} k {k}, seed {seed}", path.display());
                assert_eq!(found.edges, wanted.edges, "{place}");
                assert_eq!(found.calls, wanted.calls, "{place}");
                assert_eq!(found.logged, wanted.logged, "{place}");
                inferred += wanted.calls.len() - wanted.logged.len();
            }
        }
    }
    assert!(paths.is_empty() || inferred > 1000, "{inferred}");
}
