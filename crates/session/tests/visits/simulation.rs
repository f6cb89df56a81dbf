//! Simulated visits: every pair of actions against what the client truly knew when it sent.

use crate::client::{Plan, Random, Visit, visit};
use proptest::prelude::*;
use selvedge_session::{Relation, Timeline, timeline};

/// What became of the pairs of a visit.
#[derive(Debug, Default)]
struct Tally {
    pairs: usize,
    /// Shown ordered, and not so.
    false_order: usize,
    /// Truly ordered, shown concurrent.
    missed: usize,
    unproven: usize,
}

fn tally(visit: &Visit, timeline: &Timeline) -> Tally {
    let mut tally = Tally::default();
    let actions = timeline.actions();
    for a in 0..actions.len() {
        for b in a + 1..actions.len() {
            let (first, second) = (&actions[a].position, &actions[b].position);
            let before = visit.before(first, second);
            let after = visit.before(second, first);
            tally.pairs += 1;
            match timeline.relation(a, b).unwrap() {
                Relation::Before => tally.false_order += usize::from(!before),
                Relation::After => tally.false_order += usize::from(!after),
                Relation::Concurrent => tally.missed += usize::from(before || after),
                Relation::Unproven => tally.unproven += 1,
            }
        }
    }
    tally
}

fn run(plan: Plan) -> (Visit, Tally) {
    let visit = visit(plan);
    let mut entries = visit.entries.clone();
    // As they might come from several journals: in another order, some twice.
    let mut random = Random::new(plan.seed);
    for n in (1..entries.len()).rev() {
        entries.swap(n, random.below(n as u64 + 1) as usize);
    }
    entries.extend_from_within(..entries.len() / 3);
    let timeline = timeline(visit.session, entries);
    assert_eq!(timeline.actions().len(), visit.entries.len());
    let tally = tally(&visit, &timeline);
    (visit, tally)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_loses_no_head_has_every_pair_told_exactly(
        seed in any::<u64>(),
        requests in 1..80_usize,
        in_flight_max in 1..9_usize,
        servers in 1..5_usize,
        several_actions in 0..4_u64,
    ) {
        let plan = Plan {
            seed, requests, in_flight_max, servers, slots: None, several_actions,
            overtaking: 6, slow: 6, settle: true,
        };
        let (visit, tally) = run(plan);
        prop_assert_eq!(visit.lost, 0);
        prop_assert_eq!((tally.false_order, tally.missed), (0, 0));
        if several_actions == 0 {
            prop_assert_eq!(tally.unproven, 0, "{:?}", tally);
        }
    }

    #[test]
    fn an_unsettled_end_is_never_told_falsely(
        seed in any::<u64>(),
        requests in 1..80_usize,
        in_flight_max in 1..9_usize,
        servers in 1..5_usize,
        several_actions in 0..4_u64,
    ) {
        let plan = Plan {
            seed, requests, in_flight_max, servers, slots: None, several_actions,
            overtaking: 6, slow: 6, settle: false,
        };
        let (_, tally) = run(plan);
        prop_assert_eq!((tally.false_order, tally.missed), (0, 0));
    }

    #[test]
    fn a_browser_that_loses_heads_has_no_pair_told_falsely(
        seed in any::<u64>(),
        requests in 1..80_usize,
        in_flight_max in 1..9_usize,
        servers in 1..5_usize,
        slots in 2..17_usize,
        several_actions in 0..4_u64,
        settle in any::<bool>(),
    ) {
        let plan = Plan {
            seed, requests, in_flight_max, servers, slots: Some(slots), several_actions,
            overtaking: 6, slow: 6, settle,
        };
        let (_, tally) = run(plan);
        prop_assert_eq!((tally.false_order, tally.missed), (0, 0));
    }
}

#[test]
fn a_thousand_requests_of_a_browser_six_in_flight_leave_at_most_one_percent_unproven() {
    for seed in 0..6 {
        let plan = Plan {
            seed,
            requests: 1000,
            in_flight_max: 6,
            servers: 3,
            slots: Some(16),
            several_actions: 0,
            overtaking: 0,
            slow: 6,
            settle: true,
        };
        let (visit, tally) = run(plan);
        assert_eq!((tally.false_order, tally.missed), (0, 0));
        let unproven = tally.unproven * 100;
        assert!(unproven <= tally.pairs, "{} lost: {tally:?}", visit.lost);
    }
}
