//! Puts interactions into the tree's order: breadth first, siblings by their caller's journal.

use std::cmp::Ordering;
use std::ops::Range;

use arrayvec::ArrayVec;
use selvedge_entry::Direction;

use crate::Place;
use crate::builder::{MANY, TreeBuilder};
use crate::chain::Chain;
use crate::resolve::{CANDIDATES, DEAD, Resolved};
use crate::skeleton::NONE;
use crate::times::Gathering;
use crate::tree::{Evidence, Node};

/// The nodes of all interactions, breadth first, and how many of them have no parent. If nobody
/// and nothing names a root, the first node stands for it (D9: a lost root is named by its
/// origin). Each is added to `times`.
pub(crate) fn nodes(
    builder: &TreeBuilder,
    ranks: &[u32],
    resolved: &mut Resolved,
    times: &mut Gathering<'_>,
) -> (Vec<Node>, usize) {
    let count = resolved.parents.len();
    if count == 0 {
        return (Vec::new(), 0);
    }
    let (roots, unanchored) = find_tops(builder, resolved);
    let unnamed = roots.is_empty();
    let mut tops = roots;
    tops.extend(unanchored);
    let mut kids = Kids::new(&resolved.parents);
    let sorter = Sorter {
        builder,
        resolved,
        ranks,
    };
    tops.sort_unstable_by(|&a, &b| sorter.compare_tops(a, b));
    let all = tops.len() + kids.numbers.len() + usize::from(unnamed);
    let mut nodes = Vec::with_capacity(all);
    times.reserve(all);
    let mut push = |nodes: &mut Vec<Node>, number: u32, parent: u32| {
        let node = node(builder, resolved, number, parent);
        times.add(&node);
        nodes.push(node);
    };
    if unnamed {
        push(&mut nodes, count as u32, NONE);
    }
    for &top in &tops {
        push(&mut nodes, top, NONE);
    }
    let top_count = nodes.len();
    let mut scratch = Vec::new();
    let mut at = 0;
    // Where nodes begin that are not looked ahead yet: a deep tree has few at a time.
    let mut ahead = 0;
    while at < nodes.len() {
        if count >= MANY && at == ahead {
            let window = &nodes[at..nodes.len().min(at + AHEAD)];
            ahead += window.len();
            // Its kids' times are compared with a node's own.
            let received = |node: &Node| node.heads[Direction::Inbound as usize];
            builder.touch(window.iter().map(received));
            let kids = window.iter().flat_map(|node| kids.of(node.number));
            sorter.look_ahead(kids.copied());
        }
        let kids = kids.of_mut(nodes[at].number);
        sorter.sort(kids, &mut scratch);
        let from = nodes.len() as u32;
        nodes[at].children = (from, from + kids.len() as u32);
        for &kid in &*kids {
            push(&mut nodes, kid, at as u32);
        }
        at += 1;
    }
    if unnamed {
        nodes[0].number = NONE;
    }
    (nodes, top_count)
}

/// The children of each interaction, one after the other.
struct Kids {
    /// Where each one's start among the numbers; one more ends the last.
    starts: Vec<u32>,
    numbers: Vec<u32>,
}

impl Kids {
    /// By counting, since parents are numbers. A root that nothing names has the number after the
    /// last.
    fn new(parents: &[u32]) -> Self {
        // One ahead each: filling a parent's children moves its start to where the next one's is.
        let mut starts = vec![0u32; parents.len() + 3];
        let with_parents = || {
            let numbered = parents.iter().zip(0u32..);
            numbered.filter(|(parent, _)| **parent < DEAD)
        };
        for (&parent, _) in with_parents() {
            starts[parent as usize + 2] += 1;
        }
        let mut all = 0;
        for start in &mut starts {
            all += *start;
            *start = all;
        }
        let mut numbers = vec![NONE; all as usize];
        for (&parent, number) in with_parents() {
            let start = &mut starts[parent as usize + 1];
            numbers[*start as usize] = number;
            *start += 1;
        }
        Self { starts, numbers }
    }

    fn range(&self, number: u32) -> Range<usize> {
        let number = number as usize;
        self.starts[number] as usize..self.starts[number + 1] as usize
    }

    fn of(&self, number: u32) -> &[u32] {
        &self.numbers[self.range(number)]
    }

    fn of_mut(&mut self, number: u32) -> &mut [u32] {
        let range = self.range(number);
        &mut self.numbers[range]
    }
}

/// The numbers from `first` on, by their depth (very great ones together), and within it nearly by
/// their caller's id (its first bits). A radix sort of eleven bits a pass: passes above the
/// greatest depth are left out.
pub(crate) fn callers_first<'a>(places: impl Iterator<Item = &'a Place>, first: u32) -> Vec<u32> {
    const BITS: u32 = 11;
    const DEPTH_MOST: u32 = (1 << (u32::BITS - BITS)) - 1;
    // A row's upper half is what it is sorted by, the lower one its number.
    let row = |(place, number): (&Place, u32)| {
        let depth = u64::from(place.depth().min(DEPTH_MOST));
        let caller = place.packed().bits(1) >> (u64::BITS - BITS);
        (depth << BITS | caller) << u32::BITS | u64::from(number)
    };
    let mut rows: Vec<u64> = places.zip(first..).map(row).collect();
    let all = rows.iter().fold(0, |all, row| all | row);
    let mut sorted = vec![0; rows.len()];
    for shift in (u32::BITS..u64::BITS)
        .step_by(BITS as usize)
        .take_while(|shift| all >> shift != 0)
    {
        let digit = |row: u64| (row >> shift) as usize & ((1 << BITS) - 1);
        let mut starts = [0u32; (1 << BITS) + 1];
        for &row in &rows {
            starts[digit(row) + 1] += 1;
        }
        for at in 0..1 << BITS {
            starts[at + 1] += starts[at];
        }
        for &row in &rows {
            let at = &mut starts[digit(row)];
            sorted[*at as usize] = row;
            *at += 1;
        }
        std::mem::swap(&mut rows, &mut sorted);
    }
    rows.into_iter().map(|row| row as u32).collect()
}

/// The interactions of level 0, and others whose parents are not known. Gives those of level 1
/// that name no parent to the root, for an origin has one.
fn find_tops(builder: &TreeBuilder, resolved: &mut Resolved) -> (Vec<u32>, Vec<u32>) {
    let count = resolved.parents.len() as u32;
    let numbered = resolved.parents.iter().zip(0..);
    let tops = numbered.filter(|(parent, _)| **parent == NONE);
    let tops = tops.map(|(_, number)| number);
    let (mut roots, mut others): (Vec<u32>, Vec<u32>) =
        tops.partition(|&number| builder.level(resolved, number) == 0);
    if roots.len() > 1 {
        roots.sort_by_cached_key(|&root| chain(builder, resolved, root));
    }
    others.retain(|&other| {
        if builder.level(resolved, other) != 1 || resolved.candidates.contains_key(&other) {
            return true;
        }
        match roots[..] {
            [] => resolved.parents[other as usize] = count,
            [one] => resolved.parents[other as usize] = one,
            _ => {
                let some = roots.iter().copied().take(CANDIDATES).collect();
                resolved.candidates.insert(other, some);
            }
        }
        resolved.parents[other as usize] == NONE
    });
    (roots, others)
}

fn node(builder: &TreeBuilder, resolved: &Resolved, number: u32, parent: u32) -> Node {
    let groups = &builder.skeleton.groups;
    let (level, heads) = match groups.get(number as usize) {
        Some(group) => (group.chain.level(), group.heads),
        None => match resolved.leaves.get(number as usize - groups.len()) {
            None => (0, [NONE; 3]),
            Some(leaf) => {
                let mut heads = [NONE; 3];
                for &entry in &leaf.entries {
                    let head = &mut heads[builder.observation(entry).direction as usize];
                    let handle = |number: u32| &builder.observation(number).handle;
                    if *head == NONE || handle(entry) < handle(*head) {
                        *head = entry;
                    }
                }
                (groups[leaf.group as usize].chain.level(), heads)
            }
        },
    };
    Node {
        number,
        parent,
        children: (0, 0),
        level,
        heads,
        evidence: Evidence::Inferred,
        witness: NONE,
        levels_lost: 0,
    }
}

/// Calls whose caller logged them stand first, in their caller's order; then the others by id.
type Key = (u32, u64, u64);

struct Sorter<'a> {
    builder: &'a TreeBuilder,
    resolved: &'a Resolved,
    ranks: &'a [u32],
}

/// How many nodes' children are looked up ahead, so that their cache misses overlap.
const AHEAD: usize = 32;

impl Sorter<'_> {
    /// Reads what the order and the times of some interactions will be told from.
    fn look_ahead(&self, numbers: impl Iterator<Item = u32>) {
        let mut heads: ArrayVec<u32, { 8 * AHEAD }> = ArrayVec::new();
        for number in numbers.take(4 * AHEAD) {
            if let Some(group) = self.builder.skeleton.groups.get(number as usize) {
                heads.push(group.heads[Direction::Outbound as usize]);
                heads.push(group.heads[Direction::Inbound as usize]);
            }
        }
        self.builder.touch(heads.into_iter());
    }

    fn key(&self, number: u32) -> Key {
        let groups = &self.builder.skeleton.groups;
        let Some(group) = groups.get(number as usize) else {
            let leaf = &self.resolved.leaves[number as usize - groups.len()];
            return (NONE, 0, leaf.chain[0].to_bits());
        };
        let sent = group.heads[Direction::Outbound as usize];
        let own = group.chain.own_bits();
        match self.builder.briefs.get(sent as usize) {
            Some(sent) => (self.ranks[sent.clock as usize], sent.sequence, own),
            None => (NONE, 0, own),
        }
    }

    fn sort(&self, kids: &mut [u32], scratch: &mut Vec<(Key, u32)>) {
        if kids.len() < 2 {
            return;
        }
        scratch.clear();
        scratch.extend(kids.iter().map(|&kid| (self.key(kid), kid)));
        scratch.sort_unstable_by(|(a, kid_a), (b, kid_b)| {
            a.cmp(b).then_with(|| {
                let chain = |kid: u32| chain(self.builder, self.resolved, kid);
                chain(*kid_a).cmp(&chain(*kid_b))
            })
        });
        for (kid, (_, sorted)) in kids.iter_mut().zip(scratch.iter()) {
            *kid = *sorted;
        }
    }

    /// Roots first (one that was logged before one that was not), then by level and id.
    fn compare_tops(&self, a: u32, b: u32) -> Ordering {
        let key = |number: u32| {
            let level = self.builder.level(self.resolved, number);
            let lost = node(self.builder, self.resolved, number, NONE)
                .entry()
                .is_none();
            (level, lost)
        };
        let chain = |number: u32| chain(self.builder, self.resolved, number);
        let chains = || chain(a).cmp(&chain(b));
        key(a).cmp(&key(b)).then_with(chains).then(a.cmp(&b))
    }
}

fn chain(builder: &TreeBuilder, resolved: &Resolved, number: u32) -> Chain {
    let groups = &builder.skeleton.groups;
    match groups.get(number as usize) {
        Some(group) => group.chain.unpack(),
        None => resolved.leaves[number as usize - groups.len()]
            .chain
            .clone(),
    }
}
