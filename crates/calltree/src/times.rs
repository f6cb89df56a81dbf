//! Gathers what a tree's calls say of its clocks, for `skew` to solve.

use selvedge_entry::Direction;

use crate::builder::{Brief, TreeBuilder};
use crate::skeleton::NONE;
use crate::skew::{Constraints, Corrections};
use crate::tree::Node;

/// What the nodes so far say of clocks.
pub(crate) struct Gathering<'a> {
    builder: &'a TreeBuilder,
    /// Each clock's number in the constraints, so that nothing depends on the order of arrival.
    ranks: &'a [u32],
    constraints: Constraints,
    /// The nearest entry that tells a time, at each node or above it.
    latest: Vec<u32>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(builder: &'a TreeBuilder, ranks: &'a [u32]) -> Self {
        Self {
            builder,
            ranks,
            constraints: Constraints::new(ranks.len()),
            latest: Vec::new(),
        }
    }

    /// Room for so many nodes.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        self.latest.reserve_exact(nodes);
    }

    /// Takes in the next node, whose parent it knows already.
    #[inline]
    pub(crate) fn add(&mut self, node: &Node) {
        if self.ranks.len() < 2 {
            return;
        }
        let builder = self.builder;
        let cause = match node.parent {
            NONE => NONE,
            parent => self.latest[parent as usize],
        };
        // A span may not say when it began.
        let entry = |side: Direction| {
            let brief = builder.briefs.get(node.heads[side as usize] as usize);
            brief.filter(|brief| brief.at != 0)
        };
        let (received, sent) = (entry(Direction::Inbound), entry(Direction::Outbound));
        let rank = |brief: &Brief| self.ranks[brief.clock as usize];
        if let (Some(cause), Some(start)) = (builder.briefs.get(cause as usize), sent.or(received))
        {
            let earlier = (rank(cause), cause.at);
            self.constraints.before(earlier, (rank(start), start.at));
        }
        // An action beside a call does not cause it, and may be another host's; and of several
        // receivers any may have made the calls below.
        let made = received.filter(|received| !several(builder, node, received));
        if let (Some(sent), Some(received)) = (sent, received) {
            let (caller, callee) = (rank(sent), rank(received));
            if caller != callee {
                let constraints = &mut self.constraints;
                constraints.before((caller, sent.at), (callee, received.at));
                if made.is_some()
                    && let Some((answered, arrived)) = answer(received, sent)
                {
                    constraints.before((callee, answered), (caller, arrived));
                }
            }
        }
        self.latest.push(match (made, sent) {
            (Some(_), _) => node.heads[Direction::Inbound as usize],
            (None, Some(_)) => node.heads[Direction::Outbound as usize],
            (None, None) => cause,
        });
    }

    /// The correction of each clock, by the clock's number in the builder; the first entry's is
    /// taken as right.
    pub(crate) fn correct(self, nodes: &[Node]) -> Corrections {
        let Some(first) = nodes.iter().find_map(Node::entry) else {
            return Corrections::default();
        };
        let ranks = self.ranks;
        let reference = ranks[self.builder.briefs[first as usize].clock as usize];
        let mut solved = self.constraints.solve(reference);
        let by_rank = &solved.clocks;
        solved.clocks = ranks.iter().map(|&rank| by_rank[rank as usize]).collect();
        solved
    }
}

/// Whether receivers with different clocks took the same call. (Of calls that share an id, and
/// that only their ancestors tell apart, each counts as received once.)
fn several(builder: &TreeBuilder, node: &Node, received: &Brief) -> bool {
    let alone = received.next == NONE || builder.skeleton.groups.len() <= node.number as usize;
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
