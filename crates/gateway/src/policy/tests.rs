//! The policies' distributions, and least load in a simulation of servers and time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::PeakEwma;

fn even(_: usize) -> f64 {
    1.0
}

#[test]
fn round_robin_is_exact() {
    let picker = Picker::new(Policy::RoundRobin);
    let mut counts = [0; 3];
    for round in 1..=1000 {
        for _ in 0..3 {
            counts[picker.pick(3, even, |_| 0).unwrap()] += 1;
        }
        assert_eq!(counts, [round; 3]);
    }
    assert_eq!(picker.pick(0, even, |_| 0), None);
}

/// Chi-square against even chances, below the 99.9 % quantile for `counts.len() - 1` degrees.
fn assert_even(counts: &[u32], quantile: f64) {
    let total: u32 = counts.iter().sum();
    let expected = f64::from(total) / counts.len() as f64;
    let chi: f64 = counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum();
    assert!(chi < quantile, "chi-square {chi} of {counts:?}");
}

#[test]
fn random_passes_a_chi_square_test() {
    for seed in [1, 7, 42] {
        let chance = Chance::new(seed);
        let picker = Picker::new(Policy::Random);
        for (servers, quantile) in [(3, 13.82), (5, 18.47), (10, 27.88)] {
            let mut counts = vec![0; servers];
            let mut pairs = vec![0; servers * servers];
            let mut last = 0;
            for _ in 0..100_000 {
                let picked = picker.pick(servers, even, |n| chance.below(n)).unwrap();
                counts[picked] += 1;
                pairs[last * servers + picked] += 1;
                last = picked;
            }
            assert_even(&counts, quantile);
            if servers == 3 {
                // 8 degrees: one pick says nothing about the next.
                assert_even(&pairs, 26.12);
            }
        }
    }
}

/// Servers with one place each and a queue; requests come at a rate. Returns how many each took.
fn simulate(
    policy: Policy,
    service_ns: &[u64],
    fails: &[bool],
    gap_ns: u64,
    seed: u64,
) -> Vec<u32> {
    let chance = Chance::new(seed);
    let picker = Picker::new(policy);
    let mut loads: Vec<_> = service_ns
        .iter()
        .map(|_| PeakEwma::new(5_000_000_000))
        .collect();
    let mut in_flight = vec![0; service_ns.len()];
    let mut free_at = vec![0; service_ns.len()];
    let mut counts = vec![0; service_ns.len()];
    let mut ends: BinaryHeap<Reverse<(u64, usize, u64)>> = BinaryHeap::new();
    for i in 0..60_000 {
        let now = i * gap_ns;
        while let Some(&Reverse((end, server, began))) = ends.peek() {
            if end > now {
                break;
            }
            ends.pop();
            in_flight[server] -= 1;
            let latency = if fails[server] {
                1_000_000_000
            } else {
                end - began
            };
            loads[server].observe(end, latency);
        }
        let cost = |server: usize| loads[server].cost(now, in_flight[server]);
        let server = picker.pick(loads.len(), cost, |n| chance.below(n)).unwrap();
        counts[server] += 1;
        in_flight[server] += 1;
        // Service times between a half and one and a half of the mean.
        let service = service_ns[server] / 2 + chance.below(service_ns[server] as usize) as u64;
        let end = now.max(free_at[server]) + service;
        free_at[server] = end;
        ends.push(Reverse((end, server, now)));
    }
    counts
}

#[test]
fn a_server_ten_times_slower_gets_under_a_fifth_of_an_equal_share() {
    const MS: u64 = 1_000_000;
    for seed in 0..20 {
        for servers in [3, 5, 8] {
            let mut service = vec![2 * MS; servers];
            service[1] = 20 * MS;
            let gap = 4 * MS / servers as u64;
            let counts = simulate(
                Policy::LeastLoad,
                &service,
                &vec![false; servers],
                gap,
                seed,
            );
            let equal = 60_000 / servers as u32;
            assert!(counts[1] < equal / 5, "seed {seed}: {counts:?}");
            // The others share the rest fairly.
            let fast = counts.iter().enumerate().filter(|(i, _)| *i != 1);
            for (_, &count) in fast {
                assert!(count > equal * 8 / 10, "seed {seed}: {counts:?}");
            }
        }
    }
}

#[test]
fn a_server_that_fails_fast_does_not_draw_the_traffic() {
    const MS: u64 = 1_000_000;
    for seed in 0..20 {
        let service = [MS / 10, 5 * MS, 5 * MS];
        let fails = [true, false, false];
        let counts = simulate(Policy::LeastLoad, &service, &fails, 4 * MS, seed);
        assert!(counts[0] < 60_000 / 15, "seed {seed}: {counts:?}");
    }
}

#[test]
fn equal_servers_get_equal_shares_under_least_load() {
    const MS: u64 = 1_000_000;
    for seed in 0..5 {
        let counts = simulate(Policy::LeastLoad, &[5 * MS; 4], &[false; 4], 2 * MS, seed);
        for count in &counts {
            assert!((13_000..17_000).contains(count), "seed {seed}: {counts:?}");
        }
    }
}
