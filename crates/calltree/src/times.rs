//! Gathers what a tree's calls say of its clocks, for `skew` to solve.

use selvedge_entry::Direction;

use crate::builder::{Brief, TreeBuilder};
use crate::skeleton::NONE;
use crate::skew::{Constraints, Corrections};
use crate::tree::Node;

/// The correction of each clock, by the clock's number in the builder.
pub(crate) fn correct(builder: &TreeBuilder, ranks: &[u32], nodes: &[Node]) -> Corrections {
    let Some(first) = nodes.iter().find_map(Node::entry) else {
        return Corrections::default();
    };
    // By rank, so that nothing depends on the order of arrival.
    let reference = ranks[builder.briefs[first as usize].clock as usize];
    let mut constraints = Constraints::new(ranks.len());
    if ranks.len() > 1 {
        gather(builder, nodes, ranks, &mut constraints);
    }
    let mut solved = constraints.solve(reference);
    let by_rank = &solved.clocks;
    solved.clocks = ranks.iter().map(|&rank| by_rank[rank as usize]).collect();
    solved
}

fn gather(builder: &TreeBuilder, nodes: &[Node], ranks: &[u32], constraints: &mut Constraints) {
    // The nearest entry that tells a time, at each node or above it.
    let mut latest = vec![NONE; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let entry = |side: Direction| builder.briefs.get(node.heads[side as usize] as usize);
        let (received, sent) = (entry(Direction::Inbound), entry(Direction::Outbound));
        let cause = if node.parent == NONE {
            NONE
        } else {
            latest[node.parent as usize]
        };
        if let (Some(cause), Some(start)) = (builder.briefs.get(cause as usize), sent.or(received))
        {
            let clock = |brief: &Brief| (ranks[brief.clock as usize], brief.at);
            constraints.before(clock(cause), clock(start));
        }
        if let (Some(sent), Some(received)) = (sent, received) {
            let (caller, callee) = (ranks[sent.clock as usize], ranks[received.clock as usize]);
            if caller != callee {
                constraints.before((caller, sent.at), (callee, received.at));
                if let Some((answered, arrived)) = answer(received, sent) {
                    constraints.before((callee, answered), (caller, arrived));
                }
            }
        }
        latest[at] = [Direction::Inbound, Direction::Outbound, Direction::Internal]
            .into_iter()
            .map(|side| node.heads[side as usize])
            .find(|&head| head != NONE)
            .unwrap_or(cause);
    }
}

/// When the answer left the callee, and when it had certainly reached the caller. A callee may
/// note its end after the caller did (it still cleans up), but not its answer's head.
fn answer(received: &Brief, sent: &Brief) -> Option<(i64, i64)> {
    let known = |ns: u64| (ns != u64::MAX).then_some(ns);
    let (left, arrived) = match (known(received.head), known(sent.head)) {
        (Some(left), Some(arrived)) => (left, arrived),
        (Some(left), None) => (left, known(sent.end)?),
        (None, _) => (known(received.end)?, known(sent.end)?),
    };
    Some((
        received.at.saturating_add_unsigned(left),
        sent.at.saturating_add_unsigned(arrived),
    ))
}
