//! The call tree: interactions in level order, each with its parent, its children and evidence.
//!
//! The tree borrows its builder and holds numbers only: what a node's entries say is read when it
//! is asked for ([`NodeView`]). Nodes stand breadth first, so a node's children are neighbours
//! and nothing recurses, however deep or wide a tree is. The order is set by depth, then by the
//! caller's journal, then by id: never by a clock.

use std::collections::{HashMap, HashSet};
use std::fmt;

use selvedge_entry::{Direction, Link};
use selvedge_identity::Origin;

use crate::builder::TreeBuilder;
use crate::evidence;
use crate::order;
use crate::resolve::{Resolved, resolve};
use crate::skeleton::NONE;
use crate::skew::Corrections;
use crate::times;
use crate::view::NodeView;

/// A call tree; see the file's head.
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    pub(crate) builder: &'a TreeBuilder,
    pub(crate) resolved: Resolved,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tops: usize,
    /// The nodes of those interactions that are candidates for others.
    pub(crate) candidate_nodes: HashMap<u32, u32>,
    pub(crate) corrections: Corrections,
    flags: Vec<Flag>,
}

/// How a node is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Both sides logged it (a root: its own side, for it has no other).
    Observed,
    /// One side logged it.
    OneSided,
    /// Nobody logged it: the stacks of deeper calls name it.
    Inferred,
    /// Several parents fit; none is drawn.
    Ambiguous,
}

/// What is to be said of a whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// Some interaction is known from deeper stacks only.
    Inferred,
    /// Some node has several possible parents.
    Ambiguous,
    /// Nobody logged the root.
    MissingRoot,
    /// Some node's ancestors are all lost: it hangs on nothing.
    Unanchored,
    /// A hop passed the identifier on without adding itself.
    IgnoredHop,
    /// Clocks are certainly apart.
    Skewed,
    /// Something failed.
    Error,
}

/// A node's number in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub(crate) u32);

impl NodeIndex {
    /// The number itself: 0 is the root.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// One interaction, in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its number in [`Resolved`]; [`NONE`]: a root that nothing names.
    pub(crate) number: u32,
    pub(crate) parent: u32,
    pub(crate) children: (u32, u32),
    pub(crate) level: u32,
    /// The first entry of each direction.
    pub(crate) heads: [u32; 3],
    pub(crate) evidence: Evidence,
    /// For a node that nobody logged: the nearest entry below, and how many levels below.
    pub(crate) witness: u32,
    pub(crate) levels_lost: u32,
}

impl Node {
    /// The first entry that tells of it, the callee's first.
    pub(crate) fn entry(&self) -> Option<u32> {
        [Direction::Inbound, Direction::Outbound, Direction::Internal]
            .into_iter()
            .map(|side| self.heads[side as usize])
            .find(|&head| head != NONE)
    }
}

impl<'a> Tree<'a> {
    pub(crate) fn build(builder: &'a TreeBuilder) -> Self {
        let ranks = builder.clocks.ranks();
        let mut resolved = resolve(builder);
        let mut times = times::Gathering::new(builder, &ranks);
        let (mut nodes, tops) = order::nodes(builder, &ranks, &mut resolved, &mut times);
        evidence::weigh(builder, &resolved, &mut nodes);
        let corrections = times.correct(&nodes);
        let mut candidate_nodes = HashMap::new();
        if !resolved.candidates.is_empty() {
            let named: HashSet<u32> = resolved.candidates.values().flatten().copied().collect();
            let numbered = nodes.iter().zip(0..).map(|(node, at)| (node.number, at));
            candidate_nodes.extend(numbered.filter(|(number, _)| named.contains(number)));
        }
        let mut tree = Self {
            builder,
            resolved,
            nodes,
            tops,
            candidate_nodes,
            corrections,
            flags: Vec::new(),
        };
        tree.flags = tree.find_flags();
        tree
    }

    /// The root request's id.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.builder.origin
    }

    /// Whether the root is there and no node is inferred, ambiguous or without its ancestors.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        use Flag::{Ambiguous, Inferred, MissingRoot, Unanchored};
        let broken = [Inferred, Ambiguous, MissingRoot, Unanchored];
        !self.flags.iter().any(|flag| broken.contains(flag))
    }

    /// What is to be said of it, each once, in a fixed order.
    #[must_use]
    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }

    /// How many nodes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing at all is known of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The root: there is one unless the tree is empty.
    #[must_use]
    pub fn root(&self) -> Option<NodeView<'_>> {
        (!self.is_empty()).then(|| self.node(NodeIndex(0)))
    }

    /// A node.
    ///
    /// # Panics
    /// If the number is another tree's and beyond this one.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> NodeView<'_> {
        NodeView::new(self, index)
    }

    /// All nodes, breadth first: parents before their children.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeView<'_>> {
        (0..self.nodes.len() as u32).map(|at| self.node(NodeIndex(at)))
    }

    /// Nodes without a parent: the root first, then fragments that hang on nothing.
    pub fn tops(&self) -> impl ExactSizeIterator<Item = NodeView<'_>> {
        (0..self.tops as u32).map(|at| self.node(NodeIndex(at)))
    }

    /// All nodes as one reads them: a node, then its children, each with its subtree. With each
    /// comes how far it is to be indented.
    pub fn preorder(&self) -> impl Iterator<Item = (usize, NodeView<'_>)> {
        let mut left: Vec<(usize, u32)> = (0..self.tops as u32).rev().map(|top| (0, top)).collect();
        std::iter::from_fn(move || {
            let (indent, at) = left.pop()?;
            let (from, to) = self.nodes[at as usize].children;
            left.extend((from..to).rev().map(|child| (indent + 1, child)));
            Some((indent, self.node(NodeIndex(at))))
        })
    }

    /// Related contexts that its entries name, each with its node.
    pub fn links(&self) -> impl Iterator<Item = (NodeView<'_>, Link)> {
        let linked = self.builder.briefs.iter().any(|brief| brief.detailed);
        let nodes = if linked { self.nodes.len() } else { 0 };
        (0..nodes as u32).flat_map(|at| {
            let node = self.node(NodeIndex(at));
            let mut links: Vec<Link> = node
                .entries()
                .filter_map(|entry| entry.details.as_ref())
                .flat_map(|details| details.links.iter().copied())
                .collect();
            links.sort_unstable_by_key(|link| (link.origin, link.interaction));
            links.dedup();
            links.into_iter().map(move |link| (node, link))
        })
    }

    /// What a reader should know and no flag says, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut say = |count: usize, what: &str| {
            if count > 0 {
                warnings.push(format!("{count} {what}"));
            }
        };
        say(
            self.builder.refused,
            "entries were refused: they are of another origin or of a depth that no level has",
        );
        say(
            self.builder.skeleton.conflicted.len(),
            "ids stand for several calls that only their ancestors tell apart, or are damaged",
        );
        let roots = self.tops().filter(|top| top.level() == 0).count();
        say(
            if roots > 1 { roots } else { 0 },
            "different roots claim the origin",
        );
        warnings
    }

    fn find_flags(&self) -> Vec<Flag> {
        let mut seen = [false; 7];
        for node in &self.nodes {
            seen[Flag::Inferred as usize] |= node.evidence == Evidence::Inferred;
            seen[Flag::Ambiguous as usize] |= node.evidence == Evidence::Ambiguous;
        }
        seen[Flag::MissingRoot as usize] = self.nodes.first().is_none_or(|n| n.entry().is_none());
        seen[Flag::Unanchored as usize] = self.nodes[..self.tops]
            .iter()
            .any(|top| top.level > 0 && !self.resolved.candidates.contains_key(&top.number));
        seen[Flag::IgnoredHop as usize] = self.builder.ignored_hops > 0;
        seen[Flag::Error as usize] = self.builder.errors > 0;
        seen[Flag::Skewed as usize] = self.corrections.skewed;
        Flag::ALL
            .into_iter()
            .filter(|&flag| seen[flag as usize])
            .collect()
    }
}

impl Flag {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Inferred,
        Self::Ambiguous,
        Self::MissingRoot,
        Self::Unanchored,
        Self::IgnoredHop,
        Self::Skewed,
        Self::Error,
    ];

    /// Its name in JSON, in search and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inferred => "inferred",
            Self::Ambiguous => "ambiguous",
            Self::MissingRoot => "missing_root",
            Self::Unanchored => "unanchored",
            Self::IgnoredHop => "ignored_hop",
            Self::Skewed => "skewed",
            Self::Error => "error",
        }
    }
}

impl Evidence {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::OneSided => "one-sided",
            Self::Inferred => "inferred",
            Self::Ambiguous => "ambiguous",
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
