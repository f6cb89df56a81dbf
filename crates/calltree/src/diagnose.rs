//! What went wrong in a tree, and what it waited for (D12).
//!
//! **Sources.** A failure travels up: the caller of a call that failed mostly fails too. So a
//! failed node is an *echo* if a call that it made failed and was not made good (by a call of the
//! same kind, sent after that one had failed, that went well); otherwise it is a *source*. Lost
//! nodes pass failures on. A source whose echoes reach the root is why the request failed; the
//! others were handled on the way.
//!
//! **Critical path.** Backwards from the root's end: what was the last call to return before this
//! moment? That call is on the path, and so is what was last before it was sent. What is left of
//! a node's time is its own. A call that outlasts its caller counts until the caller's end. Windows
//! of calls are the caller's (one clock, no skew) wherever the caller logged them; those that only
//! callees logged may overlap by a twentieth and still be one after the other, because clocks of
//! different hosts agree no better.
//!
//! Limits: a source is what logs can show; a fault that nobody logged is found at its caller. A
//! caller that gave up is told from a callee that failed by durations alone, never by clocks.

use std::cmp::Reverse;
use std::collections::HashMap;

use selvedge_entry::{Direction, Outcome, Text};

use crate::skeleton::NONE;
use crate::tree::{NodeIndex, Tree};
use crate::view::NodeView;

/// How a source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The service itself says that it failed.
    Failed,
    /// Its caller gave up while it still worked, or finished well but too late.
    TimedOut,
    /// Its caller says that the call failed, and the service has logged nothing of it.
    Unreached,
    /// It answered well and in time, and its caller says that the call failed.
    Broken,
}

/// Where a failure began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The node that failed first.
    pub node: NodeIndex,
    /// How.
    pub fault: Fault,
    /// What its entry says.
    pub error: Option<Text>,
    /// Nodes that failed because of it, from its caller upwards.
    pub echoes: Vec<NodeIndex>,
    /// Whether the root failed because of it.
    pub reaches_root: bool,
    /// Where a call that timed out spent its time.
    pub slowest: Option<NodeIndex>,
}

/// A node's part of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The node.
    pub node: NodeIndex,
    /// Nanoseconds that the request waited for the node's own work.
    pub own_ns: u64,
    /// Nanoseconds that it waited for the way there and back.
    pub network_ns: u64,
}

/// What a tree tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Those that reach the root first, then by depth and order.
    pub sources: Vec<Source>,
    /// Parents before their children; empty if the root has no duration.
    pub critical_path: Vec<Step>,
}

impl Tree<'_> {
    /// Finds the sources of failures, and the critical path.
    #[must_use]
    pub fn diagnose(&self) -> Diagnosis {
        let windows = Windows::new(self);
        let critical_path = match windows.of[..] {
            [Some(whole), ..] => critical_path(self, &windows, 0, whole),
            _ => Vec::new(),
        };
        Diagnosis {
            sources: sources(self, &windows),
            critical_path,
        }
    }
}

impl Fault {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unreached => "unreached",
            Self::Broken => "broken",
        }
    }
}

fn sources(tree: &Tree<'_>, windows: &Windows) -> Vec<Source> {
    let mut failures = Failures {
        failed: vec![false; tree.len()],
        unmended: vec![false; tree.len()],
    };
    let mut explained = vec![false; tree.len()];
    for at in (0..tree.len()).rev() {
        let node = tree.node(NodeIndex(at as u32));
        explained[at] = failures.explain(&node);
        let lost = tree.nodes[at].entry().is_none();
        failures.failed[at] = node.outcome() == Outcome::Error || lost && explained[at];
    }
    let mut sources: Vec<Source> = (0..tree.len())
        .filter(|&at| failures.failed[at] && !explained[at])
        .map(|at| {
            let node = tree.node(NodeIndex(at as u32));
            let fault = fault(&node);
            let echoes = failures.echoes(&node);
            let slow = fault == Fault::TimedOut;
            Source {
                node: node.index(),
                fault,
                error: node.error(),
                reaches_root: echoes.last().unwrap_or(&node.index()).get() == 0,
                echoes,
                slowest: slow.then(|| slowest(tree, windows, node.index())),
            }
        })
        .collect();
    sources.sort_by_key(|source| (!source.reaches_root, source.node));
    sources
}

struct Failures {
    failed: Vec<bool>,
    /// Failed, and its caller did not make it good.
    unmended: Vec<bool>,
}

impl Failures {
    /// Whether some child failed that the node did not make good.
    fn explain(&mut self, node: &NodeView<'_>) -> bool {
        let failed = |child: &NodeView<'_>| self.failed[child.index().get()];
        if !node.children().any(|child| failed(&child)) {
            return false;
        }
        // When the last call of each kind that went well was sent.
        let mut mended: HashMap<Kind<'_>, i64> = HashMap::new();
        for child in node.children().filter(|child| !failed(child)) {
            if let Some(sent) = child.outbound() {
                let last = mended.entry(kind(&child)).or_insert(i64::MIN);
                *last = sent.at.0.max(*last);
            }
        }
        let mut explained = false;
        for child in node.children() {
            if self.failed[child.index().get()] && !is_mended(&child, &mended) {
                self.unmended[child.index().get()] = true;
                explained = true;
            }
        }
        explained
    }

    /// The ancestors that failed because a node did, nearest first.
    fn echoes(&self, node: &NodeView<'_>) -> Vec<NodeIndex> {
        let mut echoes = Vec::new();
        let mut at = *node;
        while self.unmended[at.index().get()]
            && let Some(caller) = at.parent()
            && self.failed[caller.index().get()]
        {
            echoes.push(caller.index());
            at = caller;
        }
        echoes
    }
}

type Kind<'t> = (Option<&'t Text>, Option<&'t Text>);

fn kind<'t>(node: &NodeView<'t>) -> Kind<'t> {
    (node.service(), node.operation())
}

/// Whether a call like this failed one was sent after it had failed, and went well. (Both times
/// are the caller's.)
fn is_mended(failed: &NodeView<'_>, mended: &HashMap<Kind<'_>, i64>) -> bool {
    let returned = failed.outbound().and_then(|sent| {
        let duration = sent.duration_ns?;
        Some(sent.at.0.saturating_add_unsigned(duration))
    });
    let again = mended.get(&kind(failed));
    returned
        .zip(again)
        .is_some_and(|(returned, again)| *again >= returned)
}

fn fault(node: &NodeView<'_>) -> Fault {
    let (callee, caller) = (node.inbound(), node.outbound());
    let Some(callee) = callee else {
        return Fault::Unreached;
    };
    let gave_up = caller.is_some_and(|caller| {
        let longer = match (caller.duration_ns, callee.duration_ns) {
            (Some(caller), Some(callee)) => callee >= caller,
            (Some(_), None) => true,
            (None, _) => false,
        };
        // Who was told the same failure did not give up: its own end is merely a little earlier.
        let told = callee.outcome == Outcome::Error
            && callee.status != 0
            && caller.status == callee.status;
        caller.outcome == Outcome::Error && longer && !told
    });
    match callee.outcome {
        _ if gave_up => Fault::TimedOut,
        Outcome::Error => Fault::Failed,
        _ => Fault::Broken,
    }
}

/// When each node's call began and ended, on the root's clock as far as that can be told.
struct Windows {
    of: Vec<Option<(i64, i64)>>,
}

impl Windows {
    fn new(tree: &Tree<'_>) -> Self {
        let own = (0..tree.len() as u32).map(|at| {
            let node = tree.node(NodeIndex(at));
            let sides = [Direction::Outbound, Direction::Inbound];
            sides.into_iter().find_map(|side| window(&node, side))
        });
        let own: Vec<Option<(i64, i64)>> = own.collect();
        let mut of = own.clone();
        // A call whose end nobody logged took at least as long as what it called.
        for (at, node) in tree.nodes.iter().enumerate().rev() {
            if node.parent != NONE && own[node.parent as usize].is_none() {
                let parent = of[node.parent as usize];
                of[node.parent as usize] = match (parent, of[at]) {
                    (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                    (known, new) => known.or(new),
                };
            }
        }
        Self { of }
    }
}

/// From when to when one side says that a call took, corrected.
fn window(node: &NodeView<'_>, side: Direction) -> Option<(i64, i64)> {
    let (entry, observation) = node.head(side)?;
    let from = node.corrected(entry, observation.at);
    Some((from, from.saturating_add_unsigned(observation.duration_ns?)))
}

/// Two calls whose windows callees logged are one after the other though they overlap by this
/// part of the shorter.
const OVERLAP_PART: i64 = 20;

/// A node whose part of the critical path is being found.
struct Frame {
    step: Step,
    /// Children as (end, start, node); the one to end last is last.
    children: Vec<(i64, i64, u32)>,
    from: i64,
    /// Everything from here on is accounted for.
    until: i64,
    /// How far a child whose window its callee logged may reach beyond that.
    overlap: i64,
}

impl Frame {
    fn open(tree: &Tree<'_>, windows: &Windows, at: u32, (from, until): (i64, i64)) -> Self {
        let node = tree.node(NodeIndex(at));
        let mut children: Vec<(i64, i64, u32)> = node
            .children()
            .filter_map(|child| {
                let (from, to) = windows.of[child.index().get()]?;
                Some((to, from, child.index().0))
            })
            .collect();
        for (to, _, _) in &mut children {
            *to = until.min(*to);
        }
        children.sort_unstable();
        Self {
            step: Step {
                node: NodeIndex(at),
                own_ns: 0,
                network_ns: network(&node, until - from),
            },
            children,
            from,
            until,
            overlap: 0,
        }
    }

    /// The last child that was waited for before what is accounted for, and its window in here.
    fn next(&mut self, tree: &Tree<'_>) -> Option<(u32, (i64, i64))> {
        while let Some((to, from, child)) = self.children.pop() {
            let part = to.saturating_sub(from) / OVERLAP_PART;
            // One that ends in the midst of what is accounted for was not waited for.
            let beyond = to.saturating_sub(self.until);
            let follows = beyond <= 0
                || beyond <= self.overlap.min(part)
                    && window(&tree.node(NodeIndex(child)), Direction::Outbound).is_none();
            let (from, to) = (from.max(self.from), to.min(self.until));
            if follows && to > from {
                self.step.own_ns += (self.until - to) as u64;
                self.until = from;
                self.overlap = part;
                return Some((child, (from, to)));
            }
        }
        None
    }

    fn close(mut self) -> Step {
        let own = self.step.own_ns + (self.until - self.from) as u64;
        let network = self.step.network_ns.min(own);
        self.step.network_ns = network;
        self.step.own_ns = own - network;
        self.step
    }
}

/// The critical path below and including `top`, within a window.
fn critical_path(tree: &Tree<'_>, windows: &Windows, top: u32, window: (i64, i64)) -> Vec<Step> {
    let mut path = Vec::new();
    let mut frames = vec![Frame::open(tree, windows, top, window)];
    while let Some(frame) = frames.last_mut() {
        match frame.next(tree) {
            Some((child, window)) => frames.push(Frame::open(tree, windows, child, window)),
            None => path.extend(frames.pop().map(Frame::close)),
        }
    }
    path.sort_unstable_by_key(|step| step.node);
    path
}

/// What of a call's window was not spent in the callee.
fn network(node: &NodeView<'_>, window: i64) -> u64 {
    match (
        node.inbound().and_then(|entry| entry.duration_ns),
        node.outbound(),
    ) {
        (Some(inside), Some(_)) => (window.max(0) as u64).saturating_sub(inside),
        _ => 0,
    }
}

/// The node at which a call that timed out spent most of its time: below whatever never ended,
/// the one with most time of its own.
fn slowest(tree: &Tree<'_>, windows: &Windows, top: NodeIndex) -> NodeIndex {
    let mut node = tree.node(top);
    let endless = |node: &NodeView<'_>| {
        let mut entries = [node.inbound(), node.outbound()].into_iter().flatten();
        entries.any(|entry| entry.duration_ns.is_none())
    };
    while let Some(child) = node.children().rev().find(endless) {
        node = child;
    }
    // The callee's own view: its caller stopped looking.
    let whole = window(&node, Direction::Inbound).or(windows.of[node.index().get()]);
    let path = whole.map(|whole| critical_path(tree, windows, node.index().0, whole));
    let longest = path
        .unwrap_or_default()
        .into_iter()
        .max_by_key(|step| (step.own_ns, Reverse(step.node)));
    longest.map_or(node.index(), |step| step.node)
}
