//! What a user of a rule sees.

use selvedge_monitor::threshold::{Change, Crossing, Threshold};
use serde_json::json;

use crate::{entry, ms, restarted, threshold};

fn changes(crossings: &[Crossing]) -> Vec<(Change, u64, f64)> {
    let each = crossings.iter();
    each.map(|c| (c.change, c.number, c.value)).collect()
}

/// Takes an entry at its own time.
fn take(threshold: &mut Threshold, at: i64, attributes: &[(&str, &str)]) -> Vec<Crossing> {
    threshold.take(&entry(at as u64, at, attributes), ms(at))
}

#[test]
fn a_count_since_the_start_is_crossed_once_by_the_entry_that_reaches_it() {
    let mut votes = threshold(json!({"filter": "attribute.choice = yes"}));
    let yes = [("choice", "yes")];
    assert!(take(&mut votes, 1, &yes).is_empty());
    assert!(take(&mut votes, 2, &[("choice", "no")]).is_empty());
    assert!(take(&mut votes, 3, &yes).is_empty());
    let crossed = take(&mut votes, 4, &yes);
    assert_eq!(changes(&crossed), [(Change::Raised, 1, 3.0)]);
    assert_eq!(crossed[0].cause.as_ref().map(|p| p.sequence), Some(4));
    assert_eq!((crossed[0].window, crossed[0].error), (None, 0.0));
    assert!(take(&mut votes, 5, &yes).is_empty());
    assert_eq!(votes.groups(ms(5)).next().unwrap().firing, Some(1));
}

#[test]
fn hysteresis_for_and_keep_firing_for_shape_a_crossing() {
    let mut rate = threshold(json!({
        "window": "sliding 10s step 1s", "raise": 3, "clear": 2,
        "for": "2s", "keep_firing_for": "4s",
    }));
    for at in [100, 200, 300] {
        assert!(take(&mut rate, at, &[]).is_empty(), "pending");
    }
    assert_eq!(rate.due(ms(300)), Some(ms(1000)));
    assert!(rate.tick(ms(2299)).is_empty());
    assert_eq!(changes(&rate.tick(ms(2300))), [(Change::Raised, 1, 3.0)]);
    // Two remain within the window: at the clear level, so it goes on firing.
    take(&mut rate, 5_000, &[]);
    take(&mut rate, 5_500, &[]);
    assert!(rate.tick(ms(10_000)).is_empty());
    assert_eq!(rate.groups(ms(10_000)).next().unwrap().value, 2.0);
    // Nothing remains: it keeps firing for four seconds, and a return before their end is no
    // crossing.
    assert!(rate.tick(ms(15_000)).is_empty());
    for at in [16_000, 16_100, 16_200] {
        assert!(take(&mut rate, at, &[]).is_empty());
    }
    assert!(rate.tick(ms(26_000)).is_empty());
    assert_eq!(rate.due(ms(29_500)), Some(ms(30_000)));
    assert_eq!(changes(&rate.tick(ms(30_000))), [(Change::Cleared, 1, 0.0)]);
}

#[test]
fn a_restart_forgets_nothing_and_raises_nothing_twice() {
    for members in [
        json!({"count": "distinct attribute.user", "window": "sliding 1m"}),
        json!({"group_by": "attribute.user", "raise": 1}),
        json!({"window": "tumbling 1m"}),
        json!({"count": "p50 attribute.user", "raise": 2}),
    ] {
        let mut there = threshold(members.clone());
        let mut crossings = Vec::new();
        for (at, user) in [(1, "1"), (2, "2"), (3, "2"), (4, "3"), (5, "3"), (6, "1")] {
            crossings.extend(take(&mut there, at, &[("user", user)]));
            there = restarted(&there);
        }
        let mut whole = threshold(members);
        let mut same = Vec::new();
        for (at, user) in [(1, "1"), (2, "2"), (3, "2"), (4, "3"), (5, "3"), (6, "1")] {
            same.extend(take(&mut whole, at, &[("user", user)]));
        }
        assert_eq!(crossings, same);
        assert!(!same.is_empty());
        assert!(there.groups(ms(6)).eq(whole.groups(ms(6))));
    }
}

#[test]
fn the_state_of_another_rule_is_refused() {
    let counting = threshold(json!({}));
    let saved = serde_json::to_string(&counting.saved()).unwrap();
    let grouped = threshold(json!({"group_by": "service"}));
    let mut there = grouped.rule().clone();
    let mut read = serde_json::Deserializer::from_str(&saved);
    // A state without groups fits a rule that has them: it has none yet.
    assert!(Threshold::restore(there, &mut read).is_ok());
    let mut sliding = threshold(json!({"count": "error share", "raise": 1.0}));
    take(&mut sliding, 1, &[]);
    let saved = serde_json::to_string(&sliding.saved()).unwrap();
    there = counting.rule().clone();
    let mut read = serde_json::Deserializer::from_str(&saved);
    assert!(Threshold::restore(there, &mut read).is_err());
}

#[test]
fn a_late_entry_may_cross_an_ended_window_as_long_as_it_is_open() {
    let mut votes = threshold(json!({"window": "tumbling 10s", "lateness": "5s"}));
    take(&mut votes, 1_000, &[]);
    take(&mut votes, 2_000, &[]);
    assert!(votes.tick(ms(11_000)).is_empty());
    let late = votes.take(&entry(3, 9_000, &[]), ms(12_000));
    assert_eq!(
        changes(&late),
        [(Change::Raised, 1, 3.0), (Change::Cleared, 1, 3.0)]
    );
    assert_eq!(late[0].window, Some(ms(0)));
    // Its window has raised, and is given up at last.
    assert!(votes.take(&entry(4, 9_000, &[]), ms(14_999)).is_empty());
    assert!(votes.take(&entry(5, 9_000, &[]), ms(15_000)).is_empty());
    assert_eq!((votes.counts().taken, votes.counts().late), (4, 1));
}

#[test]
fn a_clock_that_is_ahead_counts_now_and_one_that_is_idle_stalls_nothing() {
    let mut rate = threshold(json!({"window": "sliding 10s step 1s"}));
    for sequence in 1..=3 {
        let crossings = rate.take(&entry(sequence, 3_600_000, &[]), ms(5_000));
        assert_eq!(crossings.len(), usize::from(sequence == 3));
    }
    assert_eq!(rate.counts().ahead, 3);
    assert_eq!(changes(&rate.tick(ms(15_000))), [(Change::Cleared, 1, 0.0)]);
}

#[test]
fn below_a_level_fires_at_the_end_of_a_window_and_not_before_one_was_seen() {
    let mut heartbeat = threshold(json!({
        "window": "tumbling 10s", "side": "below", "raise": 0, "clear": 0,
    }));
    assert!(heartbeat.tick(ms(9_999)).is_empty());
    assert_eq!(
        changes(&heartbeat.tick(ms(10_000))),
        [(Change::Raised, 1, 0.0)]
    );
    take(&mut heartbeat, 12_000, &[]);
    assert!(heartbeat.tick(ms(19_999)).is_empty());
    assert_eq!(
        changes(&heartbeat.tick(ms(20_000))),
        [(Change::Cleared, 1, 1.0)]
    );
}

#[test]
fn groups_are_counted_alone_and_bounded_and_go_when_their_window_is_over() {
    let mut users = threshold(json!({
        "group_by": "attribute.user", "raise": 2, "groups_max": 2, "window": "sliding 10s",
    }));
    take(&mut users, 1, &[("user", "a")]);
    take(&mut users, 2, &[("user", "b")]);
    take(&mut users, 3, &[("user", "c")]);
    take(&mut users, 4, &[]);
    let crossed = take(&mut users, 5, &[("user", "b")]);
    assert_eq!(crossed[0].group.as_deref(), Some("b"));
    let counts = users.counts();
    assert_eq!((counts.taken, counts.left_out, counts.lacking), (3, 1, 1));
    assert_eq!(users.tick(ms(30_000)).len(), 1);
    assert_eq!(users.groups(ms(30_000)).count(), 0);
    take(&mut users, 31_000, &[("user", "c")]);
    assert_eq!(users.groups(ms(31_000)).count(), 1);
}

#[test]
fn a_million_users_are_counted_in_32_mb_within_the_shown_error() {
    let mut raised = None;
    let allocated = allocation_counter::measure(|| {
        let mut users = threshold(json!({"count": "distinct attribute.user", "raise": 900_000}));
        for user in 0..1_000_000_u64 {
            let name = format!("{:032x}", user.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let crossings = take(&mut users, 1, &[("user", &name)]);
            if let Some(crossing) = crossings.first() {
                raised = Some((user, crossing.error));
            }
            if user == 65_535 {
                let group = users.groups(ms(1)).next().unwrap();
                assert_eq!((group.value, group.error), (65_536.0, 0.0), "exact so far");
            }
        }
        let saved = serde_json::to_string(&users.saved()).unwrap();
        assert!(saved.len() < 1 << 20, "{} bytes of state", saved.len());
    });
    let most = allocated.bytes_max;
    assert!(most < 32 << 20, "{most} bytes at once");
    let (user, error) = raised.expect("crossed");
    assert!(error > 0.0 && error < 0.01);
    // Five standard errors.
    assert!(
        (user as f64 - 900_000.0).abs() < 5.0 * error * 900_000.0,
        "{user}"
    );
}
