//! The seeds that a test runs with: fixed ones, so that what was once wrong stays right, and ones
//! drawn at run time, so that no run is like the one before.

use std::hash::{BuildHasher, RandomState};

/// Calls `test` with each of `fixed` and with `drawn` new seeds. One that fails is printed; with
/// `SELVEDGE_SEED=n` in the environment only that one runs.
pub(crate) fn each(fixed: std::ops::Range<u64>, drawn: u64, mut test: impl FnMut(u64)) {
    for seed in all(fixed, drawn) {
        let shown = Shown(seed);
        test(seed);
        std::mem::forget(shown);
    }
}

/// All seeds of a run.
pub(crate) fn all(fixed: std::ops::Range<u64>, drawn: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("SELVEDGE_SEED") {
        return vec![seed.parse().expect("SELVEDGE_SEED is a number")];
    }
    let state = RandomState::new();
    fixed
        .chain((0..drawn).map(|at| state.hash_one(at)))
        .collect()
}

/// Prints a seed when its test panics.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        eprintln!(
            "failed with seed {0}: SELVEDGE_SEED={0} runs it again",
            self.0
        );
    }
}
