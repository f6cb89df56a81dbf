//! The same tree for any order, split and repetition of the same observations.

use proptest::prelude::*;
use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::Outcome;

use crate::world::{Plan, Random, Style, World};

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_splits_and_repeats_change_nothing(plan in plan(), seed in any::<u64>(), loss in 0..90usize) {
        let mut random = Random(seed);
        let mut world = World::new(plan, seed);
        for skew in &mut world.skews {
            *skew = random.below(7_200_000_000_000) as i64 - 3_600_000_000_000;
        }
        let kept: Vec<Observation> = world.entries().into_iter().map(|(_, entry)| entry).filter(|_| !random.chance(loss)).collect();
        let batch = json(&TreeBuilder::batch(world.origin, kept.clone()));

        let mut shuffled = kept.clone();
        // Some come twice, some first without their end.
        for entry in &kept {
            if random.chance(20) {
                shuffled.push(entry.clone());
            }
            if random.chance(20) {
                let opening = Observation {
                    duration_ns: None,
                    head_ns: None,
                    status: 0,
                    outcome: Outcome::Unknown,
                    work: None,
                    ..entry.clone()
                };
                shuffled.push(opening);
            }
        }
        random.shuffle(&mut shuffled);
        let mut builder = TreeBuilder::new(world.origin);
        let split = random.below(shuffled.len() + 1);
        let rest = shuffled.split_off(split);
        for entry in shuffled {
            builder.add(entry);
            if random.chance(5) {
                let _ = builder.tree();
            }
        }
        builder.extend(rest);
        prop_assert_eq!(builder.len(), kept.len());
        prop_assert_eq!(json(&builder), batch);
    }
}
