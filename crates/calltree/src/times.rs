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

/// How many nodes' entries are looked up ahead, so that their cache misses overlap.
const AHEAD: usize = 32;

fn gather(builder: &TreeBuilder, nodes: &[Node], ranks: &[u32], constraints: &mut Constraints) {
    // The nearest entry that tells a time, at each node or above it.
    let mut latest = vec![NONE; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        if at.is_multiple_of(AHEAD) {
            let window = nodes[at..].iter().take(AHEAD);
            builder.touch(window.flat_map(|node| node.heads));
        }
        // A span may not say when it began.
        let entry = |side: Direction| {
            let brief = builder.briefs.get(node.heads[side as usize] as usize);
            brief.filter(|brief| brief.at != 0)
        };
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
                if !several(builder, node, received)
                    && let Some((answered, arrived)) = answer(received, sent)
                {
                    constraints.before((callee, answered), (caller, arrived));
                }
            }
        }
        // An action beside a call does not cause it, and may be another host's; and of several
        // receivers any may have made the calls below.
        let made = received.filter(|received| !several(builder, node, received));
        latest[at] = match (made, sent) {
            (Some(_), _) => node.heads[Direction::Inbound as usize],
            (None, Some(_)) => node.heads[Direction::Outbound as usize],
            (None, None) => cause,
        };
    }
}

/// Whether receivers with different clocks took the same call. (Of calls that share an id, and
/// that only their ancestors tell apart, each counts as received once.)
fn several(builder: &TreeBuilder, node: &Node, received: &Brief) -> bool {
    let alone = builder.skeleton.groups.len() <= node.number as usize;
    let next = |brief: &&Brief| builder.briefs.get(brief.next as usize);
    !alone && std::iter::successors(Some(received), next).any(|other| other.clock != received.clock)
}

/// When the answer left the callee, and when it had certainly reached the caller. A callee may
/// note its end after the caller did (it still cleans up), but not its answer's head. Nothing is
/// known of a message, nor where the callee worked on while its caller had given up.
fn answer(received: &Brief, sent: &Brief) -> Option<(i64, i64)> {
    let known = |ns: u64| (ns != u64::MAX).then_some(ns);
    let (left, arrived) = match (known(received.head), known(sent.head)) {
        (Some(left), Some(arrived)) => (left, arrived),
        (Some(left), None) => (left, known(sent.end)?),
        (None, _) => (known(received.end)?, known(sent.end)?),
    };
    let answered = left <= arrived && !received.one_way && !sent.one_way;
    answered.then_some((
        received.at.saturating_add_unsigned(left),
        sent.at.saturating_add_unsigned(arrived),
    ))
}
