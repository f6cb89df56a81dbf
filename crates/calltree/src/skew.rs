//! How far clocks are apart, told from calls alone (E3).
//!
//! A call is received after it was sent, and the head of its answer leaves the callee before it
//! reaches the caller. So each call that both sides logged bounds the difference of two clocks
//! from both sides; one that a single side logged still comes after what caused it. Everything
//! together is a system of difference constraints. Shortest paths from and to the reference clock
//! (the root's) give each clock's tightest interval. A clock that it allows to be right is left as
//! it is, for most clocks are right; another is put in the middle of what those leave it. The
//! greatest solution of all constraints that is nowhere above that is the correction, the
//! interval's farther end the bound: nothing is shown outside of its parent because of skew.
//!
//! Drifting or stepped clocks can contradict themselves. Then a pair's interval is widened to hold
//! both claims, corrections go along the widest-known tree of pairs, and the tree is flagged.

use std::collections::{HashMap, VecDeque};

/// Wider than any real difference, and far from overflow when a few thousand are added.
const FAR: i64 = 1 << 61;

/// How often, on average, a pair may be looked at anew.
const ROUNDS: usize = 256;

/// Up to so many clocks have a table of all pairs; more share a map.
const TABLE: usize = 64;

/// What calls say of pairs of clocks: `offset(b) - offset(a)` is at most what stands at (a, b).
#[derive(Clone, Debug)]
pub(crate) struct Constraints {
    clocks: usize,
    table: Vec<i64>,
    map: HashMap<(u32, u32), i64>,
    /// Where anything stands, in the order in which it came.
    known: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    low: i64,
    high: i64,
}

const ANY: Interval = Interval {
    low: -FAR,
    high: FAR,
};

/// What to subtract from a clock's times, and how sure that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Correction {
    pub(crate) offset: i64,
    /// The offset is at most this much off; `None`: nothing bounds it.
    pub(crate) bound: Option<u64>,
}

/// Every clock's correction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Corrections {
    pub(crate) clocks: Vec<Correction>,
    /// Some clock is certainly off, or contradicts itself.
    pub(crate) skewed: bool,
}

impl Constraints {
    pub(crate) fn new(clocks: usize) -> Self {
        let table = if clocks <= TABLE { clocks * clocks } else { 0 };
        Self {
            clocks,
            table: vec![FAR; table],
            map: HashMap::new(),
            known: Vec::new(),
        }
    }

    /// `earlier` on clock `a` came before `later` on clock `b`.
    #[inline]
    pub(crate) fn before(&mut self, (a, earlier): (u32, i64), (b, later): (u32, i64)) {
        if a == b {
            return;
        }
        let difference = later.saturating_sub(earlier).clamp(-FAR, FAR);
        let most = if self.table.is_empty() {
            self.map.entry((a, b)).or_insert(FAR)
        } else {
            &mut self.table[a as usize * self.clocks + b as usize]
        };
        if difference < *most {
            if *most == FAR {
                self.known.push((a, b));
            }
            *most = difference;
        }
    }

    /// What stands at a pair.
    fn most(&self, a: u32, b: u32) -> i64 {
        if self.table.is_empty() {
            self.map.get(&(a, b)).copied().unwrap_or(FAR)
        } else {
            self.table[a as usize * self.clocks + b as usize]
        }
    }

    /// All pairs of which anything is known, sorted, the lesser clock first.
    fn pairs(&self) -> Vec<((u32, u32), Interval)> {
        let keys = self.known.iter().map(|&(a, b)| (a.min(b), a.max(b)));
        let mut keys: Vec<(u32, u32)> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        let interval = |(a, b)| Interval::between(self.most(b, a), self.most(a, b)).widened();
        keys.into_iter().map(|key| (key, interval(key))).collect()
    }

    /// Solves for all clocks, of which `reference` is taken as right.
    pub(crate) fn solve(self, reference: u32) -> Corrections {
        let clocks = self.clocks;
        let mut contradicted = false;
        let mut edges: Vec<(u32, u32, i64)> = Vec::with_capacity(self.known.len());
        for &(a, b) in &self.known {
            let (most, back) = (self.most(a, b), self.most(b, a));
            contradicted |= most + back < 0;
            edges.push((a, b, most.max(-back)));
        }
        let skewed = contradicted || edges.iter().any(|&(_, _, weight)| weight < 0);
        let mut from = vec![FAR; clocks];
        from[reference as usize] = 0;
        let Some(within) = within(from, &edges) else {
            return along_tree(clocks, reference, &self.pairs());
        };
        let offsets = if skewed {
            offsets(&within, &edges)
        } else {
            Some(vec![0; clocks])
        };
        let Some(offsets) = offsets else {
            return along_tree(clocks, reference, &self.pairs());
        };
        let corrections = offsets.iter().zip(&within);
        Corrections {
            skewed,
            clocks: corrections
                .map(|(&offset, within)| within.correct(offset))
                .collect(),
        }
    }
}

/// What each clock's offset lies within, if those of some are known: the others are [`FAR`].
fn within(known: Vec<i64>, edges: &[(u32, u32, i64)]) -> Option<Vec<Interval>> {
    let high = shortest(known.clone(), edges.iter().copied())?;
    let low = shortest(known, edges.iter().map(|&(a, b, weight)| (b, a, weight)))?;
    let both = high.into_iter().zip(low);
    Some(
        both.map(|(high, low)| Interval::between(low, high))
            .collect(),
    )
}

/// Offsets within these intervals that keep every constraint.
fn offsets(within_all: &[Interval], edges: &[(u32, u32, i64)]) -> Option<Vec<i64>> {
    let right = within_all.iter().map(|interval| match interval.wanted() {
        0 => 0,
        _ => FAR,
    });
    let right: Vec<i64> = right.collect();
    let narrowed = within(right.clone(), edges)?;
    // Each of them may be right, and all together not.
    let mut claims = right.iter().zip(&narrowed).filter(|&(&at, _)| at == 0);
    let together = claims.all(|(_, interval)| interval.low == 0 && interval.high == 0);
    let chosen = if together { &narrowed } else { within_all };
    let wanted = chosen.iter().map(Interval::wanted).collect();
    shortest(wanted, edges.iter().copied())
}

impl Interval {
    /// What lies within, if it is at most `high` and its negative at most `low`.
    fn between(low: i64, high: i64) -> Self {
        Self { low: -low, high }
    }

    /// Holds both claims, where they contradict each other.
    fn widened(self) -> Self {
        Self {
            low: self.low.min(self.high),
            high: self.low.max(self.high),
        }
    }

    /// The offset to take if nothing else is known: none, unless a clock is certainly off.
    fn wanted(&self) -> i64 {
        match (self.low > -FAR, self.high < FAR) {
            (true, true) if self.low > 0 || self.high < 0 => {
                self.low + (self.high.abs_diff(self.low) / 2) as i64
            }
            _ => 0.clamp(self.low, self.high),
        }
    }

    /// The correction by an offset that lies within.
    fn correct(&self, offset: i64) -> Correction {
        let bounded = self.low > -FAR && self.high < FAR;
        let farther = offset.abs_diff(self.low).max(self.high.abs_diff(offset));
        Correction {
            offset,
            bound: bounded.then_some(farther),
        }
    }
}

/// The greatest values that are at most those of `distances` and of which none is above another
/// by more than the edge from there allows: shortest distances (Bellman-Ford with a queue), where
/// one start is 0 and all else [`FAR`]. `None`: a negative cycle, so the constraints contradict
/// each other (or so many detours that it is not worth the time).
fn shortest(
    mut distances: Vec<i64>,
    edges: impl Iterator<Item = (u32, u32, i64)> + Clone,
) -> Option<Vec<i64>> {
    let clocks = distances.len();
    let mut starts = vec![0usize; clocks + 1];
    for (from, _, _) in edges.clone() {
        starts[from as usize + 1] += 1;
    }
    for at in 0..clocks {
        starts[at + 1] += starts[at];
    }
    let mut fill = starts.clone();
    let mut near = vec![(0u32, 0i64); starts[clocks]];
    for (from, to, weight) in edges {
        near[fill[from as usize]] = (to, weight);
        fill[from as usize] += 1;
    }

    let mut queued: Vec<bool> = distances.iter().map(|&at| at < FAR).collect();
    let known = (0..clocks as u32).filter(|&at| queued[at as usize]);
    let mut queue: VecDeque<u32> = known.collect();
    let mut steps_left = (near.len() + clocks).saturating_mul(ROUNDS.min(clocks + 1));
    while let Some(from) = queue.pop_front() {
        queued[from as usize] = false;
        let own = &near[starts[from as usize]..starts[from as usize + 1]];
        steps_left = steps_left.checked_sub(own.len() + 1)?;
        for &(to, weight) in own {
            let through = distances[from as usize].saturating_add(weight).max(-FAR);
            if through < distances[to as usize] {
                distances[to as usize] = through;
                if !std::mem::replace(&mut queued[to as usize], true) {
                    queue.push_back(to);
                }
            }
        }
    }
    Some(distances)
}

/// For clocks that contradict each other: each pair's own correction, added up along the shortest
/// way from the reference.
fn along_tree(clocks: usize, reference: u32, pairs: &[((u32, u32), Interval)]) -> Corrections {
    let mut near: Vec<Vec<(u32, Correction)>> = vec![Vec::new(); clocks];
    for &((a, b), interval) in pairs {
        let there = interval.correct(interval.wanted());
        let back = Correction {
            offset: -there.offset,
            ..there
        };
        near[a as usize].push((b, there));
        near[b as usize].push((a, back));
    }
    let mut corrections = vec![ANY.correct(0); clocks];
    let mut reached = vec![false; clocks];
    corrections[reference as usize].bound = Some(0);
    reached[reference as usize] = true;
    let mut queue = VecDeque::from([reference]);
    while let Some(a) = queue.pop_front() {
        let from = corrections[a as usize];
        for &(b, step) in &near[a as usize] {
            if !std::mem::replace(&mut reached[b as usize], true) {
                corrections[b as usize] = Correction {
                    offset: from.offset.saturating_add(step.offset),
                    bound: from.bound.zip(step.bound).map(|(a, b)| a.saturating_add(b)),
                };
                queue.push_back(b);
            }
        }
    }
    Corrections {
        clocks: corrections,
        skewed: true,
    }
}
