//! Trees of requests of which nothing is lost, and single losses one can follow by hand.

use crate::world::{Plan, World};
use selvedge_calltree::{Evidence, Flag, TreeBuilder};
use selvedge_entry::Direction;

#[test]
fn a_whole_log_gives_the_whole_tree() {
    let world = World::new(Plan::default(), 1);
    let entries = world
        .entries()
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    let builder = TreeBuilder::batch(world.origin, entries);
    let tree = builder.tree();
    assert!(tree.is_complete(), "{:?}", tree.flags());
    assert_eq!(tree.len(), world.calls.len());
    assert!(
        tree.nodes()
            .all(|node| node.evidence() == Evidence::Observed)
    );
    for node in tree.nodes() {
        let call = world
            .calls
            .iter()
            .find(|call| Some(call.identifier.own()) == node.id());
        let call = call.expect("a real call");
        let parent = call
            .parent
            .map(|parent| world.calls[parent].identifier.own());
        assert_eq!(node.parent().map(|parent| parent.id()), parent.map(Some));
        assert_eq!(node.depth(), call.depth);
        assert_eq!(
            &**node.service().expect("named"),
            format!("service-{}", call.service)
        );
        assert!(node.latency_in_ns().is_none_or(|latency| latency >= 0));
    }
    let json = serde_json::to_value(tree.to_json()).expect("json");
    assert_eq!(json["complete"], true);
    assert_eq!(json["nodes"][0]["parent"], serde_json::Value::Null);
    assert_eq!(
        json["nodes"].as_array().map(Vec::len),
        Some(world.calls.len())
    );
}

#[test]
fn one_lost_service_is_a_node_named_by_its_neighbours() {
    let plan = Plan {
        fan_out: 1,
        services: 50,
        depth: 60,
        ..Plan::default()
    };
    let world = World::new(plan, 2);
    let lost = world
        .calls
        .iter()
        .position(|call| call.depth == 3)
        .expect("deep enough");
    let entries = world.entries().into_iter().map(|(_, entry)| entry);
    let gone = format!("service-{}", world.calls[lost].service);
    let kept: Vec<_> = entries.filter(|entry| *entry.service != *gone).collect();
    let builder = TreeBuilder::batch(world.origin, kept);
    let tree = builder.tree();
    let node = tree
        .nodes()
        .find(|node| node.id() == Some(world.calls[lost].identifier.own()));
    let node = node.expect("named by deeper stacks or its caller");
    assert_eq!(node.evidence(), Evidence::OneSided);
    assert_eq!(node.service().map(|name| name.to_string()), Some(gone));
}

#[test]
fn two_lost_levels_are_inferred_from_the_nearest_entry_below() {
    let world = World::new(
        Plan {
            fan_out: 1,
            calls: 12,
            depth: 11,
            ..Plan::default()
        },
        3,
    );
    let chain: Vec<usize> = {
        let mut at = (0..world.calls.len())
            .max_by_key(|&at| world.calls[at].depth)
            .expect("some");
        let mut chain = vec![at];
        while let Some(parent) = world.calls[at].parent {
            chain.push(parent);
            at = parent;
        }
        chain.into_iter().rev().collect()
    };
    assert!(chain.len() > 5);
    let kept = world.entries().into_iter().filter(|(at, entry)| {
        match chain.iter().position(|c| c == at) {
            Some(2 | 3) => false,
            Some(4) => entry.direction == Direction::Inbound,
            Some(_) => true,
            None => false,
        }
    });
    let builder = TreeBuilder::batch(world.origin, kept.map(|(_, entry)| entry).collect());
    let tree = builder.tree();
    assert_eq!(tree.flags(), [Flag::Inferred]);
    let node = |at: usize| {
        tree.nodes()
            .find(|n| n.id() == Some(world.calls[chain[at]].identifier.own()))
            .expect("there")
    };
    assert_eq!(node(2).inferred_from().map(|(_, lost)| lost), Some(2));
    assert_eq!(node(3).inferred_from().map(|(_, lost)| lost), Some(1));
    assert_eq!(node(3).parent().map(|p| p.index()), Some(node(2).index()));
    assert_eq!(node(2).parent().map(|p| p.index()), Some(node(1).index()));
    assert_eq!(node(4).evidence(), Evidence::OneSided);
}
