//! Random entries and ticks against a model that keeps every entry.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use selvedge_monitor::threshold::{Change, Threshold};
use serde_json::json;

use crate::{entry, ms, restarted, threshold};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An entry that is so late, of a user (0 to 5), with a number.
    Take {
        late: i64,
        user: u8,
        number: u8,
    },
    /// Time goes on.
    Wait(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (-200..3_000_i64, 0..6_u8, 0..9_u8)
            .prop_map(|(late, user, number)| Step::Take { late, user, number }),
        3 => (0..2_500_i64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Events,
    Sum,
    Distinct,
    Median,
}

/// What the window holds, by its plain definition.
fn value(kind: Kind, held: &[(u8, u8)]) -> Option<f64> {
    match kind {
        Kind::Events => Some(held.len() as f64),
        Kind::Sum => Some(held.iter().map(|(_, number)| f64::from(*number)).sum()),
        Kind::Distinct => {
            let users: BTreeSet<u8> = held.iter().map(|(user, _)| *user).collect();
            Some(users.len() as f64)
        }
        Kind::Median => {
            let mut numbers: Vec<u8> = held.iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            let rank = numbers.len().div_ceil(2);
            Some(f64::from(*numbers.get(rank.checked_sub(1)?)?))
        }
    }
}

fn rule(kind: Kind, window: &str) -> Threshold {
    let count = match kind {
        Kind::Events => "events",
        Kind::Sum => "sum attribute.number",
        Kind::Distinct => "distinct attribute.user",
        Kind::Median => "p50 attribute.number",
    };
    threshold(json!({"count": count, "window": window, "raise": 5, "clear": 3}))
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Events, Kind::Sum, Kind::Distinct, Kind::Median])
}

/// Runs the steps, and after each asks both for what fires.
fn run(kind: Kind, window: &str, size: i64, steps: &[Step], held: impl Fn(i64, i64) -> bool) {
    let mut real = rule(kind, window);
    let mut entries: Vec<(i64, u8, u8)> = Vec::new();
    let (mut now, mut fires, mut raises) = (10 * size, false, 0);
    real.tick(ms(now));
    for (sequence, step) in steps.iter().enumerate() {
        let crossings = match *step {
            Step::Take { late, user, number } => {
                // A clock ahead counts now.
                let at = now - late;
                entries.push((at.min(now), user, number));
                let (user, number) = (user.to_string(), number.to_string());
                let fields = [("user", user.as_str()), ("number", number.as_str())];
                real.take(&entry(sequence as u64, at, &fields), ms(now))
            }
            Step::Wait(length) => {
                now += length;
                real.tick(ms(now))
            }
            Step::Restart => {
                real = restarted(&real);
                Vec::new()
            }
        };
        let inside: Vec<(u8, u8)> = entries
            .iter()
            .filter(|(at, ..)| held(now, *at))
            .map(|(_, user, number)| (*user, *number))
            .collect();
        let value = value(kind, &inside);
        let was = fires;
        fires = value.is_some_and(|value| value >= if was { 3.0 } else { 5.0 });
        let expected = match (was, fires) {
            (false, true) => {
                raises += 1;
                vec![(Change::Raised, raises)]
            }
            (true, false) => vec![(Change::Cleared, raises)],
            _ => Vec::new(),
        };
        let told: Vec<(Change, u64)> = crossings.iter().map(|c| (c.change, c.number)).collect();
        assert_eq!(told, expected, "step {sequence}, {value:?}");
        if kind != Kind::Median {
            let shown = real.groups(ms(now)).next().map(|group| group.value);
            assert_eq!(shown, value, "step {sequence}");
        }
    }
}

proptest! {
    #[test]
    fn a_sliding_window_holds_the_last_panes(kind in kinds(), steps in steps()) {
        run(kind, "sliding 2s step 100ms", 2_000, &steps, |now, at| {
            at.div_euclid(100) > now.div_euclid(100) - 20
        });
    }

    #[test]
    fn a_tumbling_window_holds_its_own_entries(kind in kinds(), steps in steps()) {
        // No lateness: an ended window is closed, so only the newest counts.
        let mut real = rule(kind, "tumbling 2s");
        prop_assert_eq!(real.tick(ms(1)).len(), 0);
        let threshold = "tumbling 2s";
        let steps: Vec<Step> = steps.into_iter().filter(|step| match step {
            // Late entries of ended windows are the business of an example.
            Step::Take { late, .. } => *late < 1,
            _ => true,
        }).collect();
        run(kind, threshold, 2_000, &steps, |now, at| at.div_euclid(2_000) == now.div_euclid(2_000));
    }

    #[test]
    fn groups_do_not_touch_each_other(users in prop::collection::vec(0..4_u8, 1..60)) {
        let mut grouped = threshold(json!({"group_by": "attribute.user", "raise": 5}));
        let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
        for (sequence, user) in users.into_iter().enumerate() {
            let count = counts.entry(user).or_default();
            *count += 1;
            let name = user.to_string();
            let crossings = grouped.take(&entry(sequence as u64, 1, &[("user", &name)]), ms(1));
            prop_assert_eq!(crossings.len(), usize::from(*count == 5));
        }
        let shown: Vec<(String, f64)> = grouped
            .groups(ms(1))
            .map(|group| (group.group.unwrap().to_owned(), group.value))
            .collect();
        let expected: Vec<(String, f64)> = counts
            .into_iter()
            .map(|(user, count)| (user.to_string(), f64::from(count)))
            .collect();
        prop_assert_eq!(shown, expected);
    }
}
