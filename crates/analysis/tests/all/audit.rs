//! Audits against what really happened, with and without planted loss (D14).

use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::prelude::*;
use selvedge_analysis::{Audit, Line, LineKey, Losses, Overlap, Period, Wanted, charges};
use selvedge_entry::{Entry, Timestamp};
use selvedge_identity::{Consumer, Origin};

use crate::world::{World, service, with_request};

const ALL: usize = 100_000;

fn wanted(period: Period) -> Wanted {
    Wanted {
        period,
        limit: ALL,
        ..Wanted::default()
    }
}

fn fold<'a>(requests: impl IntoIterator<Item = &'a (Origin, Vec<Entry>)>, wanted: Wanted) -> Audit {
    let mut audit = Audit::new(wanted);
    for (origin, entries) in requests {
        with_request(*origin, entries, |request| audit.add(request));
    }
    audit
}

fn key(line: &Line) -> LineKey {
    LineKey {
        consumer: line.consumer.clone(),
        service: line.service.clone(),
        from: line.from,
    }
}

fn lines(audit: &Audit, losses: &Losses) -> Vec<Line> {
    audit.lines(losses, None, None).0
}

/// What was really handled, by line: requests, calls, errors, work. (Errors: of all that were tried.)
type Truth = BTreeMap<LineKey, [u64; 4]>;

fn truth(world: &World, period: Period) -> Truth {
    let mut truth = Truth::new();
    for made in &world.requests {
        let from = period
            .around(Timestamp(made.calls[0].at))
            .map(|(from, _)| from);
        let mut of_request: Truth = Truth::new();
        for call in &made.calls {
            let client = made.client.map_or(Consumer::Unknown, Consumer::Client);
            let caller = call
                .parent
                .map(|at| Consumer::Service(service(made.calls[at].service).into()));
            for consumer in std::iter::once(client).chain(caller) {
                let key = LineKey {
                    consumer,
                    service: Some(service(call.service).into()),
                    from,
                };
                let line = of_request.entry(key).or_default();
                line[0] = 1;
                line[1] += u64::from(call.reached);
                line[2] += u64::from(call.outcome == selvedge_entry::Outcome::Error);
                line[3] += call.work * u64::from(call.reached);
            }
        }
        for (key, line) in of_request {
            let sum = truth.entry(key).or_default();
            (0..4).for_each(|n| sum[n] += line[n]);
        }
    }
    truth
}

fn journaled(world: &World) -> Losses {
    Losses::new(
        Vec::new(),
        (0..world.services).map(|n| service(n).into()).collect(),
    )
}

#[test]
fn lines_of_whole_journals_are_exact() {
    for seed in 0..40 {
        let world = World::new(seed, 40, 8, 30);
        for period in [Period::Hour, Period::Day, Period::All] {
            let audit = fold(&world.left(), wanted(period));
            let lines = lines(&audit, &journaled(&world));
            let said: Truth = lines
                .iter()
                .map(|line| {
                    let t = &line.totals;
                    (key(line), [t.requests, t.calls, t.errors, t.work])
                })
                .collect();
            assert_eq!(said, truth(&world, period), "seed {seed} {period}");
            for line in lines {
                let t = &line.totals;
                assert_eq!((line.calls_min, line.calls_max), (t.calls, Some(t.calls)));
                assert_eq!((t.observed, line.hidden_max), (t.calls, Some(0)));
                assert_eq!(t.request_bytes, 10 * t.calls);
                assert_eq!(t.response_bytes, 20 * t.calls);
                assert_eq!((t.work_unknown, t.bytes_unknown, t.unproven), (0, 0, 0));
            }
        }
    }
}

#[test]
fn a_line_is_the_sum_of_what_its_requests_charge() {
    let mut world = World::new(11, 60, 8, 30);
    let losses = world.lose(&mut Rng::with_seed(5), 40);
    let left = world.left();
    let audit = fold(&left, wanted(Period::Day));
    for line in lines(&audit, &losses) {
        let (mut calls, mut requests, mut work) = (0, 0, 0);
        for (origin, entries) in &left {
            with_request(*origin, entries, |request| {
                let within = line.from.is_none_or(|from| request.start >= from)
                    && line.to.is_none_or(|to| request.start < to);
                let name = (line.consumer.clone(), line.service.clone());
                if let Some(charged) = charges(request).get(&name).filter(|_| within) {
                    calls += charged.calls;
                    requests += charged.requests;
                    work += charged.work;
                }
            });
        }
        let t = &line.totals;
        assert_eq!((t.calls, t.requests, t.work), (calls, requests, work));
    }
}

#[test]
fn pages_hold_the_same_lines_as_one_long_answer() {
    let mut world = World::rough(4, 50, 8, 30);
    let losses = world.lose(&mut Rng::with_seed(1), 60);
    let left = world.left();
    let whole = lines(&fold(&left, wanted(Period::Hour)), &losses);
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let wanted = Wanted {
            limit: 7,
            after: after.clone(),
            ..wanted(Period::Hour)
        };
        let (page, last) = fold(&left, wanted).lines(&losses, None, None);
        assert!(page.len() == 7 || last.is_none());
        pages.extend(page);
        after = last;
        if after.is_none() {
            break;
        }
    }
    assert!(whole.len() > 14);
    assert!(whole.iter().any(|line| line.service.is_none()));
    assert!(whole.iter().any(|line| line.calls_max.is_some()));
    assert_eq!(pages, whole);
}

#[test]
fn what_is_asked_for_is_what_all_lines_say_of_it() {
    let world = World::new(9, 50, 8, 30);
    let left = world.left();
    let losses = journaled(&world);
    let consumer = Consumer::Service("service-1".into());
    let service = Some("service-0".into());
    let asked = Wanted {
        consumer: Some(consumer.clone()),
        service: Some(service.clone()),
        ..wanted(Period::Hour)
    };
    let mut expected = lines(&fold(&left, wanted(Period::Hour)), &losses);
    expected.retain(|line| line.consumer == consumer && line.service == service);
    assert!(!expected.is_empty());
    assert_eq!(lines(&fold(&left, asked), &losses), expected);
}

#[test]
fn folds_that_counted_the_same_request_are_not_merged() {
    let world = World::new(1, 4, 4, 1);
    let left = world.left();
    let mut one = fold(&left[..3], wanted(Period::All));
    let before = one.clone();
    let merged = one.merge(fold(&left[2..], wanted(Period::All)));
    assert_eq!(merged, Err(Overlap(left[2].0)));
    assert_eq!(one, before);
}

#[test]
fn a_range_cuts_the_periods_at_its_ends() {
    let world = World::new(2, 30, 3, 3);
    let audit = fold(&world.left(), wanted(Period::Day));
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    let (from, to) = (time("1970-01-01T00:30:00Z"), time("1970-01-01T02:00:00Z"));
    let (lines, _) = audit.lines(&journaled(&world), Some(from), Some(to));
    assert!(
        lines
            .iter()
            .all(|line| (line.from, line.to) == (Some(from), Some(to)))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn the_truth_lies_within_the_bounds_however_much_is_lost(seed: u64, lose in 0usize..100) {
        let mut world = World::rough(seed, 30, 8, 30);
        let mut random = Rng::with_seed(seed ^ 1);
        let losses = world.lose(&mut random, lose);
        for period in [Period::Hour, Period::All] {
            let audit = fold(&world.left(), wanted(period));
            let lines: BTreeMap<LineKey, Line> =
                lines(&audit, &losses).into_iter().map(|line| (key(&line), line)).collect();
            let truth = truth(&world, period);
            for (key, line) in &lines {
                let [_, calls, errors, work] = truth.get(key).copied().unwrap_or_default();
                if key.service.is_some() {
                    prop_assert!(line.calls_min <= calls, "{:?} {:?}", calls, line);
                    prop_assert!(line.calls_max.is_none_or(|max| calls <= max), "{:?} {:?}", calls, line);
                    prop_assert!(line.totals.errors <= errors && line.totals.work <= work);
                }
                let t = line.totals;
                prop_assert_eq!(t.calls, t.observed + t.one_sided + t.inferred + t.ambiguous);
            }
            // A consumer without a line took at most what may be hidden.
            for (key, [_, calls, ..]) in truth.iter().filter(|(key, _)| !lines.contains_key(key)) {
                let name = key.service.as_deref().expect("a name");
                let (from, to) = match key.from.and_then(|from| period.around(from)) {
                    Some((from, to)) => (Some(from), Some(to)),
                    None => (None, None),
                };
                let unnamed = lines.iter().filter(|(other, _)| {
                    other.consumer == key.consumer && other.service.is_none() && other.from == key.from
                });
                let unnamed: u64 = unnamed.map(|(_, line)| line.totals.calls).sum();
                // Calls to the service that are charged to nobody who made them.
                let of_kind = |service: bool| lines.iter().filter(move |(other, _)| {
                    let is_service = matches!(other.consumer, Consumer::Service(_));
                    other.from == key.from && is_service == service && (other.service == key.service || other.service.is_none())
                });
                let sum = |service| of_kind(service).map(|(_, line)| line.totals.calls).sum::<u64>();
                let callerless = match key.consumer {
                    Consumer::Service(_) => sum(false) - sum(true),
                    _ => 0,
                };
                let most = losses.hidden(name, from, to).plus(unnamed + callerless);
                prop_assert!(most.is_none_or(|most| *calls <= most), "{:?} {}", key, calls);
            }
        }
    }

    #[test]
    fn order_repeats_and_splits_never_show(seed: u64, limit in 1usize..20, lose in 0usize..60) {
        let mut random = Rng::with_seed(seed);
        let mut world = World::new(seed, 30, 6, 30);
        let losses = world.lose(&mut random, lose);
        let left = world.left();
        let wanted = Wanted { limit, ..wanted(Period::Hour) };
        let whole = lines(&fold(&left, wanted.clone()), &losses);

        let mut shuffled = left.clone();
        shuffled.extend(left.iter().take(random.usize(..5)).cloned());
        random.shuffle(&mut shuffled);
        prop_assert_eq!(&lines(&fold(&shuffled, wanted.clone()), &losses), &whole);

        let (some, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|_| random.bool());
        let mut merged = fold(&others, wanted.clone());
        merged.merge(fold(&some, wanted)).expect("no common origin");
        prop_assert_eq!(&lines(&merged, &losses), &whole);
    }
}
