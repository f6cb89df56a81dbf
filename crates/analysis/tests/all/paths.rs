//! Call paths (D13).

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use proptest::prelude::*;
use selvedge_analysis::{Kind, Overlap, PathRow, Paths, Step};
use selvedge_entry::Outcome;
use selvedge_identity::Origin;

use crate::world::{Made, World, operation, service, with_request};

fn step(made: &Made, at: usize) -> Step {
    Step {
        service: Some(service(made.calls[at].service).into()),
        operation: Some(operation(made.calls[at].operation).into()),
    }
}

fn path(made: &Made, mut at: usize) -> Vec<Step> {
    let mut path = vec![step(made, at)];
    while let Some(parent) = made.calls[at].parent {
        at = parent;
        path.push(step(made, at));
    }
    path.reverse();
    path
}

/// What the rows of whole trees must say: by path its requests, calls, errors and durations.
#[derive(Debug, Default, PartialEq)]
struct Model {
    requests: BTreeSet<Origin>,
    calls: u64,
    errors: u64,
    durations: Vec<u64>,
}

fn model(world: &World) -> BTreeMap<Vec<Step>, Model> {
    let mut model: BTreeMap<Vec<Step>, Model> = BTreeMap::new();
    for made in &world.requests {
        for at in 0..made.calls.len() {
            if made.calls.iter().any(|call| call.parent == Some(at)) {
                continue;
            }
            let of = model.entry(path(made, at)).or_default();
            of.requests.insert(made.origin);
            of.calls += 1;
            of.errors += u64::from(made.calls[at].outcome == Outcome::Error);
            of.durations.push(made.calls[at].duration);
        }
    }
    model
}

fn fold<'a>(
    requests: impl IntoIterator<Item = &'a (Origin, Vec<selvedge_entry::Entry>)>,
    bounds: (usize, usize),
) -> Paths {
    let mut paths = Paths::new(Kind::default(), bounds.0, bounds.1);
    for (origin, entries) in requests {
        with_request(*origin, entries, |request| paths.add(request));
    }
    paths
}

#[test]
fn rows_of_whole_trees_say_what_happened() {
    for seed in 0..40 {
        let world = World::new(seed, 40, 8, 2);
        let rows = fold(&world.left(), (1000, 1000)).rows();
        let model = model(&world);
        assert_eq!(rows.len(), model.len(), "seed {seed}");
        let mut kinds: BTreeMap<Step, u64> = BTreeMap::new();
        for made in &world.requests {
            *kinds.entry(step(made, 0)).or_default() += 1;
        }
        for row in rows {
            let mut expected = model[&row.path].durations.clone();
            let of = &model[&row.path];
            assert_eq!(row.requests, Some(of.requests.len() as u64), "seed {seed}");
            assert_eq!(
                (row.calls, row.errors),
                (of.calls, of.errors),
                "seed {seed}"
            );
            assert_eq!(row.of, kinds[&row.path[0]], "seed {seed}");
            assert_eq!((row.inferred, row.remainder), (0, false), "seed {seed}");
            expected.sort_unstable();
            assert_eq!(row.latency.count, expected.len() as u64);
            if expected.len() <= 64 {
                assert_eq!(
                    row.latency.p50,
                    Some(expected[expected.len().div_ceil(2) - 1])
                );
            }
            let examples: BTreeSet<Origin> = row.examples.iter().copied().collect();
            assert!(!examples.is_empty() && examples.is_subset(&of.requests));
        }
    }
}

#[test]
fn a_kind_that_is_asked_for_is_counted_alone() {
    let world = World::new(7, 60, 6, 1);
    let all = fold(&world.left(), (1000, 1000)).rows();
    let kind = Kind {
        service: Some("service-1".into()),
        operation: Some("GET /0".into()),
    };
    let mut paths = Paths::new(kind, 1000, 1000);
    for (origin, entries) in &world.left() {
        with_request(*origin, entries, |request| paths.add(request));
    }
    let of_kind = |row: &PathRow| {
        row.service.as_deref() == Some("service-1") && row.operation.as_deref() == Some("GET /0")
    };
    let expected: Vec<PathRow> = all.into_iter().filter(of_kind).collect();
    assert!(!expected.is_empty());
    assert_eq!(paths.rows(), expected);
}

#[test]
fn a_lost_service_leaves_its_calls_on_their_paths_and_marks_them() {
    let mut world = World::new(3, 50, 8, 1);
    let whole = model(&world);
    // The root's service is kept, so that kinds are known.
    world.entries.retain(|(_, entry)| {
        entry
            .opening
            .call
            .as_ref()
            .is_none_or(|call| call.identifier.depth() != 1)
    });
    let rows = fold(&world.left(), (1000, 1000)).rows();
    let longer: Vec<&PathRow> = rows.iter().filter(|row| row.path.len() > 2).collect();
    assert!(!longer.is_empty());
    for row in longer {
        // What was asked of the lost call, nobody logged.
        assert_eq!(row.path[1].operation, None);
        assert_eq!(row.inferred, row.calls);
        let like = |path: &[Step]| {
            path.len() == row.path.len()
                && path[0] == row.path[0]
                && path[1].service == row.path[1].service
                && path[2..] == row.path[2..]
        };
        let expected = whole.iter().filter(|(path, _)| like(path));
        assert_eq!(row.calls, expected.map(|(_, of)| of.calls).sum::<u64>());
    }
}

#[test]
fn folds_that_counted_the_same_request_are_not_merged() {
    let world = World::new(1, 4, 4, 1);
    let left = world.left();
    let mut one = fold(&left[..3], (10, 10));
    let other = fold(&left[2..], (10, 10));
    let before = one.clone();
    assert_eq!(one.merge(other), Err(Overlap(left[2].0)));
    assert_eq!(one, before);
}

#[test]
fn a_path_of_too_many_steps_is_in_the_remainder() {
    let mut world = World::new(1, 1, 1, 1);
    let mut made = world.requests.remove(0);
    let deep = selvedge_analysis::STEPS_MAX + 1;
    while made.calls.len() < deep {
        let mut call = made.calls[made.calls.len() - 1].clone();
        let id = selvedge_identity::Interaction::from_random(
            (made.calls.len() as u64 + 9).to_be_bytes(),
        );
        let mut stack = call.identifier.stack().to_vec();
        stack.push(selvedge_identity::StackId::of(id, 8));
        let stack = &stack[stack.len().saturating_sub(8)..];
        call.parent = Some(made.calls.len() - 1);
        call.depth += 1;
        call.id = id;
        call.identifier =
            selvedge_identity::RequestIdentifier::from_parts(made.origin, call.depth, 8, stack)
                .expect("a stack of at most k");
        made.calls.push(call);
    }
    let world = World::of(vec![made], world.services);
    let rows = fold(&world.left(), (10, 10)).rows();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].remainder && rows[0].path.is_empty());
    assert_eq!((rows[0].calls, rows[0].of), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn order_repeats_and_splits_never_show(seed: u64, kinds_max in 1usize..6, paths_max in 1usize..6, lose in 0usize..60) {
        let mut random = Rng::with_seed(seed);
        let mut world = World::new(seed, 30, 6, 2);
        world.lose(&mut random, lose);
        let left = world.left();
        let whole = fold(&left, (kinds_max, paths_max));

        let mut shuffled = left.clone();
        shuffled.extend(left.iter().take(random.usize(..5)).cloned());
        random.shuffle(&mut shuffled);
        prop_assert_eq!(&fold(&shuffled, (kinds_max, paths_max)), &whole);

        let (some, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|_| random.bool());
        let mut merged = fold(&others, (kinds_max, paths_max));
        merged.merge(fold(&some, (kinds_max, paths_max))).expect("no common origin");
        prop_assert_eq!(&merged, &whole);

        // Bounds lose no call, and what is kept is whole.
        let unbounded = fold(&world.left(), (1000, 1000));
        let calls = |rows: &[PathRow]| rows.iter().map(|row| row.calls).sum::<u64>();
        let (kept, all) = (whole.rows(), unbounded.rows());
        prop_assert_eq!(calls(&kept), calls(&all));
        for row in kept.iter().filter(|row| !row.remainder) {
            prop_assert!(all.contains(row));
        }
        let per_kind = kept.iter().filter(|row| !row.remainder).fold(BTreeMap::new(), |mut by, row| {
            *by.entry((&row.service, &row.operation)).or_insert(0usize) += 1;
            by
        });
        prop_assert!(per_kind.len() <= kinds_max);
        prop_assert!(per_kind.values().all(|count| *count <= paths_max));
    }
}
