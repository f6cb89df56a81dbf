//! Entries from records that come in any batches, again and again, with restarts in between,
//! against a plain model.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_bus::Batch;
use selvedge_entry::{Record, Timestamp};
use selvedge_filter::Needs;
use selvedge_follow::Follow;
use selvedge_identity::{Epoch, ServerName};

use crate::{closing, effect, encoded, opening};

fn epoch(counter: u32) -> Epoch {
    Epoch { counter, random: 7 }
}

/// A journal of entries: how far each comes (1 to 3 records), interleaved.
fn journal(lives: &[u8]) -> Vec<Bytes> {
    let mut records = vec![Bytes::from_static(b"\0epoch")];
    let mut later = Vec::new();
    for (index, life) in lives.iter().enumerate() {
        let sequence = records.len() as u64;
        let attribute = index.to_string();
        records.push(match life {
            0 => encoded(&Record::Whole(opening(&attribute, Timestamp(1)), closing())),
            _ => encoded(&Record::Opening(opening(&attribute, Timestamp(1)))),
        });
        if *life > 1 {
            later.push(Record::Effect {
                opening: sequence,
                effect: effect(),
            });
        }
        if *life > 2 {
            later.push(Record::Closing {
                opening: sequence,
                closing: closing(),
            });
        }
        if index % 3 == 0 {
            records.extend(later.drain(..).map(|record| encoded(&record)));
        }
    }
    records.extend(later.iter().map(encoded));
    records
}

proptest! {
    #[test]
    fn each_step_of_each_entry_comes_once(
        lives in prop::collection::vec(0..4_u8, 1..20),
        cuts in prop::collection::vec((0..60_usize, 1..20_usize, any::<bool>()), 0..30),
    ) {
        let records = journal(&lives);
        let server = ServerName::new("content-1").unwrap();
        let mut follow = Follow::default();
        let mut seen: BTreeMap<String, Vec<Needs>> = BTreeMap::new();
        let mut deliver = |follow: &mut Follow, from: usize, to: usize| {
            let batch = Batch {
                server: server.clone(),
                epoch: epoch(1),
                first: from as u64,
                records: records[from..to].to_vec(),
            };
            follow.take(&batch, |step| {
                let name = step.entry.opening.attributes[0].1.to_string();
                for needs in [Needs::Opening, Needs::Effect, Needs::Closing] {
                    if step.completes(needs) {
                        seen.entry(name.clone()).or_default().push(needs);
                    }
                }
            });
        };
        // A bus delivers from where it was asked to, or from before.
        for (back, length, restart) in cuts {
            let next = follow.positions().first().map_or(0, |p| p.sequence as usize);
            let from = next.saturating_sub(back);
            deliver(&mut follow, from, (from + length).min(records.len()));
            if restart {
                follow = Follow::restore(follow.saved());
            }
        }
        let next = follow.positions().first().map_or(0, |p| p.sequence as usize);
        deliver(&mut follow, next, records.len());
        for (index, life) in lives.iter().enumerate() {
            let steps: &[Needs] = match life {
                1 => &[Needs::Opening],
                2 => &[Needs::Opening, Needs::Effect],
                _ => &[Needs::Opening, Needs::Effect, Needs::Closing],
            };
            prop_assert_eq!(&seen[&index.to_string()], steps);
        }
        prop_assert_eq!(follow.counts().records, records.len() as u64);
        prop_assert_eq!(follow.counts().unreadable, 0);
    }
}

#[test]
fn another_epoch_ends_what_was_open_and_an_older_one_is_passed_over() {
    let server = ServerName::new("content-1").unwrap();
    let batch = |counter, records: Vec<Bytes>| Batch {
        server: server.clone(),
        epoch: epoch(counter),
        first: 0,
        records,
    };
    let mut follow = Follow::default();
    let mut steps = 0;
    follow.take(&batch(1, journal(&[1])), |_| steps += 1);
    follow.take(&batch(2, journal(&[0])), |_| steps += 1);
    follow.take(&batch(1, journal(&[1, 1])), |_| steps += 1);
    assert_eq!(steps, 2);
    let counts = follow.counts();
    assert_eq!((counts.unclosed, counts.repeated), (1, 3));
}

#[test]
fn a_gap_is_counted_and_passed() {
    let server = ServerName::new("content-1").unwrap();
    let mut follow = Follow::default();
    follow.gap(&server, epoch(1), 0, 40);
    follow.gap(&server, epoch(1), 30, 45);
    assert_eq!(follow.counts().lost, 45);
    assert_eq!(follow.positions()[0].sequence, 45);
    // Of an entry whose opening was lost there is nothing to tell.
    let late = encoded(&Record::Closing {
        opening: 3,
        closing: closing(),
    });
    let batch = Batch {
        server,
        epoch: epoch(1),
        first: 45,
        records: vec![late, Bytes::from_static(b"\xff?")],
    };
    follow.take(&batch, |_| panic!("nothing to tell"));
    assert_eq!(follow.counts().unreadable, 1);
}
