//! A browser with a cookie jar, requests at once, and delays that reorder answers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};

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
    carried: Carried,
    /// The requests that the tokens prove to be before it.
    before: Vec<bool>,
    gateway: usize,
    change: Option<Change>,
}

/// How fast the parts of the way are: the longest delay of each.
#[derive(Clone, Copy)]
struct Delays {
    up: usize,
    server: usize,
    down: usize,
    think: usize,
}

const fn delays(up: usize, server: usize, down: usize, think: usize) -> Delays {
    Delays {
        up,
        server,
        down,
        think,
    }
}

const DELAYS: [Delays; 4] = [
    delays(40, 120, 40, 40),
    delays(2, 5, 100, 20),
    delays(100, 5, 2, 1),
    delays(30, 2, 100, 100),
];

/// How a browser browses.
#[derive(Clone, Copy)]
struct Plan {
    /// Requests at once.
    width: usize,
    requests: usize,
    delays: Delays,
    /// Answers that bring no token, of a thousand.
    failing: usize,
    /// Gateways before the one browser.
    gateways: usize,
    /// Answers after which the gateway forgets all jars, of a thousand.
    forgetting: usize,
}

const CALM: Plan = Plan {
    width: 8,
    requests: 400,
    delays: DELAYS[0],
    failing: 0,
    gateways: 1,
    forgetting: 0,
};

#[derive(Debug, Default)]
struct Outcome {
    answers: usize,
    lost: usize,
    /// Pairs of a request and an answer that had arrived before it was sent; and those of them
    /// that the tokens do not prove.
    pairs: usize,
    missed: usize,
    cookies_max: usize,
}

/// A token with that number: its code is not its number, as no token's is.
fn token(number: usize) -> String {
    format!("{number}.{:022x}", fingerprint(&number.to_le_bytes()))
}

fn browse(seed: u64, plan: Plan) -> Outcome {
    let chance = Chance::new(seed);
    let mut gateways: Vec<Jars<u8>> = (0..plan.gateways).map(|_| Jars::new(8)).collect();
    // By name: the number of the token.
    let mut jar: BTreeMap<Name, usize> = BTreeMap::new();
    let mut arrived: Vec<usize> = Vec::new();
    let mut followed: HashSet<usize> = HashSet::new();
    let mut flights: Vec<Request> = Vec::new();
    let mut steps = BinaryHeap::new();
    let mut outcome = Outcome::default();
    for i in 0..plan.width {
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
            Step::Send if flights.len() == plan.requests => {}
            Step::Send => {
                let cookies = jar.iter();
                let carried = cookies
                    .map(|(&name, &number)| (name, fingerprint(token(number).as_bytes())))
                    .collect();
                followed.extend(jar.values());
                let mut before = vec![false; plan.requests];
                for &number in jar.values() {
                    before[number] = true;
                    for (all, one) in before.iter_mut().zip(&flights[number].before) {
                        *all |= one;
                    }
                }
                outcome.pairs += arrived.len();
                outcome.missed += arrived.iter().filter(|&&a| !before[a]).count();
                let request = flights.len();
                flights.push(Request {
                    carried,
                    before,
                    gateway: chance.below(plan.gateways),
                    change: None,
                });
                steps.push(Reverse((soon(plan.delays.up), Step::AtGateway { request })));
            }
            Step::AtGateway { request } => {
                let flight = &flights[request];
                gateways[flight.gateway].came(1, &flight.carried);
                let at = soon(plan.delays.server);
                steps.push(Reverse((at, Step::Answered { request })));
            }
            Step::Answered { request } => {
                let flight = &mut flights[request];
                let jars = &mut gateways[flight.gateway];
                if chance.below(1000) >= plan.failing {
                    flight.change = Some(jars.answered(1, &flight.carried, &token(request)));
                }
                if chance.below(1000) < plan.forgetting {
                    *jars = Jars::new(8);
                }
                let at = soon(plan.delays.down);
                steps.push(Reverse((at, Step::AtBrowser { request })));
            }
            Step::AtBrowser { request } => {
                if let Some(change) = &flights[request].change {
                    outcome.answers += 1;
                    arrived.push(request);
                    let gone = change.clear.iter().map(|name| jar.remove(name));
                    let mut gone: Vec<_> = gone.flatten().collect();
                    gone.extend(jar.insert(change.set, request));
                    // A token that leaves the jar before a request carried it is a lost head.
                    let lost = gone.iter().filter(|number| !followed.contains(number));
                    outcome.lost += lost.count();
                }
                steps.push(Reverse((soon(plan.delays.think), Step::Send)));
            }
        }
        outcome.cookies_max = outcome.cookies_max.max(jar.len());
    }
    outcome
}

#[test]
fn no_head_is_lost_and_no_pair_however_answers_overtake_each_other() {
    for (regime, delays) in DELAYS.into_iter().enumerate() {
        for width in [1, 2, 3, 5, 8, 12, 16] {
            for seed in 0..3 {
                let plan = Plan {
                    width,
                    delays,
                    ..CALM
                };
                let outcome = browse(seed * 100 + width as u64, plan);
                let of = format!("regime {regime}, {width} at once: {outcome:?}");
                assert!(outcome.pairs > 10_000, "{of}");
                assert_eq!((outcome.lost, outcome.missed), (0, 0), "{of}");
                assert!(outcome.cookies_max <= width, "{of}");
            }
        }
    }
}

/// Slots that were reserved anew lost heads here (see the record of the decision).
#[test]
fn gateways_that_forget_and_several_before_one_browser_lose_nothing() {
    for delays in DELAYS {
        for seed in 0..8 {
            let plan = Plan {
                delays,
                gateways: 1 + seed as usize % 3,
                forgetting: 50,
                failing: 20,
                ..CALM
            };
            let outcome = browse(seed, plan);
            assert_eq!((outcome.lost, outcome.missed), (0, 0), "{outcome:?}");
        }
    }
}

#[test]
fn a_jar_stays_small_whatever_comes_at_once() {
    for seed in 0..4 {
        let plan = Plan {
            width: 100,
            requests: 1000,
            ..CALM
        };
        let outcome = browse(seed, plan);
        assert!(
            outcome.cookies_max > 16 && outcome.cookies_max <= COOKIES_MAX + 16,
            "{outcome:?}"
        );
    }
}

fn carried(tokens: &[&str]) -> Carried {
    let each = tokens.iter();
    each.map(|token| (Name::of(token), fingerprint(token.as_bytes())))
        .collect()
}

#[test]
fn an_answer_takes_the_place_of_what_its_request_carried() {
    let mut jars = Jars::new(8);
    let first = carried(&["first000"]);
    jars.came(1, &first);
    let change = jars.answered(1, &first, "second00");
    assert_eq!(change.set, Name::of("second00"));
    assert_eq!(change.clear.as_slice(), [Name::of("first000")]);
    // Its answer brings what came: nothing is cleared that it sets.
    let second = carried(&["second00"]);
    jars.came(1, &second);
    assert_eq!(jars.answered(1, &second, "second00").clear.len(), 0);
}

#[test]
fn beyond_the_bound_the_oldest_gives_its_name_and_is_not_cleared_for_it() {
    let mut jars = Jars::new(8);
    let tokens: Vec<String> = (0..COOKIES_MAX).map(token).collect();
    let none = Carried::new();
    for token in &tokens {
        assert_eq!(jars.answered(1, &none, token).set, Name::of(token));
    }
    let oldest = carried(&[&tokens[0]]);
    jars.came(1, &oldest);
    let change = jars.answered(1, &none, "more0000");
    assert_eq!(change.set, Name::of(&tokens[0]));
    // A request that carried the oldest is answered: its name has another token now.
    let change = jars.answered(1, &oldest, "after000");
    assert!(!change.clear.contains(&Name::of(&tokens[0])), "{change:?}");
}

#[test]
fn sessions_that_are_idle_longest_are_forgotten() {
    let mut jars = Jars::new(4);
    for session in 0..100 {
        jars.came(session, &carried(&["token000"]));
        assert!(jars.len() <= 4);
    }
    assert!(!jars.is_empty());
}

proptest! {
    /// Whatever is sent: no panic, few names, and no clearing of what the same answer sets or of
    /// what its request did not carry.
    #[test]
    fn any_sequence_is_survived(steps in prop::collection::vec(
        (0..3u8, prop::collection::vec((0..20u8, 0..5u64), 0..80), 0..100usize),
        0..100,
    )) {
        let mut jars: Jars<u8> = Jars::new(2);
        for (session, sent, number) in steps {
            let name = |n: u8| Name::of(&token(n.into()));
            let carried: Carried = sent.iter().map(|&(n, token)| (name(n), token)).collect();
            jars.came(session, &carried);
            let change = jars.answered(session, &carried, &token(number));
            prop_assert!(!change.clear.contains(&change.set));
            let names: BTreeSet<Name> = carried.iter().map(|(name, _)| *name).collect();
            prop_assert!(change.clear.iter().all(|name| names.contains(name)));
            for jar in jars.young.values().chain(jars.old.values()) {
                prop_assert!(jar.0.len() <= NAMES_MAX + 1);
            }
        }
    }

    #[test]
    fn names_read_back(token in "[A-Za-z0-9_-]{7,100}") {
        let name = Name::of(&token);
        prop_assert_eq!(Name::read(name.to_string().as_bytes()), Some(name));
    }
}
