//! Any graph over `after`, also ones that no honest server writes, against a plain model; and
//! long sessions in little time and memory.

use crate::client::{Plan, visit};
use proptest::prelude::*;
use selvedge_entry::{Entry, Follow};
use selvedge_identity::{ClientId, SessionId};
use selvedge_session::{Relation, timeline};

fn base(requests: usize) -> Vec<Entry> {
    visit(Plan {
        seed: 1,
        requests,
        in_flight_max: 1,
        servers: 3,
        slots: None,
        several_actions: 0,
        overtaking: 0,
        slow: 0,
        settle: false,
    })
    .entries
}

/// What is reachable over `after`, where an `after` that does not go back is left out.
fn reachable(actions: &[Entry]) -> Vec<Vec<bool>> {
    let n = actions.len();
    let mut reach = vec![vec![false; n]; n];
    for (b, action) in actions.iter().enumerate() {
        for follow in &action.opening.after {
            if let Some(a) = actions[..b]
                .iter()
                .position(|a| a.position == follow.position)
            {
                reach[a][b] = true;
            }
        }
    }
    for k in 0..n {
        for a in 0..n {
            for b in 0..n {
                reach[a][b] |= reach[a][k] && reach[k][b];
            }
        }
    }
    reach
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn before_is_what_is_reachable_whatever_the_graph(
        n in 1..24_usize,
        counters in prop::collection::vec(0..30_u64, 24),
        links in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
        missing in any::<prop::sample::Index>(),
    ) {
        let mut entries = base(n);
        for (entry, counter) in entries.iter_mut().zip(counters) {
            entry.opening.counter = Some(counter);
            entry.opening.after.clear();
        }
        for (from, to) in links {
            let position = entries[from.index(n)].position.clone();
            entries[to.index(n)].opening.after.push(Follow { effect: position.sequence, position });
        }
        let session = entries[0].opening.session.unwrap();
        let all = timeline(session, entries.clone());
        let told = timeline(session, entries.iter().rev().cloned());
        prop_assert_eq!(&all, &told);

        entries.remove(missing.index(n));
        for timeline in [&all, &timeline(session, entries)] {
            let actions = timeline.actions();
            let order = actions.windows(2).all(|two| two[0].ordering() <= two[1].ordering());
            prop_assert!(order);
            let reach = reachable(actions);
            for (a, row) in reach.iter().enumerate() {
                for (b, before) in row.iter().enumerate().skip(a + 1) {
                    let relation = timeline.relation(a, b).unwrap();
                    prop_assert_eq!(relation == Relation::Before, *before);
                    let back = timeline.relation(b, a).unwrap();
                    prop_assert_eq!(back == Relation::After, *before);
                    if !before {
                        prop_assert_eq!(relation, back);
                    }
                }
            }
        }
    }

    #[test]
    fn who_was_ordered_through_a_missing_action_is_not_called_concurrent(
        n in 2..24_usize,
        links in prop::collection::vec((0..24_usize, 0..24_usize), 0..60),
        missing in 0..24_usize,
    ) {
        let mut entries = base(n);
        for entry in &mut entries {
            entry.opening.after.clear();
        }
        for (from, to) in links {
            if from < to && to < n {
                let position = entries[from].position.clone();
                entries[to].opening.after.push(Follow { effect: position.sequence, position });
            }
        }
        let reach = reachable(&entries);
        let session = entries[0].opening.session.unwrap();
        let kept: Vec<usize> = (0..n).filter(|number| *number != missing).collect();
        let timeline = timeline(session, kept.iter().map(|number| entries[*number].clone()));
        for (a, first) in kept.iter().enumerate() {
            for (b, second) in kept.iter().enumerate().skip(a + 1) {
                if reach[*first][*second] {
                    prop_assert_ne!(timeline.relation(a, b), Some(Relation::Concurrent));
                }
            }
        }
    }
}

#[test]
fn a_session_of_a_hundred_thousand_requests_in_turn_has_no_pair_apart() {
    let entries = base(100_000);
    let session = entries[0].opening.session.unwrap();
    let timeline = timeline(session, entries);
    assert_eq!(timeline.related(), 100_000);
    assert!((0..100_000).all(|n| timeline.concurrent_with(n).is_empty()));
    assert!((0..100_000).all(|n| timeline.unproven_with(n).is_empty()));
    assert_eq!(timeline.relation(3, 99_999), Some(Relation::Before));
}

#[test]
fn a_long_session_without_any_order_is_told_as_far_as_memory_allows() {
    let mut entries = base(20_000);
    for entry in &mut entries {
        entry.opening.after.clear();
    }
    let session = entries[0].opening.session.unwrap();
    let timeline = timeline(session, entries);
    assert_eq!(timeline.actions().len(), 20_000);
    assert!((2000..20_000).contains(&timeline.related()));
    assert_eq!(timeline.relation(0, 1), Some(Relation::Concurrent));
    assert_eq!(timeline.relation(0, 19_999), None);
}

#[test]
fn entries_of_other_sessions_and_without_a_counter_are_left_out() {
    let mut entries = base(3);
    let session = entries[0].opening.session.unwrap();
    entries[0].opening.session = Some(SessionId::from_random([8; 16]));
    entries[1].opening.counter = None;
    let timeline = timeline(session, entries);
    assert_eq!(timeline.actions().len(), 1);
}

#[test]
fn the_json_form_names_concurrent_actions_by_position() {
    let mut entries = base(3);
    let first = entries[0].opening.after.clone();
    entries[1].opening.client = Some(ClientId::from_random([3; 16]));
    // The third follows the first, as the second does.
    let second = entries[1].opening.after.clone();
    assert_ne!(first, second);
    entries[2].opening.after = second;
    let session = entries[0].opening.session.unwrap();
    let timeline = timeline(session, entries);
    let json = serde_json::to_value(&timeline).unwrap();
    assert_eq!(json["session"], session.to_string());
    assert_eq!(json["client"], "03".repeat(16));
    assert_eq!(json["complete"], true);
    let entries = json["entries"].as_array().unwrap();
    let name = |n: usize| timeline.actions()[n].position.to_string();
    assert_eq!(entries[0]["concurrent_with"], serde_json::json!([]));
    assert_eq!(entries[1]["concurrent_with"], serde_json::json!([name(2)]));
    assert_eq!(entries[2]["concurrent_with"], serde_json::json!([name(1)]));
    assert_eq!(entries[2]["unproven_with"], serde_json::json!([]));
    assert_eq!(entries[2]["after"], serde_json::json!([name(0)]));
    assert_eq!(entries[2]["unseen"], serde_json::json!([]));
}
