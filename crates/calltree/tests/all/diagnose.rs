//! The planted source of a failure is found, not its echoes; the path adds up.

use fastrand::Rng;
use selvedge_calltree::{Fault, Observation, TreeBuilder};
use selvedge_entry::{Direction, Outcome};

use crate::seeds;
use crate::world::{Plan, World};

fn world(seed: u64) -> (World, Rng) {
    let mut random = Rng::with_seed(seed);
    let plan = Plan {
        calls: 2 + random.usize(..60),
        fan_out: 1 + random.usize(..10),
        depth: 1 + random.usize(..12),
        services: 2 + random.usize(..8),
        ..Plan::default()
    };
    let mut world = World::new(plan, seed);
    for skew in &mut world.skews {
        *skew = random.usize(..2_000_000_000) as i64;
    }
    (world, random)
}

/// Makes a call fail as both of its sides see it.
fn fail(entries: &mut [(usize, Observation)], call: usize) {
    for (_, entry) in entries.iter_mut().filter(|(at, _)| *at == call) {
        entry.outcome = Outcome::Error;
        entry.status = 500;
    }
}

#[test]
fn the_planted_source_is_found_and_its_echoes_are_not() {
    let seeds = seeds::all(0..1000, 2000);
    let (mut fixed, mut drawn) = (Vec::new(), Vec::new());
    for &seed in &seeds {
        if let Err(what) = find_planted(seed) {
            let wrong = if seed < 1000 { &mut fixed } else { &mut drawn };
            wrong.push(format!("SELVEDGE_SEED={seed}: {what}"));
        }
    }
    assert!(fixed.is_empty(), "{fixed:#?}");
    assert!(drawn.len() <= seeds.len() / 1000, "{drawn:#?}");
}

/// Plants a failure and looks whether the diagnosis names it.
fn find_planted(seed: u64) -> Result<(), String> {
    let (world, mut random) = world(seed);
    let mut entries = world.entries();
    let source = random.usize(..world.calls.len());
    // The failure goes up some of the way, perhaps all.
    let mut failed = vec![source];
    let mut echoes = 0;
    while let Some(parent) = world.calls[failed[failed.len() - 1]].parent {
        if random.usize(..100) < 15 {
            break;
        }
        failed.push(parent);
        echoes += 1;
    }
    failed.iter().for_each(|&call| fail(&mut entries, call));
    // Who fails because a call failed makes no more calls.
    let mut unmade = vec![false; world.calls.len()];
    for at in 1..world.calls.len() {
        let parent = world.calls[at].parent.expect("not the root");
        let echo = failed.iter().position(|&call| call == parent);
        unmade[at] = unmade[parent] || echo.is_some_and(|nth| nth > 0 && at > failed[nth - 1]);
    }
    entries.retain(|(at, _)| !unmade[*at]);
    // The source made calls that failed too, but it tried each again, and that went well.
    let children: Vec<usize> = (0..world.calls.len())
        .filter(|&at| world.calls[at].parent == Some(source))
        .collect();
    let mended = children.iter().find(|&&first| {
        let service = world.calls[first].service;
        children
            .iter()
            .any(|&later| later > first && world.calls[later].service == service)
    });
    if let Some(&mended) = mended {
        fail(&mut entries, mended);
    }
    let fault = match random.usize(..4) {
        // Nobody has the source's own entry.
        0 if source > 0 => {
            entries.retain(|(at, entry)| *at != source || entry.direction == Direction::Outbound);
            Fault::Unreached
        }
        // The source says that all was well, and came in time.
        1 if source > 0 => {
            let own = entries
                .iter_mut()
                .find(|(at, entry)| *at == source && entry.direction == Direction::Inbound);
            own.expect("both sides logged it").1.outcome = Outcome::Ok;
            Fault::Broken
        }
        // The source's caller gave up before it was done.
        2 if source > 0 => {
            for (_, entry) in entries.iter_mut().filter(|(at, _)| *at == source) {
                if entry.direction == Direction::Inbound {
                    entry.outcome = Outcome::Ok;
                } else {
                    entry.duration_ns = Some(10);
                    entry.head_ns = None;
                }
            }
            Fault::TimedOut
        }
        _ => Fault::Failed,
    };
    let builder = TreeBuilder::batch(
        world.origin,
        entries.into_iter().map(|(_, entry)| entry).collect(),
    );
    let tree = builder.tree();
    let diagnosis = tree.diagnose();
    let reaches_root = failed.contains(&0);
    let first = diagnosis.sources.first().ok_or("nothing found")?;
    let found = diagnosis.sources.iter().find(|found| {
        found.fault == fault
            && tree.node(found.node).id() == Some(world.calls[source].identifier.own())
    });
    let found = found.ok_or_else(|| format!("{fault:?} not in {:?}", diagnosis.sources))?;
    if (found.echoes.len(), found.reaches_root) != (echoes, reaches_root) {
        return Err(format!(
            "{echoes} echoes up to {reaches_root}, not {found:?}"
        ));
    }
    let own = Some(world.calls[source].identifier.own());
    if reaches_root && tree.node(first.node).id() != own {
        return Err(format!("not the first of {:?}", diagnosis.sources));
    }
    Ok(())
}

#[test]
fn a_failure_passes_through_a_lost_service() {
    let plan = Plan {
        fan_out: 1,
        services: 50,
        calls: 12,
        depth: 11,
        ..Plan::default()
    };
    let world = World::new(plan, 3);
    let deepest = (0..world.calls.len())
        .max_by_key(|&at| world.calls[at].depth)
        .expect("some");
    let lost = world.calls[world.calls[deepest].parent.expect("deep")]
        .parent
        .expect("deep");
    let mut entries = world.entries();
    let mut at = Some(deepest);
    while let Some(call) = at {
        fail(&mut entries, call);
        at = world.calls[call].parent;
    }
    entries.retain(|(at, _)| *at != lost);
    let builder = TreeBuilder::batch(
        world.origin,
        entries.into_iter().map(|(_, entry)| entry).collect(),
    );
    let tree = builder.tree();
    let sources = tree.diagnose().sources;
    assert_eq!(sources.len(), 1);
    assert!(sources[0].reaches_root);
    assert_eq!(
        tree.node(sources[0].node).id(),
        Some(world.calls[deepest].identifier.own())
    );
}

#[test]
fn a_call_that_timed_out_names_what_was_slow_below_it() {
    let (world, _) = (
        World::new(
            Plan {
                fan_out: 1,
                calls: 8,
                depth: 7,
                ..Plan::default()
            },
            5,
        ),
        (),
    );
    let deepest = (0..world.calls.len())
        .max_by_key(|&at| world.calls[at].depth)
        .expect("some");
    let caller = world.calls[deepest].parent.expect("deep");
    let mut entries = world.entries();
    // The deepest call takes ten seconds; its caller's caller gave up after one millisecond.
    for (at, entry) in &mut entries {
        if *at == deepest || *at == caller && entry.direction == Direction::Inbound {
            entry.duration_ns = entry.duration_ns.map(|ns| ns + 10_000_000_000);
            entry.head_ns = None;
        } else if *at == caller {
            entry.duration_ns = Some(1_000_000);
            entry.head_ns = None;
            entry.outcome = Outcome::Error;
        }
    }
    let builder = TreeBuilder::batch(
        world.origin,
        entries.into_iter().map(|(_, entry)| entry).collect(),
    );
    let tree = builder.tree();
    let source = tree.diagnose().sources.remove(0);
    assert_eq!(source.fault, Fault::TimedOut);
    let slowest = tree.node(source.slowest.expect("told")).id();
    assert_eq!(slowest, Some(world.calls[deepest].identifier.own()));
}

#[test]
fn a_caller_that_was_told_of_the_failure_did_not_give_up() {
    let plan = Plan {
        calls: 2,
        fan_out: 1,
        depth: 1,
        ..Plan::default()
    };
    let world = World::new(plan, 3);
    // The callee writes its end down a little later than its caller has the answer.
    for (status, fault) in [(503, Fault::Failed), (0, Fault::TimedOut)] {
        let mut entries = world.entries();
        for (_, entry) in entries.iter_mut().filter(|(at, _)| *at == 1) {
            let inbound = entry.direction == Direction::Inbound;
            entry.outcome = Outcome::Error;
            entry.status = if inbound { 503 } else { status };
            entry.duration_ns = Some(if inbound { 5_000 } else { 4_900 });
        }
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        let builder = TreeBuilder::batch(world.origin, entries);
        let tree = builder.tree();
        assert_eq!(tree.diagnose().sources[0].fault, fault, "status {status}");
    }
}

#[test]
fn the_critical_path_of_calls_one_by_one_is_the_whole_tree_and_adds_up() {
    for seed in 0..100 {
        let (world, _) = world(seed);
        let entries = world
            .entries()
            .into_iter()
            .map(|(_, entry)| entry)
            .collect();
        let builder = TreeBuilder::batch(world.origin, entries);
        let tree = builder.tree();
        let path = tree.diagnose().critical_path;
        let sum: u64 = path.iter().map(|step| step.own_ns + step.network_ns).sum();
        assert_eq!(
            Some(sum),
            tree.root().and_then(|root| root.duration_ns()),
            "seed {seed}"
        );
        assert_eq!(path.len(), tree.len(), "seed {seed}");
    }
}

#[test]
fn of_calls_side_by_side_the_last_to_return_is_on_the_path() {
    let world = World::new(
        Plan {
            calls: 3,
            fan_out: 3,
            depth: 1,
            ..Plan::default()
        },
        1,
    );
    let mut entries = world.entries();
    let sent = world.calls[1].sent;
    for (at, entry) in entries.iter_mut().filter(|(at, _)| *at > 0) {
        let ns = if *at == 1 { 30_000 } else { 20_000 };
        let inbound = entry.direction == Direction::Inbound;
        entry.at.0 = sent + if inbound { 1000 } else { 0 };
        entry.duration_ns = Some(if inbound { ns - 3000 } else { ns });
        entry.head_ns = None;
    }
    let builder = TreeBuilder::batch(
        world.origin,
        entries.into_iter().map(|(_, entry)| entry).collect(),
    );
    let tree = builder.tree();
    let path = tree.diagnose().critical_path;
    let ids: Vec<_> = path.iter().map(|step| tree.node(step.node).id()).collect();
    assert_eq!(
        ids,
        [0, 1].map(|call| Some(world.calls[call].identifier.own()))
    );
    assert_eq!((path[1].own_ns, path[1].network_ns), (27_000, 3000));
    let json = tree.diagnose().to_json(&tree);
    assert_eq!(json.critical_path[1].own, 27_000);
}

/// The own times on the critical path of a root of 100 µs and of two calls that it makes, each
/// given as (start, end) in µs after the root's; `callers`: the caller logged them.
fn path_of(calls: [(i64, i64); 2], callers: bool) -> Vec<(usize, u64)> {
    let plan = Plan {
        calls: 3,
        fan_out: 3,
        depth: 1,
        ..Plan::default()
    };
    let world = World::new(plan, 1);
    let mut entries = world.entries();
    entries.retain(|(at, entry)| *at == 0 || callers == (entry.direction == Direction::Outbound));
    let began = entries[0].1.at.0;
    for (at, entry) in &mut entries {
        let (from, to) = if *at == 0 { (0, 100) } else { calls[*at - 1] };
        entry.at.0 = began + from * 1000;
        entry.duration_ns = Some((to - from) as u64 * 1000);
        entry.head_ns = None;
    }
    let entries = entries.into_iter().map(|(_, entry)| entry).collect();
    let builder = TreeBuilder::batch(world.origin, entries);
    let tree = builder.tree();
    let own = |at: usize| Some(world.calls[at].identifier.own());
    let path = tree.diagnose().critical_path;
    let named = path.iter().map(|step| {
        let id = tree.node(step.node).id();
        let at = (0..3).find(|&at| id == own(at)).expect("a call");
        (at, step.own_ns / 1000)
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    named
}

#[test]
fn a_call_that_outlasts_its_caller_counts_until_the_callers_end() {
    assert_eq!(
        path_of([(20, 120), (0, 10)], true),
        [(0, 10), (1, 80), (2, 10)]
    );
    assert_eq!(path_of([(20, 120), (30, 110)], true), [(0, 30), (2, 70)]);
}

#[test]
fn windows_of_different_clocks_may_overlap_a_little_and_a_callers_may_not() {
    let calls = [(10, 31), (30, 60)];
    assert_eq!(path_of(calls, true), [(0, 70), (2, 30)]);
    assert_eq!(path_of(calls, false), [(0, 50), (1, 20), (2, 30)]);
    assert_eq!(path_of([(10, 32), (30, 60)], false), [(0, 70), (2, 30)]);
}
