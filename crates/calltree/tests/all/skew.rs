//! Clocks that are apart: the planted skew lies inside the shown bound.

use fastrand::Rng;
use selvedge_calltree::{Flag, TreeBuilder};

use crate::seeds;
use crate::world::{Plan, World};

const HOUR_NS: usize = 3_600_000_000_000;

fn skewed(seed: u64) -> (World, Rng) {
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
        *skew = random.usize(..2 * HOUR_NS) as i64 - HOUR_NS as i64;
    }
    (world, random)
}

#[test]
fn planted_skew_lies_inside_the_bound_and_children_inside_their_parents() {
    let mut shown = 0;
    seeds::each(0..1000, 1000, |seed| {
        let (world, mut random) = skewed(seed);
        let loss = [0, 0, 20, 60][random.usize(..4)];
        let lost = world.entries().into_iter().map(|(_, entry)| entry);
        let kept: Vec<_> = lost.filter(|_| random.usize(..100) >= loss).collect();
        let builder = TreeBuilder::batch(world.origin, kept);
        let tree = builder.tree();
        let truth = |node: selvedge_calltree::NodeView<'_>| {
            let id = node.id();
            let call = world
                .calls
                .iter()
                .find(|call| Some(call.identifier.own()) == id);
            let call = call.expect("a real call");
            match node.inbound() {
                Some(_) => (call.received, call.service),
                None => (
                    call.sent,
                    call.parent
                        .map_or(world.plan.services, |p| world.calls[p].service),
                ),
            }
        };
        let Some(first) = tree.nodes().find(|node| node.start().is_some()) else {
            return;
        };
        let reference = world.skews[truth(first).1];
        for node in tree.nodes().filter(|node| node.start().is_some()) {
            let (time, _) = truth(node);
            let start = node.start().expect("filtered").0;
            if let Some(bound) = node.skew_bound() {
                let off = (start - (time + reference)).unsigned_abs();
                assert!(off <= bound, "seed {seed}: {off} ns off, bound {bound}");
                shown += 1;
            }
            let Some(parent) = node.parent().filter(|parent| parent.start().is_some()) else {
                continue;
            };
            assert!(start >= parent.start().expect("filtered").0, "seed {seed}");
            let both = node.inbound().is_some() && node.outbound().is_some();
            if both && parent.inbound().is_some() {
                let end = |n: selvedge_calltree::NodeView<'_>| {
                    n.start().expect("filtered").0 + n.duration_ns().expect("all ended") as i64
                };
                assert!(end(node) <= end(parent), "seed {seed}");
                assert!(node.latency_in_ns().is_some_and(|latency| latency >= 0));
            }
        }
        if loss == 0 && tree.len() > 1 {
            assert!(
                tree.nodes().all(|node| node.skew_bound().is_some()),
                "seed {seed}"
            );
        }
    });
    assert!(
        shown > 10_000 || std::env::var_os("SELVEDGE_SEED").is_some(),
        "{shown}"
    );
}

#[test]
fn hosts_hours_apart_flag_the_tree_and_equal_clocks_do_not() {
    let (world, _) = skewed(7);
    let entries = |world: &World| {
        world
            .entries()
            .into_iter()
            .map(|(_, entry)| entry)
            .collect()
    };
    let builder = TreeBuilder::batch(world.origin, entries(&world));
    assert!(builder.tree().flags().contains(&Flag::Skewed));
    let straight = World {
        skews: vec![0; world.skews.len()],
        ..world
    };
    let builder = TreeBuilder::batch(straight.origin, entries(&straight));
    let tree = builder.tree();
    assert!(tree.flags().is_empty());
    // And their times are shown as they are.
    for node in tree.nodes() {
        assert_eq!(node.start(), node.start_raw());
    }
}

#[test]
fn only_the_host_that_is_off_is_moved() {
    let mut moved = 0;
    seeds::each(0..200, 200, |seed| {
        let (mut world, mut random) = skewed(seed);
        world.skews.fill(0);
        // Others are measured by the root's clock.
        let root = world.calls[0].service;
        let off = (root + 1 + random.usize(..world.plan.services - 1)) % world.plan.services;
        world.skews[off] = HOUR_NS as i64;
        let entries = world.entries().into_iter().map(|(_, entry)| entry);
        let builder = TreeBuilder::batch(world.origin, entries.collect());
        let tree = builder.tree();
        let service = |node: &selvedge_calltree::NodeView<'_>| {
            let id = node.id();
            let call = world.calls.iter().find(|c| Some(c.identifier.own()) == id);
            call.expect("a real call").service
        };
        for node in tree.nodes().filter(|node| node.inbound().is_some()) {
            let by = node.start().expect("logged").0 - node.start_raw().expect("logged").0;
            if service(&node) == off {
                moved += usize::from(by != 0);
            } else {
                assert_eq!(by, 0, "seed {seed}");
            }
        }
    });
    assert!(moved > 0 || std::env::var_os("SELVEDGE_SEED").is_some());
}

#[test]
fn clocks_that_contradict_themselves_are_flagged_and_shown_near_the_root() {
    let (mut world, _) = skewed(11);
    world.skews.fill(0);
    let mut entries: Vec<_> = world
        .entries()
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    // One service's clock is stepped by an hour between its entries.
    let stepped = entries[1].service.clone();
    let own = entries.iter_mut().filter(|entry| entry.service == stepped);
    for (nth, entry) in own.enumerate() {
        entry.at.0 += (nth % 2) as i64 * HOUR_NS as i64;
    }
    let builder = TreeBuilder::batch(world.origin, entries);
    let tree = builder.tree();
    assert!(tree.flags().contains(&Flag::Skewed));
    let start = world.calls[0].sent;
    for node in tree.nodes() {
        let off = node.start().expect("all logged").0.abs_diff(start);
        assert!(off <= 3 * HOUR_NS as u64);
    }
}
