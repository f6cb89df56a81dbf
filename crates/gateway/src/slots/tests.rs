//! A browser with a cookie jar, requests at once, and delays that reorder answers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::Chance;

/// What happens next, by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Send,
    AtGateway { request: usize },
    Answered { request: usize },
    AtBrowser { request: usize },
}

#[derive(Default)]
struct Request {
    carried: Vec<(u8, Fingerprint)>,
    /// The requests that the tokens prove to be before it.
    before: Vec<bool>,
    ticket: Option<Ticket>,
    clear: Vec<u8>,
}

/// How fast the parts of the way are: the longest delay of each.
#[derive(Clone, Copy)]
struct Delays {
    up: usize,
    server: usize,
    down: usize,
    think: usize,
}

const DELAYS: [Delays; 4] = [
    Delays {
        up: 40,
        server: 120,
        down: 40,
        think: 40,
    },
    Delays {
        up: 2,
        server: 5,
        down: 100,
        think: 20,
    },
    Delays {
        up: 100,
        server: 5,
        down: 2,
        think: 1,
    },
    Delays {
        up: 30,
        server: 2,
        down: 100,
        think: 100,
    },
];

#[derive(Default)]
struct Outcome {
    answers: usize,
    lost: usize,
    /// Pairs of a request and an answer that had arrived before it was sent; and those of them
    /// that the tokens do not prove.
    pairs: usize,
    missed: usize,
}

/// Runs `requests` requests, `width` at once. Every token is its request's number.
fn browse(seed: u64, width: usize, requests: usize, delays: Delays, failing: usize) -> Outcome {
    let chance = Chance::new(seed);
    let mut table = SlotTable::new(8);
    let mut jar: BTreeMap<u8, Fingerprint> = BTreeMap::new();
    let mut arrived: Vec<usize> = Vec::new();
    let mut followed: HashSet<Fingerprint> = HashSet::new();
    let mut flights: Vec<Request> = Vec::new();
    let mut steps = BinaryHeap::new();
    let mut outcome = Outcome::default();
    for i in 0..width {
        steps.push(Reverse((i as u64, Step::Send)));
    }
    while let Some(Reverse((now, step))) = steps.pop() {
        // Most are fast, some are slow.
        let soon = |max: usize| {
            let max = if chance.below(3) == 0 {
                max
            } else {
                max.div_ceil(10)
            };
            now + 1 + chance.below(max) as u64
        };
        match step {
            Step::Send if flights.len() == requests => {}
            Step::Send => {
                let carried: Vec<_> = jar.iter().map(|(&slot, &token)| (slot, token)).collect();
                followed.extend(carried.iter().map(|(_, token)| *token));
                let mut before = vec![false; requests];
                for &(_, token) in &carried {
                    let token = token as usize;
                    before[token] = true;
                    for (all, one) in before.iter_mut().zip(&flights[token].before) {
                        *all |= one;
                    }
                }
                outcome.pairs += arrived.len();
                outcome.missed += arrived.iter().filter(|&&a| !before[a]).count();
                let request = flights.len();
                flights.push(Request {
                    carried,
                    before,
                    ..Request::default()
                });
                steps.push(Reverse((soon(delays.up), Step::AtGateway { request })));
            }
            Step::AtGateway { request } => {
                let flight = &mut flights[request];
                flight.ticket = Some(table.begin(1, &flight.carried));
                steps.push(Reverse((soon(delays.server), Step::Answered { request })));
            }
            Step::Answered { request } => {
                let flight = &mut flights[request];
                let ticket = flight.ticket.as_ref().unwrap();
                if chance.below(1000) < failing {
                    table.abandoned(1, ticket);
                    flight.ticket = None;
                } else {
                    flight.clear = table.answered(1, ticket, request as u64).to_vec();
                }
                steps.push(Reverse((soon(delays.down), Step::AtBrowser { request })));
            }
            Step::AtBrowser { request } => {
                let flight = &flights[request];
                if let Some(ticket) = &flight.ticket {
                    outcome.answers += 1;
                    arrived.push(request);
                    let gone = flight.clear.iter().map(|slot| jar.remove(slot));
                    let mut gone: Vec<_> = gone.flatten().collect();
                    gone.extend(jar.insert(ticket.slot, request as u64));
                    // A token that leaves the jar before a request carried it is a lost head.
                    outcome.lost += gone
                        .iter()
                        .filter(|token| !followed.contains(token))
                        .count();
                }
                steps.push(Reverse((soon(delays.think), Step::Send)));
            }
        }
        assert!(jar.len() <= SLOTS);
    }
    outcome
}

#[test]
fn no_head_is_lost_with_up_to_eight_requests_in_flight() {
    for (regime, delays) in DELAYS.into_iter().enumerate() {
        for width in 1..=8 {
            let mut all = Outcome::default();
            for seed in 0..8 {
                let outcome = browse(seed * 100 + width as u64, width, 400, delays, 0);
                all.answers += outcome.answers;
                all.lost += outcome.lost;
                all.pairs += outcome.pairs;
                all.missed += outcome.missed;
            }
            let Outcome {
                answers,
                lost,
                pairs,
                missed,
            } = all;
            println!(
                "regime {regime}, {width} in flight: {lost} of {answers} heads, {missed} of {pairs} pairs lost"
            );
            assert_eq!((lost, missed), (0, 0), "{width} in flight");
        }
    }
}

#[test]
fn few_heads_are_lost_with_sixteen_requests_in_flight() {
    for delays in DELAYS {
        let outcome = browse(7, 16, 800, delays, 0);
        let Outcome {
            answers,
            lost,
            pairs,
            missed,
        } = outcome;
        println!("16 in flight: {lost} of {answers} heads, {missed} of {pairs} pairs lost");
        assert!(lost * 50 <= answers, "{lost} of {answers}");
    }
}

#[test]
fn requests_that_fail_leave_the_jar_as_it_was() {
    for seed in 0..10 {
        let outcome = browse(seed, 4, 400, DELAYS[0], 200);
        assert_eq!((outcome.lost, outcome.missed), (0, 0));
    }
}

#[test]
fn one_request_after_the_other_stays_in_its_slot() {
    let mut table = SlotTable::new(8);
    let first = table.begin(1, &[]);
    assert!(table.answered(1, &first, 10).is_empty());
    let second = table.begin(1, &[(first.slot, 10)]);
    assert_eq!(second.slot, first.slot);
    assert!(table.answered(1, &second, 11).is_empty());
}

#[test]
fn two_requests_from_one_head_get_a_slot_each_and_the_next_clears_one() {
    let mut table = SlotTable::new(8);
    let first = table.begin(1, &[]);
    table.answered(1, &first, 10);
    let left = table.begin(1, &[(first.slot, 10)]);
    let right = table.begin(1, &[(first.slot, 10)]);
    assert_ne!(left.slot, right.slot);
    assert!(table.answered(1, &left, 11).is_empty());
    assert!(
        table.answered(1, &right, 12).is_empty(),
        "the other has overwritten it"
    );
    let both = table.begin(1, &[(left.slot, 11), (right.slot, 12)]);
    let clear = table.answered(1, &both, 13);
    assert_eq!(clear.len(), 1);
    // Until the clearing is known to have arrived, the slot is nobody's.
    let others: Vec<_> = (0..SLOTS - 2).map(|_| table.begin(1, &[]).slot).collect();
    assert!(
        !others.contains(&clear[0]) && !others.contains(&both.slot),
        "{others:?}"
    );
}

#[test]
fn a_token_that_has_not_come_back_is_not_overwritten_while_another_slot_is_free() {
    let mut table = SlotTable::new(8);
    let mut slots = HashSet::new();
    for token in 0..SLOTS as u64 {
        let ticket = table.begin(1, &[]);
        assert!(slots.insert(ticket.slot));
        table.answered(1, &ticket, token);
    }
    // All are taken: the oldest goes.
    assert_eq!(table.begin(1, &[]).slot, 0);
}

proptest! {
    /// Whatever is sent: no panic, valid slots, nothing left in flight, and no clearing of the
    /// slot that the same answer sets.
    #[test]
    fn any_sequence_is_survived(steps in prop::collection::vec(
        (0..3u8, prop::collection::vec((0..20u8, 0..5u64), 0..5), 0..8usize, any::<bool>()),
        0..200,
    )) {
        let mut table: SlotTable<u8> = SlotTable::new(2);
        let mut open: Vec<(u8, Ticket)> = Vec::new();
        for (session, carried, which, ok) in steps {
            if open.len() > which {
                let (session, ticket) = open.swap_remove(which);
                if ok {
                    let clear = table.answered(session, &ticket, 7);
                    prop_assert!(!clear.contains(&ticket.slot));
                } else {
                    table.abandoned(session, &ticket);
                }
            } else {
                let ticket = table.begin(session, &carried);
                prop_assert!(usize::from(ticket.slot) < SLOTS);
                open.push((session, ticket));
            }
        }
        for (session, ticket) in open {
            table.abandoned(session, &ticket);
        }
        for slots in table.young.values().chain(table.old.values()) {
            prop_assert_eq!(slots.in_flight, 0);
            for slot in &slots.slots {
                prop_assert_eq!(slot.reserved, 0);
            }
        }
    }
}
