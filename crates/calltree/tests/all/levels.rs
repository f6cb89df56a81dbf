//! Depth values that are not levels (D2, D3).

use selvedge_calltree::{Added, Levels, Observation, Place, TreeBuilder};
use selvedge_identity::{RequestIdentifier, StackId};

use crate::world::{Plan, World};

/// The depth value of each level.
type Depths = Box<dyn Fn(u32) -> u32>;

/// The same entries with other depth values.
fn with_depths(world: &World, depth: impl Fn(u32) -> u32) -> Vec<Observation> {
    let renamed = |(_, entry): (usize, Observation)| {
        let stack: Vec<StackId> = {
            let mut ids: Vec<StackId> = entry.place.ids().collect();
            ids.reverse();
            ids
        };
        let depth = depth(entry.place.depth());
        let identifier = RequestIdentifier::from_parts(world.origin, depth, 16, &stack);
        Observation {
            place: Place::new(&identifier.expect("a valid stack"), None),
            ..entry
        }
    };
    world.entries().into_iter().map(renamed).collect()
}

#[test]
fn a_step_or_a_table_of_level_identifiers_gives_the_same_tree() {
    let world = World::new(Plan::default(), 4);
    let plain = TreeBuilder::batch(world.origin, with_depths(&world, |depth| depth));
    let wanted: Vec<_> = plain
        .tree()
        .nodes()
        .map(|node| (node.level(), node.id()))
        .collect();
    let table: Vec<u32> = (0..20u32).map(|level| level * 37 % 101).collect();
    let cases: [(Levels, Depths); 2] = [
        (Levels::Step(10), Box::new(|depth| depth * 10)),
        (
            Levels::Table(table.clone().into()),
            Box::new(move |depth| table[depth as usize]),
        ),
    ];
    for (levels, depth) in cases {
        let mut builder = TreeBuilder::with_levels(world.origin, levels);
        builder.extend(with_depths(&world, &depth));
        let tree = builder.tree();
        assert!(tree.is_complete());
        let found: Vec<_> = tree.nodes().map(|node| (node.level(), node.id())).collect();
        assert_eq!(found, wanted);
        assert!(tree.nodes().all(|node| node.depth() == depth(node.level())));
    }
}

#[test]
fn a_depth_that_no_level_has_and_a_strange_origin_are_refused_and_counted() {
    let (world, other) = (
        World::new(Plan::default(), 4),
        World::new(Plan::default(), 5),
    );
    let mut builder = TreeBuilder::with_levels(world.origin, Levels::Step(2));
    let odd = with_depths(&world, |_| 3).remove(0);
    assert_eq!(builder.add(odd), Added::Refused);
    let strange = with_depths(&other, |depth| depth * 2).remove(0);
    assert_eq!(builder.add(strange), Added::Refused);
    assert_eq!(builder.refused(), 2);
    assert!(builder.is_empty());
    assert_eq!(builder.tree().warnings().len(), 1);
}
