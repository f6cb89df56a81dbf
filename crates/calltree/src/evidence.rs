//! How each node is known, and for one that nobody logged, from which entry.

use selvedge_entry::Direction;

use crate::builder::TreeBuilder;
use crate::resolve::Resolved;
use crate::skeleton::NONE;
use crate::tree::{Evidence, Node};

/// Settles every node's evidence. Nodes stand breadth first, so going backwards meets children
/// before their parents.
pub(crate) fn weigh(builder: &TreeBuilder, resolved: &Resolved, nodes: &mut [Node]) {
    let groups = builder.skeleton.groups.len();
    let mut any_lost = false;
    for node in nodes.iter_mut() {
        let [inbound, outbound, internal] =
            [Direction::Inbound, Direction::Outbound, Direction::Internal]
                .map(|side| node.heads[side as usize] != NONE);
        let callee = inbound || internal;
        node.evidence = match (callee, outbound) {
            (true, true) => Evidence::Observed,
            (true, false) if node.level == 0 => Evidence::Observed,
            (true, false) | (false, true) => Evidence::OneSided,
            (false, false) => Evidence::Inferred,
        };
        any_lost |= node.evidence == Evidence::Inferred;
        let leaf = (node.number as usize).checked_sub(groups);
        let leaf = leaf.and_then(|at| resolved.leaves.get(at));
        if leaf.is_some_and(|leaf| leaf.ambiguous) || resolved.candidates.contains_key(&node.number)
        {
            node.evidence = Evidence::Ambiguous;
        }
    }
    if any_lost {
        find_witnesses(nodes);
    }
}

/// The nearest entry below each lost node; of several the one of the first child.
fn find_witnesses(nodes: &mut [Node]) {
    for at in (1..nodes.len()).rev() {
        let node = &nodes[at];
        if node.parent == NONE {
            continue;
        }
        let (witness, distance) = match node.entry() {
            Some(entry) => (entry, 1),
            None if node.witness == NONE => continue,
            None => (node.witness, node.levels_lost + 1),
        };
        let parent = &mut nodes[node.parent as usize];
        let nearer = parent.witness == NONE || distance <= parent.levels_lost;
        if parent.entry().is_none() && nearer {
            parent.witness = witness;
            parent.levels_lost = distance;
        }
    }
}
