//! The same tree for any order, split and repetition of the same observations.

use fastrand::Rng;
use proptest::prelude::*;
use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::Outcome;

use crate::world::{Plan, Style, World};

fn plan() -> impl Strategy<Value = Plan> {
    let style = (
        1..8usize,
        prop::sample::select(vec![1u8, 4, 8]),
        any::<bool>(),
    );
    let style = style.prop_map(|(k, width, cuts)| Style { k, width, cuts });
    (
        (1..120usize, 1..20usize, 1..15usize, 1..12usize),
        prop::collection::vec(style, 1..4),
        prop::sample::select(vec![1usize, 8]),
        any::<bool>(),
    )
        .prop_map(
            |((calls, fan_out, depth, services), styles, id_bytes, whole_ids)| Plan {
                calls,
                fan_out,
                depth,
                services,
                styles,
                id_bytes,
                whole_ids,
            },
        )
}

fn json(builder: &TreeBuilder) -> serde_json::Value {
    let tree = builder.tree();
    let json = serde_json::to_value(tree.to_json()).expect("a tree is json");
    let written = serde_json::to_value(tree.written()).expect("a tree is json");
    assert_eq!(written, json, "both write the same");
    json
}

/// The same shuffled; some come twice, some first without their end.
fn disturbed(kept: &[Observation], random: &mut Rng) -> Vec<Observation> {
    let mut all = kept.to_vec();
    for entry in kept {
        if random.usize(..100) < 20 {
            all.push(entry.clone());
        }
        if random.usize(..100) < 20 {
            let opening = Observation {
                duration_ns: None,
                head_ns: None,
                status: 0,
                outcome: Outcome::Unknown,
                work: None,
                ..entry.clone()
            };
            all.push(opening);
        }
    }
    random.shuffle(&mut all);
    all
}

/// So many entries that a batch is put in order first, and that they fill more than one piece of
/// memory; and so many repeats that what they left is cleared away.
#[test]
fn ten_thousand_entries_make_one_tree_however_they_come() {
    let mut random = Rng::with_seed(7);
    let plan = Plan {
        calls: 6000,
        fan_out: 8,
        depth: 30,
        services: 12,
        styles: vec![
            Style {
                k: 6,
                width: 4,
                cuts: false,
            },
            Style {
                k: 4,
                width: 8,
                cuts: true,
            },
        ],
        id_bytes: 8,
        whole_ids: true,
    };
    let world = World::new(plan, 7);
    let kept: Vec<Observation> = world
        .entries()
        .into_iter()
        .map(|(_, entry)| entry)
        .filter(|_| random.usize(..100) >= 10)
        .collect();
    assert!(kept.len() > 9000, "{}", kept.len());
    let expected = json(&TreeBuilder::batch(world.origin, kept.clone()));
    let mut disturbed = disturbed(&kept, &mut random);
    disturbed.extend((0..2).flat_map(|_| kept.clone()));
    let batch = TreeBuilder::batch(world.origin, disturbed.clone());
    let mut single = TreeBuilder::new(world.origin);
    let mut pieces = TreeBuilder::new(world.origin);
    for piece in disturbed.chunks(97) {
        pieces.extend(piece.iter().cloned());
        for entry in piece {
            single.add(entry.clone());
        }
    }
    for builder in [batch, single, pieces] {
        assert_eq!(builder.len(), kept.len());
        assert!(json(&builder) == expected, "the same tree");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_splits_and_repeats_change_nothing(plan in plan(), seed in any::<u64>(), loss in 0..90usize) {
        let mut random = Rng::with_seed(seed);
        let mut world = World::new(plan, seed);
        for skew in &mut world.skews {
            *skew = random.usize(..7_200_000_000_000) as i64 - 3_600_000_000_000;
        }
        let kept: Vec<Observation> = world.entries().into_iter().map(|(_, entry)| entry).filter(|_| random.usize(..100) >= loss).collect();
        let batch = json(&TreeBuilder::batch(world.origin, kept.clone()));

        let mut shuffled = disturbed(&kept, &mut random);
        let mut builder = TreeBuilder::new(world.origin);
        let split = random.usize(..shuffled.len() + 1);
        let rest = shuffled.split_off(split);
        for entry in shuffled {
            builder.add(entry);
            if random.usize(..100) < 5 {
                let _ = builder.tree();
            }
        }
        builder.extend(rest);
        prop_assert_eq!(builder.len(), kept.len());
        prop_assert_eq!(json(&builder), batch);
    }
}
