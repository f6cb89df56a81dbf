//! How far clocks are apart, told from calls alone (E3).
//!
//! A call is received after it was sent, and the head of its answer leaves the callee before it
//! reaches the caller. So each call that both sides logged bounds the difference of two clocks
//! from both sides; one that a single side logged still comes after what caused it. Everything
//! together is a system of difference constraints. Shortest paths from and to the reference clock
//! (the root's) give each clock's tightest interval; its middle is the correction, half its width
//! the bound, and the middles keep every single constraint: nothing is shown outside of its parent
//! because of skew.
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

/// What calls say of pairs of clocks: `offset(b) - offset(a)` lies within.
#[derive(Clone, Debug)]
pub(crate) struct Constraints {
    clocks: usize,
    table: Vec<Interval>,
    map: HashMap<(u32, u32), Interval>,
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
            table: vec![ANY; table],
            map: HashMap::new(),
        }
    }

    /// `earlier` on clock `a` came before `later` on clock `b`.
    #[inline]
    pub(crate) fn before(&mut self, (a, earlier): (u32, i64), (b, later): (u32, i64)) {
        if a == b {
            return;
        }
        let difference = later.saturating_sub(earlier).clamp(-FAR, FAR);
        let key = (a.min(b), a.max(b));
        let interval = if self.table.is_empty() {
            self.map.entry(key).or_insert(ANY)
        } else {
            &mut self.table[key.0 as usize * self.clocks + key.1 as usize]
        };
        if a < b {
            interval.high = interval.high.min(difference);
        } else {
            interval.low = interval.low.max(-difference);
        }
    }

    /// All pairs of which anything is known, sorted.
    fn pairs(self) -> Vec<((u32, u32), Interval)> {
        let mut pairs: Vec<_> = self.map.into_iter().collect();
        pairs.sort_unstable_by_key(|(key, _)| *key);
        let width = self.clocks;
        let table = self.table.into_iter().enumerate();
        let known = table.filter(|(_, interval)| interval.low > -FAR || interval.high < FAR);
        pairs.extend(
            known.map(|(at, interval)| (((at / width) as u32, (at % width) as u32), interval)),
        );
        pairs
    }

    /// Solves for all clocks, of which `reference` is taken as right.
    pub(crate) fn solve(self, reference: u32) -> Corrections {
        let clocks = self.clocks;
        let mut contradicted = false;
        let mut pairs = self.pairs();
        let mut edges: Vec<(u32, u32, i64)> = Vec::with_capacity(pairs.len() * 2);
        for ((a, b), interval) in &mut pairs {
            if interval.low > interval.high {
                contradicted = true;
                *interval = Interval {
                    low: interval.high,
                    high: interval.low,
                };
            }
            edges.extend((interval.high < FAR).then_some((*a, *b, interval.high)));
            edges.extend((interval.low > -FAR).then_some((*b, *a, -interval.low)));
        }
        let high = shortest(clocks, reference, edges.iter().copied());
        let low = shortest(clocks, reference, edges.iter().map(|&(a, b, w)| (b, a, w)));
        let (Some(high), Some(low)) = (high, low) else {
            return along_tree(clocks, reference, &pairs);
        };
        let mut corrections: Vec<Correction> = high
            .iter()
            .zip(&low)
            .map(|(&high, &low)| match (high < FAR, low < FAR) {
                (true, true) => middle(-low, high),
                (true, false) => loose(0.min(high)),
                (false, true) => loose(0.max(-low)),
                (false, false) => loose(0),
            })
            .collect();
        settle(&mut corrections, &edges);
        let off = |(high, low): (&i64, &i64)| *high < 0 || *low < 0;
        Corrections {
            skewed: contradicted || high.iter().zip(&low).any(off),
            clocks: corrections,
        }
    }
}

fn middle(low: i64, high: i64) -> Correction {
    let width = high.abs_diff(low);
    Correction {
        offset: low + (width / 2) as i64,
        bound: Some(width.div_ceil(2)),
    }
}

fn loose(offset: i64) -> Correction {
    Correction {
        offset,
        bound: None,
    }
}

/// Shortest distances from `start` (Bellman-Ford with a queue); [`FAR`]: no path. `None`: a
/// negative cycle, so the constraints contradict each other (or so many detours that it is not
/// worth the time).
fn shortest(
    clocks: usize,
    start: u32,
    edges: impl Iterator<Item = (u32, u32, i64)> + Clone,
) -> Option<Vec<i64>> {
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

    let mut distances = vec![FAR; clocks];
    distances[start as usize] = 0;
    let mut queued = vec![false; clocks];
    let mut queue = VecDeque::from([start]);
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

/// Moves clocks that only one side bounds until they keep their constraints with the others.
fn settle(corrections: &mut [Correction], edges: &[(u32, u32, i64)]) {
    if corrections
        .iter()
        .all(|correction| correction.bound.is_some())
    {
        return;
    }
    for _ in 0..ROUNDS.min(corrections.len()) {
        let mut changed = false;
        for &(a, b, weight) in edges {
            let (from, to) = (corrections[a as usize], corrections[b as usize]);
            let over = to.offset.saturating_sub(from.offset.saturating_add(weight));
            if over <= 0 {
                continue;
            }
            if to.bound.is_none() {
                corrections[b as usize].offset -= over;
            } else if from.bound.is_none() {
                corrections[a as usize].offset += over;
            } else {
                continue;
            }
            changed = true;
        }
        if !changed {
            return;
        }
    }
}

/// For clocks that contradict each other: each pair's own middle, added up along the shortest way
/// from the reference.
fn along_tree(clocks: usize, reference: u32, pairs: &[((u32, u32), Interval)]) -> Corrections {
    let mut near: Vec<Vec<(u32, Correction)>> = vec![Vec::new(); clocks];
    for &((a, b), interval) in pairs {
        let there = match (interval.low > -FAR, interval.high < FAR) {
            (true, true) => middle(interval.low, interval.high),
            (false, _) => loose(0.min(interval.high)),
            (true, false) => loose(0.max(interval.low)),
        };
        let back = Correction {
            offset: -there.offset,
            ..there
        };
        near[a as usize].push((b, there));
        near[b as usize].push((a, back));
    }
    let mut corrections = vec![loose(0); clocks];
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
