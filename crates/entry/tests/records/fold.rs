//! However the records of a journal come, the entries end the same.

use crate::any;
use proptest::prelude::*;
use selvedge_entry::{Effect, Entry, Fold, Outcome, Record, fold_all};
use selvedge_identity::{Epoch, Position, ServerName};

fn fold() -> Fold {
    let epoch = Epoch {
        counter: 1,
        random: 7,
    };
    Fold::new(ServerName::new("a").unwrap(), epoch)
}

fn entries(records: &[(u64, Record)]) -> Vec<Entry> {
    let mut fold = fold();
    for (sequence, record) in records {
        fold.apply(*sequence, record.clone());
    }
    fold.into_entries().collect()
}

/// A journal of records: those that follow name any sequence near theirs, so that most name an
/// opening, some name one twice, and some name what is no opening.
fn journal() -> impl Strategy<Value = Vec<(u64, Record)>> {
    prop::collection::vec((any::record(), 0..12_u64), 0..24).prop_map(|records| {
        let number = |(sequence, (mut record, back)): (usize, (Record, u64))| {
            let sequence = sequence as u64;
            match &mut record {
                Record::Effect { opening, .. }
                | Record::Closing { opening, .. }
                | Record::Broadcast { opening, .. } => {
                    *opening = sequence.saturating_sub(back);
                }
                Record::Opening(_) | Record::Whole(..) => {}
            }
            (sequence, record)
        };
        records.into_iter().enumerate().map(number).collect()
    })
}

/// What the entries must be, straight from the definition.
fn model(records: &[(u64, Record)]) -> Vec<Entry> {
    let mut all = Vec::new();
    for (sequence, record) in records {
        let (opening, whole) = match record {
            Record::Opening(opening) => (opening, None),
            Record::Whole(opening, closing) => (opening, Some((*sequence, &**closing))),
            _ => continue,
        };
        let effect = records.iter().find_map(|(at, record)| match record {
            Record::Effect { opening, effect } if opening == sequence && at > opening => {
                Some((*at, effect.clone()))
            }
            _ => None,
        });
        let closing = whole.or_else(|| {
            records.iter().find_map(|(at, record)| match record {
                Record::Closing { opening, closing } if opening == sequence && at > opening => {
                    Some((*at, &**closing))
                }
                _ => None,
            })
        });
        let stand_in = closing.map(|(at, closing)| {
            let effect = Effect {
                after_ns: closing.duration_ns,
                status: closing.status,
                outcome: closing.outcome,
                attributes: Vec::new(),
                state: Vec::new(),
            };
            (at, effect)
        });
        all.push(Entry {
            position: Position {
                server: ServerName::new("a").unwrap(),
                epoch: Epoch {
                    counter: 1,
                    random: 7,
                },
                sequence: *sequence,
            },
            opening: (**opening).clone(),
            effect: effect.or(stand_in),
            closing: closing.map(|(_, closing)| closing.clone()),
        });
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_repetition_end_in_the_model_s_entries(
        records in journal(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        order in any::<u64>(),
    ) {
        let expected = model(&records);
        prop_assert_eq!(&entries(&records), &expected);

        let mut shuffled = records.clone();
        if !records.is_empty() {
            shuffled.extend(picks.iter().map(|pick| records[pick.index(records.len())].clone()));
        }
        // Any fixed shuffle will do: sort by a hash of place and seed.
        let mut keyed: Vec<_> = shuffled.into_iter().enumerate().collect();
        keyed.sort_by_key(|(place, _)| (*place as u64 ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let shuffled: Vec<_> = keyed.into_iter().map(|(_, record)| record).collect();
        prop_assert_eq!(&entries(&shuffled), &expected);

        let positioned = shuffled.into_iter().map(|(sequence, record)| {
            let position = Position {
                server: ServerName::new("a").unwrap(),
                epoch: Epoch { counter: 1, random: 7 },
                sequence,
            };
            (position, record)
        });
        prop_assert_eq!(&fold_all(positioned), &expected);
    }

    #[test]
    fn apply_names_the_entry_exactly_when_it_changed(records in journal(), seed in any::<u64>()) {
        let mut keyed = records.clone();
        keyed.sort_by_key(|(place, _)| (place ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut fold = fold();
        for (sequence, record) in keyed.iter().chain(&records) {
            let before: Vec<Entry> = fold.entries().cloned().collect();
            let changed = fold.apply(*sequence, record.clone());
            let differ: Vec<u64> = fold
                .entries()
                .filter(|entry| !before.contains(entry))
                .map(|entry| entry.position.sequence)
                .collect();
            // A second copy of the same content at another sequence changes places, not content.
            prop_assert!(differ.is_empty() || differ == changed.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn too_much_that_waits_is_dropped_oldest_first_and_counted() {
    let effect = |opening| Record::Effect {
        opening,
        effect: Effect {
            after_ns: 1,
            status: 200,
            outcome: Outcome::Ok,
            attributes: Vec::new(),
            state: Vec::new(),
        },
    };
    let epoch = Epoch {
        counter: 1,
        random: 7,
    };
    let server = ServerName::new("a").unwrap();
    let mut by_count = Fold::with_limits(server.clone(), epoch, 2, usize::MAX);
    let mut by_bytes = Fold::with_limits(server, epoch, usize::MAX, 128);
    for fold in [&mut by_count, &mut by_bytes] {
        for opening in [1, 2, 3, 3] {
            assert_eq!(fold.apply(100 + opening, effect(opening)), None);
        }
        assert_eq!((fold.waiting(), fold.dropped()), (2, 1));
    }
}
