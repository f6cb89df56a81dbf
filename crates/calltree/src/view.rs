//! What is known of one node, read from its entries when asked.

use std::fmt;

use selvedge_entry::{Direction, Outcome, Text, Timestamp};
use selvedge_identity::StackId;

use crate::skeleton::NONE;
use crate::tree::{Evidence, Node, NodeIndex, Tree};
use crate::{Handle, Observation};

/// A node of a tree: one interaction, as the service that received it.
#[derive(Clone, Copy)]
pub struct NodeView<'t> {
    tree: &'t Tree<'t>,
    index: NodeIndex,
}

impl<'t> NodeView<'t> {
    pub(crate) fn new(tree: &'t Tree<'_>, index: NodeIndex) -> Self {
        Self { tree, index }
    }

    /// Its number in the tree.
    #[must_use]
    pub fn index(&self) -> NodeIndex {
        self.index
    }

    fn raw(&self) -> &'t Node {
        &self.tree.nodes[self.index.get()]
    }

    /// The interaction's id, as far as it is known; `None` for a root that nothing names.
    #[must_use]
    pub fn id(&self) -> Option<StackId> {
        let number = self.raw().number as usize;
        let groups = &self.tree.builder.skeleton.groups;
        match groups.get(number) {
            Some(group) => Some(group.chain.own()),
            None if self.raw().number == NONE => None,
            None => Some(self.tree.resolved.leaves[number - groups.len()].chain[0]),
        }
    }

    /// Calls between it and the root.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.raw().level
    }

    /// Its depth, as identifiers say it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.tree.builder.levels.depth(self.raw().level)
    }

    /// The node that called it. The root has none, and neither has a node whose ancestors are all
    /// lost or that is ambiguous.
    #[must_use]
    pub fn parent(&self) -> Option<NodeView<'t>> {
        let parent = self.raw().parent;
        (parent != NONE).then(|| Self::new(self.tree, NodeIndex(parent)))
    }

    /// The nodes that it called, in order.
    #[must_use]
    pub fn children(
        &self,
    ) -> impl ExactSizeIterator<Item = NodeView<'t>> + DoubleEndedIterator + use<'t> {
        let (from, to) = self.raw().children;
        let tree = self.tree;
        (from..to).map(move |child| Self::new(tree, NodeIndex(child)))
    }

    /// How it is known.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.raw().evidence
    }

    /// For an inferred node: the nearest entry below it, and how many levels are lost from there
    /// up to and including it.
    #[must_use]
    pub fn inferred_from(&self) -> Option<(&'t Handle, u32)> {
        let node = self.raw();
        if node.entry().is_some() || node.witness == NONE {
            return None;
        }
        let witness = self.tree.builder.observation(node.witness);
        Some((&witness.handle, node.levels_lost))
    }

    /// For an ambiguous node: the nodes that fit (the first 64 of them). They are possible parents, of one level less;
    /// or, where its entries say too little to tell which of several calls they are of, those
    /// calls, of its own level.
    #[must_use]
    pub fn candidates(&self) -> Vec<NodeView<'t>> {
        let numbers = self.tree.resolved.candidates.get(&self.raw().number);
        let mut indices: Vec<u32> = numbers
            .into_iter()
            .flatten()
            .filter_map(|number| self.tree.candidate_nodes.get(number).copied())
            .collect();
        indices.sort_unstable();
        let tree = self.tree;
        indices
            .into_iter()
            .map(|at| Self::new(tree, NodeIndex(at)))
            .collect()
    }

    /// The receiving side's entry: of several deliveries the one of the least handle.
    #[must_use]
    pub fn inbound(&self) -> Option<&'t Observation> {
        Some(self.head(Direction::Inbound)?.1)
    }

    /// The calling side's entry.
    #[must_use]
    pub fn outbound(&self) -> Option<&'t Observation> {
        Some(self.head(Direction::Outbound)?.1)
    }

    /// All receiving sides' entries, by handle: one call that several hosts received.
    #[must_use]
    pub fn deliveries(&self) -> Vec<&'t Observation> {
        self.side(Direction::Inbound)
    }

    /// What the service noted that it did meanwhile, by handle. Actions are no calls and no nodes.
    #[must_use]
    pub fn actions(&self) -> Vec<&'t Observation> {
        self.side(Direction::Internal)
    }

    /// All its entries: received, sent, actions.
    pub fn entries(&self) -> impl Iterator<Item = &'t Observation> + use<'t> {
        let mut all = self.side(Direction::Inbound);
        all.extend(self.side(Direction::Outbound));
        all.extend(self.side(Direction::Internal));
        all.into_iter()
    }

    /// The service that received the call: as it says, as its caller says, or as its own calls
    /// tell.
    #[must_use]
    pub fn service(&self) -> Option<&'t Text> {
        let action = self.head(Direction::Internal).map(|(_, entry)| entry);
        let own = self.inbound().or(action).map(|entry| &entry.service);
        own.or_else(|| self.outbound()?.peer.as_ref())
            .or_else(|| {
                self.children()
                    .find_map(|child| Some(&child.outbound()?.service))
            })
            .or_else(|| {
                self.children()
                    .find_map(|child| child.inbound()?.peer.as_ref())
            })
    }

    /// The host that received the call, known likewise.
    #[must_use]
    pub fn host(&self) -> Option<&'t Text> {
        let action = self.head(Direction::Internal).map(|(_, entry)| entry);
        let own = self.inbound().or(action).map(|entry| &entry.host);
        own.or_else(|| {
            self.children()
                .find_map(|child| Some(&child.outbound()?.host))
        })
        .or_else(|| self.outbound()?.peer_host.as_ref())
        .or_else(|| {
            self.children()
                .find_map(|child| child.inbound()?.peer_host.as_ref())
        })
    }

    /// What was asked: `POST /orders`.
    #[must_use]
    pub fn operation(&self) -> Option<&'t Text> {
        self.inbound()
            .or(self.outbound())
            .map(|entry| &entry.action)
    }

    /// When it was received (or, where only the caller logged it, sent), on the root's clock as
    /// far as that can be told.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        let (number, entry) = self.timed()?;
        Some(Timestamp(self.corrected(number, entry.at)))
    }

    /// The same on the clock that it was read from.
    #[must_use]
    pub fn start_raw(&self) -> Option<Timestamp> {
        Some(self.timed()?.1.at)
    }

    /// How many nanoseconds the correction may be off; `None` where nothing bounds it.
    #[must_use]
    pub fn skew_bound(&self) -> Option<u64> {
        let (number, _) = self.timed()?;
        let clock = self.tree.builder.briefs[number as usize].clock;
        self.tree.corrections.clocks[clock as usize].bound
    }

    /// Nanoseconds it took, by the same entry as its start, or by its caller's where that has no
    /// end.
    #[must_use]
    pub fn duration_ns(&self) -> Option<u64> {
        let own = self.inbound().and_then(|entry| entry.duration_ns);
        own.or_else(|| self.outbound()?.duration_ns)
    }

    /// Nanoseconds from sent to received, corrected for skew; `None` unless both sides logged it.
    #[must_use]
    pub fn latency_in_ns(&self) -> Option<i64> {
        let (sent, received) = (self.outbound()?, self.inbound()?);
        let heads = self.raw().heads;
        let sent = self.corrected(heads[Direction::Outbound as usize], sent.at);
        let received = self.corrected(heads[Direction::Inbound as usize], received.at);
        Some(received.saturating_sub(sent))
    }

    /// How it ended: as the callee says, else as the caller saw it; a failure that either saw
    /// counts.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let of = |entry: Option<&Observation>| entry.map_or(Outcome::Unknown, |e| e.outcome);
        let (callee, caller) = (of(self.inbound()), of(self.outbound()));
        match (callee, caller) {
            (Outcome::Error, _) | (_, Outcome::Error) => Outcome::Error,
            (Outcome::Unknown, caller) => caller,
            (callee, _) => callee,
        }
    }

    /// HTTP status, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let status = |entry: &Observation| (entry.status != 0).then_some(entry.status);
        let own = self.inbound().and_then(status);
        own.or_else(|| self.outbound().and_then(status))
    }

    /// Why it failed; a failure that nobody explained reads as its status.
    #[must_use]
    pub fn error(&self) -> Option<Text> {
        let failed = |entry: &&Observation| entry.outcome == Outcome::Error;
        let entry = self
            .inbound()
            .filter(failed)
            .or(self.outbound().filter(failed))?;
        Some(entry.error.clone().unwrap_or_else(|| match entry.status {
            0 => "failed".into(),
            status => format!("status {status}").into(),
        }))
    }

    /// The quantum of work it cost, in its service's units.
    #[must_use]
    pub fn work(&self) -> Option<u64> {
        self.inbound().and_then(|entry| entry.work)
    }

    /// Attributes by name: the callee's, then what only the caller says.
    #[must_use]
    pub fn attributes(&self) -> Vec<(&'t str, &'t str)> {
        let mut all: Vec<(&str, &str)> = Vec::new();
        let sides = [self.inbound(), self.outbound()];
        for details in sides
            .into_iter()
            .flatten()
            .filter_map(|e| e.details.as_ref())
        {
            for (key, value) in &details.attributes {
                if !all.iter().any(|(known, _)| *known == &**key) {
                    all.push((key, value));
                }
            }
        }
        all
    }

    /// What its entries say was odd, each once.
    #[must_use]
    pub fn odd(&self) -> Vec<&'t Text> {
        let mut all: Vec<&Text> = self
            .entries()
            .filter_map(|entry| entry.details.as_ref())
            .flat_map(|details| &details.flags)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// A time on an entry's clock, corrected.
    pub(crate) fn corrected(&self, entry: u32, at: Timestamp) -> i64 {
        let clock = self.tree.builder.briefs[entry as usize].clock;
        let offset = self.tree.corrections.clocks[clock as usize].offset;
        at.0.saturating_sub(offset)
    }

    /// The entry whose times are the node's.
    pub(crate) fn timed(&self) -> Option<(u32, &'t Observation)> {
        let number = self.raw().entry()?;
        Some((number, self.tree.builder.observation(number)))
    }

    /// The first entry of a side, with its number.
    pub(crate) fn head(&self, side: Direction) -> Option<(u32, &'t Observation)> {
        let head = self.raw().heads[side as usize];
        (head != NONE).then(|| (head, self.tree.builder.observation(head)))
    }

    fn side(&self, side: Direction) -> Vec<&'t Observation> {
        let builder = self.tree.builder;
        let number = self.raw().number as usize;
        let groups = &builder.skeleton.groups;
        let numbers: Vec<u32> = match groups.get(number) {
            Some(group) => builder.list(group.heads[side as usize]).collect(),
            None => {
                let leaf = number.checked_sub(groups.len());
                let leaf = leaf.and_then(|at| self.tree.resolved.leaves.get(at));
                leaf.map(|leaf| leaf.entries.clone()).unwrap_or_default()
            }
        };
        let mut entries: Vec<&Observation> = numbers
            .into_iter()
            .map(|number| builder.observation(number))
            .filter(|entry| entry.direction == side)
            .collect();
        entries.sort_by(|a, b| a.handle.cmp(&b.handle));
        entries
    }
}

impl fmt::Debug for NodeView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeView")
            .field("id", &self.id())
            .field("level", &self.level())
            .field("evidence", &self.evidence())
            .finish_non_exhaustive()
    }
}
