//! Call paths: the ways that a kind of request goes through a system, how often, how fast, how
//! well.
//!
//! A *kind* is the service and operation of a request's root. A *path* goes from the root to a
//! call that made no further call, named by services and operations. A request that calls the
//! same service twice takes its path twice: every retry and every hedge is a call of its own.
//!
//! What is kept is bounded: of each kind the paths of the least hashes, and of all kinds those of
//! the least hashes; what is over is added up in a *remainder*. A path that is kept was never
//! outside of the least, so its numbers are whole, whatever the order and split of requests. (To
//! keep the most frequent instead would need to have counted all.)
//!
//! Limits: calls whose ancestors are all lost stand on no path; they are counted apart. A request
//! whose root is lost is of the kind of which the root's service is known and the operation is
//! not. Paths of more than [`STEPS_MAX`] steps go to the remainder.

mod kind;
mod row;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use selvedge_calltree::{Evidence, NodeView};
use selvedge_entry::{Outcome, Text};
use selvedge_identity::Origin;
use serde::{Deserialize, Serialize};

pub use self::row::PathRow;

use self::kind::{KindTotals, hash};
use crate::request::Request;
use crate::seen::{Overlap, Seen};
use crate::{Latency, paths::row::rows};

/// The longest path that is kept.
pub const STEPS_MAX: usize = 256;

/// Requests that a path shows as examples.
pub(crate) const EXAMPLES: usize = 3;

/// A service and what it was asked, as far as anybody says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step {
    /// The service.
    pub service: Option<Text>,
    /// The operation, as in `POST /orders`.
    pub operation: Option<Text>,
}

/// Which kinds of requests are counted; what is not given may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// The root's service.
    pub service: Option<Text>,
    /// The root's operation.
    pub operation: Option<Text>,
}

/// The paths of many requests; see the file's head.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    wanted: Kind,
    kinds_max: usize,
    paths_max: usize,
    seen: Seen,
    /// By the hash of the kind.
    kinds: BTreeMap<(u64, Step), KindTotals>,
    /// All kinds that are over, added up.
    others: KindTotals,
    unplaced: u64,
}

/// What the calls at the ends of one path, or of many, add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PathTotals {
    pub(crate) requests: u64,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) inferred: u64,
    pub(crate) latency: Latency,
    pub(crate) request_latency: Latency,
    pub(crate) examples: Examples,
    pub(crate) error_examples: Examples,
}

/// The newest few requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Examples(pub(crate) Vec<(i64, Origin)>);

impl Paths {
    /// No requests yet, of the wanted kinds. Keeps up to `paths_max` paths of each of up to
    /// `kinds_max` kinds.
    #[must_use]
    pub fn new(wanted: Kind, kinds_max: usize, paths_max: usize) -> Self {
        Self {
            wanted,
            kinds_max,
            paths_max,
            seen: Seen::default(),
            kinds: BTreeMap::new(),
            others: KindTotals::default(),
            unplaced: 0,
        }
    }

    /// Counts a request, if it is of a wanted kind and its origin was not counted yet.
    pub fn add(&mut self, request: &Request<'_>) {
        let Some(root) = request.tree.root() else {
            return;
        };
        let kind = Step::of(request, &root);
        if !self.wanted.is(&kind) || !self.seen.insert(request.tree.origin()) {
            return;
        }
        let key = (hash(std::slice::from_ref(&kind)), kind);
        let example = (request.start.0, request.tree.origin());
        let walked = walk(request, example);
        self.unplaced += walked.unplaced;
        let duration = root.duration_ns();
        let totals = self.kinds.entry(key).or_default();
        totals.requests += 1;
        for (path, mut of_path) in walked.paths {
            of_path.requests = 1;
            duration
                .into_iter()
                .for_each(|ns| of_path.request_latency.add(ns));
            totals.add(path, &of_path, self.paths_max);
        }
        self.bound();
    }

    /// Adds all that another fold of the same wants and bounds counted.
    ///
    /// # Errors
    /// When both counted the same origin; then nothing was added.
    pub fn merge(&mut self, other: Self) -> Result<(), Overlap> {
        self.seen.merge(other.seen)?;
        self.unplaced += other.unplaced;
        self.others.merge(other.others, 0);
        for (key, totals) in other.kinds {
            let own = self.kinds.entry(key).or_default();
            own.merge(totals, self.paths_max);
        }
        self.bound();
        Ok(())
    }

    /// How many requests were counted.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen.len()
    }

    /// Calls that stand on no path: their ancestors are all lost, or cannot be told.
    #[must_use]
    pub fn unplaced(&self) -> u64 {
        self.unplaced
    }

    /// The rows: kinds by name; in each the most taken path first, the remainder last.
    #[must_use]
    pub fn rows(&self) -> Vec<PathRow> {
        rows(&self.kinds, &self.others)
    }

    fn bound(&mut self) {
        while self.kinds.len() > self.kinds_max {
            let (_, over) = self.kinds.pop_last().expect("more than none");
            self.others.merge(over, 0);
        }
    }
}

impl Step {
    fn of(request: &Request<'_>, node: &NodeView<'_>) -> Self {
        Self {
            service: request.service(node).cloned(),
            operation: node.operation().cloned(),
        }
    }
}

impl Kind {
    fn is(&self, kind: &Step) -> bool {
        let is = |wanted: &Option<Text>, name: &Option<Text>| wanted.is_none() || wanted == name;
        is(&self.service, &kind.service) && is(&self.operation, &kind.operation)
    }
}

impl PathTotals {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.calls += other.calls;
        self.errors += other.errors;
        self.inferred += other.inferred;
        self.latency.merge(&other.latency);
        self.request_latency.merge(&other.request_latency);
        self.examples.merge(&other.examples);
        self.error_examples.merge(&other.error_examples);
    }
}

impl Examples {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.extend(&other.0);
        self.0.sort_unstable_by(|a, b| b.cmp(a));
        self.0.dedup();
        self.0.truncate(EXAMPLES);
    }
}

/// What one request adds; a path of too many steps is `None`.
struct Walked {
    paths: Vec<(Option<Arc<[Step]>>, PathTotals)>,
    unplaced: u64,
}

/// The paths of one tree. Nodes that got there the same way share a number, so that a tree of a
/// million nodes costs a look-up each, however deep it is.
fn walk(request: &Request<'_>, example: (i64, Origin)) -> Walked {
    let tree = request.tree;
    let mut numbers: HashMap<(u32, Step), u32> = HashMap::new();
    let mut ways: Vec<Way> = Vec::new();
    // By node: its way, and whether something of it is inferred. `None`: it hangs on nothing.
    let mut of_nodes: Vec<Option<(u32, bool)>> = Vec::with_capacity(tree.len());
    let mut unplaced = 0;
    for node in tree.nodes() {
        let above = match node.parent() {
            Some(parent) => of_nodes[parent.index().get()],
            None if node.index().get() == 0 => Some((NONE, false)),
            None => None,
        };
        let Some((above, above_inferred)) = above else {
            of_nodes.push(None);
            unplaced += 1;
            continue;
        };
        let guessed = matches!(node.evidence(), Evidence::Inferred | Evidence::Ambiguous);
        let inferred = above_inferred || guessed;
        let step = Step::of(request, &node);
        let number = *numbers
            .entry((above, step))
            .or_insert_with_key(|(_, step)| {
                let length = ways.get(above as usize).map_or(1, |way| way.length + 1);
                ways.push(Way {
                    above,
                    length,
                    step: step.clone(),
                    totals: PathTotals::default(),
                });
                (ways.len() - 1) as u32
            });
        of_nodes.push(Some((number, inferred)));
        if node.children().len() == 0 {
            ways[number as usize].totals.end(&node, inferred, example);
        }
    }
    let ends = (0..ways.len()).filter(|&at| ways[at].totals.calls > 0);
    let paths = ends
        .map(|at| (steps(&ways, at), ways[at].totals.clone()))
        .collect();
    Walked { paths, unplaced }
}

/// No way above: the root's.
const NONE: u32 = u32::MAX;

struct Way {
    above: u32,
    length: usize,
    step: Step,
    totals: PathTotals,
}

fn steps(ways: &[Way], at: usize) -> Option<Arc<[Step]>> {
    let mut way = &ways[at];
    if way.length > STEPS_MAX {
        return None;
    }
    let mut steps = vec![way.step.clone()];
    while let Some(above) = ways.get(way.above as usize) {
        steps.push(above.step.clone());
        way = above;
    }
    steps.reverse();
    Some(steps.into())
}

impl PathTotals {
    /// Counts a call at the end of the path.
    fn end(&mut self, node: &NodeView<'_>, inferred: bool, example: (i64, Origin)) {
        let failed = node.outcome() == Outcome::Error;
        self.calls += 1;
        self.errors += u64::from(failed);
        self.inferred += u64::from(inferred);
        // What the caller waited, where it says so.
        let waited = node.outbound().and_then(|sent| sent.duration_ns);
        let duration = waited.or(node.duration_ns());
        duration.into_iter().for_each(|ns| self.latency.add(ns));
        self.examples.merge(&Examples(vec![example]));
        if failed {
            self.error_examples.merge(&Examples(vec![example]));
        }
    }
}
