//! Who wins, and what may keep the nearest from it.

use std::time::Duration;

use selvedge_lab::Shape;
use selvedge_race::wire::Wanted;
use selvedge_race::{Delay, Event, Races as _, Stamp};

use crate::fleet::{Fleet, MS, NEAREST, TO_CLIENTS, TO_SITES, clock, plan};

fn clocks() -> Vec<selvedge_race::HostClock> {
    (0..5).map(clock).collect()
}

#[test]
fn the_nearest_site_wins_for_each_client_by_an_instant_counted_from_receipt_or_leaving() {
    for stamp in [Stamp::Receipt, Stamp::Leaving] {
        let Some(fleet) = Fleet::start(&plan(), &clocks(), |options| options.timing.stamp = stamp)
        else {
            return;
        };
        for (client, nearest) in NEAREST.into_iter().enumerate() {
            assert_eq!(fleet.winner(client), nearest);
        }
        let status = fleet.master.status(1);
        assert!(
            status.delay > 60 * MS && status.warning.is_none(),
            "{status:#?}"
        );
        assert!(status.counts.by_master < status.counts.races);
    }
}

#[test]
fn the_gaps_between_answers_are_those_of_the_ways() {
    let Some(fleet) = Fleet::start(&plan(), &clocks(), |_| {}) else {
        return;
    };
    for (site, ways) in TO_CLIENTS.iter().enumerate() {
        let way = ((ways[0] - TO_CLIENTS[0][0]) * 1e6) as i64;
        let gap = fleet.gap(0, &format!("site-{site}"));
        // Ten milliseconds for a busy machine: the ways differ by fifteen and more.
        assert!((gap - way).abs() < 10 * MS, "{gap} {way}");
    }
}

#[test]
fn a_delay_below_the_longest_way_is_warned_of_and_far_sites_lose() {
    let delay =
        |options: &mut selvedge_race::MasterOptions| options.timing.delay = Delay::AtMost(35 * MS);
    let Some(fleet) = Fleet::start(&plan(), &clocks(), delay) else {
        return;
    };
    // Its nearest, site-4, is 60 ms from the master; of those that are in time, site-2 is nearest.
    assert_eq!(fleet.winner(3), "site-2");
    fleet.until("reports", |fleet| {
        fleet.master.status(1).races[0]
            .sites
            .iter()
            .all(|site| site.silent != Some("nothing heard"))
    });
    let status = fleet.master.status(1);
    for site in &status.races[0].sites[3..] {
        assert_eq!(site.silent, Some("late"), "{site:?}");
    }
    assert!(
        status
            .warning
            .expect("warned")
            .contains("not above the longest way")
    );
    assert_eq!(status.counts.short_delays, status.counts.races);
}

#[test]
fn by_the_masters_signal_the_way_from_the_master_counts_too() {
    let Some(fleet) = Fleet::start(&plan(), &clocks(), |options| options.event = Event::Signal)
    else {
        return;
    };
    for (client, _) in NEAREST.iter().enumerate() {
        let whole = |site: &usize| TO_SITES[*site] + TO_CLIENTS[*site][client];
        let mut sites: Vec<usize> = (0..5).collect();
        sites.sort_by(|a, b| whole(a).total_cmp(&whole(b)));
        let winner = fleet.winner(client);
        let first = format!("site-{}", sites[0]);
        let close = format!("site-{}", sites[1]);
        let gap = whole(&sites[1]) - whole(&sites[0]);
        assert!(
            winner == first || (gap < 10.0 && winner == close),
            "{winner}, not {first}"
        );
    }
    assert_eq!(fleet.master.status(1).races[0].event, "signal");
}

#[test]
fn content_itself_is_raced() {
    let Some(fleet) = Fleet::start(&plan(), &clocks(), |_| {}) else {
        return;
    };
    for (client, nearest) in NEAREST.into_iter().enumerate() {
        let raced = fleet.race(client, |options| {
            options.wanted = Wanted::Content;
            options.path = "/".to_owned();
        });
        assert_eq!(fleet.winner(client), nearest);
        for came in &raced.came {
            assert_eq!(
                came.answer.content,
                Some((200, came.answer.site.clone().into_bytes()))
            );
        }
    }
}

#[test]
fn a_way_that_slows_a_site_that_dies_and_one_that_comes_back_change_the_winner() {
    let Some(mut fleet) = Fleet::start(&plan(), &clocks(), |options| {
        options.left_out = Duration::from_secs(1);
    }) else {
        return;
    };
    assert_eq!(fleet.winner(0), "site-0");
    fleet.lab.shape(
        "site-0",
        "client-0",
        Shape::delay(Duration::from_millis(50)),
    );
    assert_eq!(fleet.winner(0), "site-1");
    fleet.replicas[1] = None;
    // Before it is noticed, its silence changes nothing for the others.
    assert_eq!(fleet.winner(0), "site-2");
    fleet.until_racing(4);
    assert_eq!(fleet.winner(0), "site-2");
    fleet.until("named", |fleet| {
        let status = fleet.master.status(0);
        let dead = status
            .replicas
            .iter()
            .find(|replica| replica.site == "site-1");
        dead.is_some_and(|dead| dead.left_out == Some("answers no probes"))
    });
    // It comes back with another clock: it is measured anew.
    fleet.replicas[1] = Some(fleet.replica(1, clock(3)));
    fleet.until_racing(5);
    assert_eq!(fleet.winner(0), "site-1");
    fleet
        .lab
        .shape("site-0", "client-0", Shape::delay(Duration::from_millis(5)));
    assert_eq!(fleet.winner(0), "site-0");
    let restarts: u64 = fleet
        .master
        .status(0)
        .replicas
        .iter()
        .map(|replica| replica.restarts)
        .sum();
    assert_eq!(restarts, 1);
}

#[test]
fn a_handicap_costs_a_site_what_it_says() {
    let handicap = |options: &mut selvedge_race::MasterOptions| {
        options.handicaps.insert("site-0".to_owned(), 40 * MS);
    };
    let Some(fleet) = Fleet::start(&plan(), &clocks(), handicap) else {
        return;
    };
    assert_eq!(fleet.winner(0), "site-1");
    let gap = fleet.gap(0, "site-0");
    // 5 + 40 against 25.
    assert!((gap - 20 * MS).abs() < 10 * MS, "{gap}");
}

#[test]
fn an_unreachable_fleet_leaves_the_master_to_answer() {
    let Some(fleet) = Fleet::start(&plan(), &clocks(), |_| {}) else {
        return;
    };
    for site in 0..5 {
        let lost = Shape {
            loss: 1.0,
            ..Shape::default()
        };
        fleet.lab.shape("master", &format!("site-{site}"), lost);
    }
    let raced = fleet.race(0, |options| options.rest = Duration::from_millis(1));
    assert_eq!(
        (raced.winner().site.as_str(), raced.winner().url.as_str()),
        ("", "http://master")
    );
    fleet.until("nobody races", |fleet| fleet.master.sites().is_empty());
}
