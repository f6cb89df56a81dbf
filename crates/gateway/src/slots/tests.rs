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
    ticket: Option<Ticket>,
    clear: Vec<u8>,
}

struct Outcome {
    answers: usize,
    lost: usize,
}

/// Runs `requests` requests, `width` at once, with delays up to `delay`. Every token is its
/// request's number.
fn browse(seed: u64, width: usize, requests: usize, delay: usize, failing: usize) -> Outcome {
    let chance = Chance::new(seed);
    let mut table = SlotTable::new(8);
    let mut jar: BTreeMap<u8, Fingerprint> = BTreeMap::new();
    let mut followed: HashSet<Fingerprint> = HashSet::new();
    let mut flights: Vec<Request> = Vec::new();
    let mut steps = BinaryHeap::new();
    let mut outcome = Outcome {
        answers: 0,
        lost: 0,
    };
    for i in 0..width {
        steps.push(Reverse((i as u64, Step::Send)));
    }
    while let Some(Reverse((now, step))) = steps.pop() {
        let soon = |max: usize| now + 1 + chance.below(max) as u64;
        match step {
            Step::Send if flights.len() == requests => {}
            Step::Send => {
                let carried: Vec<_> = jar.iter().map(|(&slot, &token)| (slot, token)).collect();
                followed.extend(carried.iter().map(|(_, token)| *token));
                let request = flights.len();
                flights.push(Request {
                    carried,
                    ..Request::default()
                });
                steps.push(Reverse((soon(delay), Step::AtGateway { request })));
            }
            Step::AtGateway { request } => {
                let flight = &mut flights[request];
                flight.ticket = Some(table.begin(1, &flight.carried));
                steps.push(Reverse((soon(delay * 3), Step::Answered { request })));
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
                steps.push(Reverse((soon(delay), Step::AtBrowser { request })));
            }
            Step::AtBrowser { request } => {
                let flight = &flights[request];
                if let Some(ticket) = &flight.ticket {
                    outcome.answers += 1;
                    let gone = flight.clear.iter().map(|slot| jar.remove(slot));
                    let mut gone: Vec<_> = gone.flatten().collect();
                    gone.extend(jar.insert(ticket.slot, request as u64));
                    // A token that leaves the jar before a request carried it is a lost head.
                    outcome.lost += gone
                        .iter()
                        .filter(|token| !followed.contains(token))
                        .count();
                }
                steps.push(Reverse((soon(delay), Step::Send)));
            }
        }
        assert!(jar.len() <= SLOTS);
    }
    outcome
}

#[test]
fn at_most_one_head_in_a_hundred_is_lost_with_up_to_eight_requests_in_flight() {
    for width in 1..=8 {
        let (mut answers, mut lost) = (0, 0);
        for seed in 0..40 {
            let outcome = browse(seed * 100 + width as u64, width, 500, 40, 0);
            answers += outcome.answers;
            lost += outcome.lost;
        }
        println!("{width} in flight: {lost} of {answers} lost");
        assert!(
            lost * 100 <= answers,
            "{width} in flight: {lost} of {answers}"
        );
        if width == 1 {
            assert_eq!(lost, 0);
        }
    }
}

#[test]
fn requests_that_fail_leave_the_jar_as_it_was() {
    for seed in 0..20 {
        let outcome = browse(seed, 4, 500, 40, 200);
        assert!(outcome.lost * 100 <= outcome.answers, "{}", outcome.lost);
    }
}

#[test]
fn one_request_after_the_other_moves_through_the_slots() {
    let mut table = SlotTable::new(8);
    let first = table.begin(1, &[]);
    assert!(table.answered(1, &first, 10).is_empty());
    let second = table.begin(1, &[(first.slot, 10)]);
    assert_ne!(second.slot, first.slot);
    assert_eq!(table.answered(1, &second, 11).as_slice(), [first.slot]);
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

#[test]
fn a_slot_that_another_answer_has_set_is_not_cleared() {
    let mut table = SlotTable::new(8);
    let first = table.begin(1, &[]);
    table.answered(1, &first, 10);
    let early = table.begin(1, &[(first.slot, 10)]);
    let cleared = table.answered(1, &early, 11);
    assert_eq!(cleared.as_slice(), [first.slot]);
    // A request that was sent before that answer arrived still carries the cleared token.
    let late = table.begin(1, &[(first.slot, 10)]);
    let others: Vec<_> = (0..13).map(|_| table.begin(1, &[])).collect();
    for (token, ticket) in others.iter().enumerate() {
        table.answered(1, ticket, 20 + token as u64);
    }
    let set = table.begin(1, &[]);
    assert_eq!(set.slot, first.slot, "the only one whose token came back");
    assert!(table.answered(1, &late, 12).is_empty());
    table.answered(1, &set, 13);
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
                prop_assert_eq!((slot.carried, slot.reserved), (0, 0));
            }
        }
    }
}
