//! Whole fleets from seeds: the invariants hold, bite, and replay.

use selvedge_simulation::{Counts, Options, Plant, simulate};

/// The first seed of these tests. A failing one is replayed by
/// `cargo xtask simulate --seed S -v`.
const FIRST: u64 = 1;
const SEEDS: u64 = 200;

fn planted(plant: Plant) -> Options {
    Options {
        plant,
        ..Options::default()
    }
}

/// How many of the seeds it takes until a planted bug is found.
fn seeds_until_found(plant: Plant) -> Option<u64> {
    (FIRST..FIRST + SEEDS).find(|seed| !simulate(*seed, planted(plant)).violations.is_empty())
}

#[test]
fn every_invariant_holds_for_two_hundred_seeds() {
    let half = |first: u64| {
        let mut sum = Counts::default();
        for seed in (first..FIRST + SEEDS).step_by(2) {
            let outcome = simulate(seed, Options::default());
            assert!(
                outcome.violations.is_empty(),
                "seed {seed}: {:#?}\nreplay: cargo xtask simulate --seed {seed} -v",
                outcome.violations
            );
            sum += outcome.counts;
        }
        sum
    };
    // Each seed is one thread's; two cores do two.
    let sum = std::thread::scope(|scope| {
        let odd = scope.spawn(|| half(FIRST));
        let mut sum = half(FIRST + 1);
        sum += odd.join().expect("no seed failed");
        sum
    });
    // That nothing was looked at is no success.
    assert!(sum.faults > SEEDS, "{sum:?}");
    assert!(sum.promises > 50 * SEEDS, "{sum:?}");
    assert!(sum.pairs > 1000 * SEEDS, "{sum:?}");
    assert!(sum.unheld > 0 && sum.volatile > 0, "{sum:?}");
    assert!(
        sum.orders > SEEDS && sum.crossings > SEEDS && sum.spread > SEEDS,
        "{sum:?}"
    );
}

#[test]
fn the_same_seed_lives_the_same_life() {
    for seed in FIRST..FIRST + 5 {
        let first = simulate(seed, Options::default());
        let second = simulate(seed, Options::default());
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn another_seed_lives_another_life() {
    let hash = |seed| simulate(seed, Options::default()).hash;
    assert_ne!(hash(FIRST), hash(FIRST + 1));
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    assert!(seeds_until_found(Plant::AckBeforeSync).is_some());
}

#[test]
fn a_delivery_lost_between_network_and_memory_is_found() {
    assert!(seeds_until_found(Plant::LostDelivery).is_some());
}

#[test]
fn a_token_dropped_by_the_gateway_is_found() {
    assert!(seeds_until_found(Plant::DroppedToken).is_some());
}

#[test]
fn a_delivery_lost_between_network_and_repository_is_found() {
    assert!(seeds_until_found(Plant::LostAtRepository).is_some());
}

#[test]
fn an_order_carried_out_again_after_a_crash_is_found() {
    assert!(seeds_until_found(Plant::ForgottenEffects).is_some());
}

/// A gateway forgot a session while two of its requests were in flight: an answer overwrote a
/// cookie that another had just set, and a later action read as concurrent to one that its client
/// had seen. No cookie's name is used twice since.
#[test]
fn a_gateway_that_forgets_loses_no_head() {
    let outcome = simulate(217_219_556, Options::default());
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert!(outcome.counts.pairs > 1000, "{:?}", outcome.counts);
}
