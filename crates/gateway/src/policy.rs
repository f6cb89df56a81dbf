//! Which upstream takes the next request (B4).
//!
//! Pure: chance and costs are arguments.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// How requests are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// One after the other: with the same upstreams up, their counts never differ by more than
    /// one.
    RoundRobin,
    /// Each with the same chance.
    Random,
    /// Load analysis: of two drawn by chance the one with the clearly lower cost (requests in
    /// flight times latency, [`crate::PeakEwma`]), else the first drawn: costs closer than half as
    /// much again are the same, so that servers alike get shares alike.
    #[default]
    LeastLoad,
}

/// Costs differ if one is so many times the other. One request in flight against none always does.
const CLEARLY: f64 = 1.5;

/// A policy at work.
#[derive(Debug)]
pub struct Picker {
    policy: Policy,
    turn: AtomicUsize,
}

impl Picker {
    /// Starts with the first upstream.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            turn: AtomicUsize::new(0),
        }
    }

    /// Picks one of `count` candidates; `None` if there are none. `cost` tells what a candidate
    /// would cost, `random(n)` draws evenly from `0..n`.
    pub fn pick(
        &self,
        count: usize,
        cost: impl Fn(usize) -> f64,
        mut random: impl FnMut(usize) -> usize,
    ) -> Option<usize> {
        match (self.policy, count) {
            (_, 0) => None,
            (Policy::RoundRobin, _) => Some(self.turn.fetch_add(1, Ordering::Relaxed) % count),
            (Policy::Random, _) => Some(random(count)),
            (Policy::LeastLoad, 1) => Some(0),
            (Policy::LeastLoad, _) => {
                let first = random(count);
                // Any but the first, with the same chance.
                let second = (first + 1 + random(count - 1)) % count;
                Some(if cost(second) * CLEARLY < cost(first) {
                    second
                } else {
                    first
                })
            }
        }
    }
}

/// Draws random numbers without a lock: SplitMix64 over a shared counter. For spreading, not for
/// secrets.
#[derive(Debug)]
pub struct Chance {
    state: std::sync::atomic::AtomicU64,
}

impl Chance {
    /// The same seed draws the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed.into() }
    }

    /// A number from `0..n`, evenly; 0 where `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        let mut z = self
            .state
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // Multiply-shift: the bias of n/2^64 is far below what any count could show.
        ((u128::from(z) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests;
