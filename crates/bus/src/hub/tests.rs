//! The hub's pure core, where a test through the bus could not steer the time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_identity::{Epoch, ServerName};
use tokio::time::Instant;

use super::cursor::{Place, Step};
use super::journal::{Bound, JournalState, Owner, Shared};
use crate::testing::MemoryJournal;
use crate::{Batch, Extent, ReportMode};

fn epoch(counter: u32) -> Epoch {
    Epoch {
        counter,
        random: counter.into(),
    }
}

fn extent(counter: u32, end: u64) -> Extent {
    Extent {
        epoch: epoch(counter),
        first: 0,
        end,
    }
}

fn owned_journal() -> JournalState {
    let mut journal = JournalState::new(ServerName::new("a").unwrap());
    journal.set_owner(Some(Owner {
        generation: 1,
        link: "test".to_owned(),
        instance: None,
        source: Arc::new(MemoryJournal::new("a")),
    }));
    journal
}

fn batch(counter: u32, first: u64, count: usize) -> Arc<Shared> {
    Shared::new(Batch {
        server: ServerName::new("a").unwrap(),
        epoch: epoch(counter),
        first,
        records: vec![Bytes::from_static(b"x"); count],
    })
}

#[test]
fn with_a_delay_what_was_known_earlier_is_read_while_the_rest_waits() {
    let mut journal = owned_journal();
    let delay = Duration::from_millis(500);
    let begun = Instant::now();
    journal.merge(&[extent(1, 10)], begun);
    let later = begun + Duration::from_millis(400);
    journal.merge(&[extent(1, 20)], later);
    journal.merge(&[extent(1, 20)], later + delay / 2); // says nothing new
    let now = begun + delay;
    let mut place = Place::At(epoch(1), 4);
    match journal.step(&mut place, now, delay, Bound::None) {
        Step::Refill {
            from: 4, limit: 10, ..
        } => {}
        other => panic!("{other:?}"),
    }
    let mut place = Place::At(epoch(1), 10);
    match journal.step(&mut place, now, delay, Bound::None) {
        Step::Due(due) => assert_eq!(due, later + delay),
        other => panic!("{other:?}"),
    }
    match journal.step(&mut place, later + delay, delay, Bound::None) {
        Step::Refill {
            from: 10,
            limit: 20,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn epochs_that_only_the_hub_knows_keep_their_place() {
    let now = Instant::now();
    let mut journal = owned_journal();
    journal.merge(&[extent(1, 5), extent(2, 5), extent(3, 5)], now);
    journal.merge(&[extent(1, 5), extent(3, 5), extent(4, 1)], now);
    let order: Vec<_> = journal
        .epochs
        .iter()
        .map(|k| (k.epoch.counter, k.at_owner))
        .collect();
    assert_eq!(order, [(1, true), (2, false), (3, true), (4, true)]);
    // A lost disk: the counting begins anew, behind everything that was.
    let anew = Extent {
        epoch: Epoch {
            counter: 1,
            random: 99,
        },
        first: 0,
        end: 1,
    };
    journal.merge(&[anew], now);
    assert_eq!(journal.epochs.last().map(|k| k.epoch), Some(anew.epoch));
    assert_eq!(journal.epochs.len(), 5);
}

#[test]
fn a_volatile_epoch_that_its_owner_forgot_comes_from_the_ring_and_then_ends_in_a_gap() {
    let now = Instant::now();
    let mut journal = owned_journal();
    journal.merge(&[extent(1, 5)], now);
    journal.announce(&batch(2, 0, 3), now, 1 << 20);
    journal.announce(&batch(2, 4, 2), now, 1 << 20);
    journal.merge(&[extent(1, 5), extent(3, 1)], now);
    let mut place = Place::At(epoch(1), 5);
    let mut steps = Vec::new();
    loop {
        match journal.step(&mut place, now, Duration::ZERO, Bound::None) {
            Step::Whole(shared) => steps.push(("batch", shared.batch.first, shared.batch.end())),
            Step::Gap { from, to, .. } => steps.push(("gap", from, to)),
            Step::Refill {
                epoch: at,
                from,
                limit,
            } => {
                assert_eq!((at, from, limit), (epoch(3), 0, 1));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(steps, [("batch", 0, 3), ("gap", 3, 4), ("batch", 4, 6)]);
}

proptest! {
    /// Whatever is announced, falls out of the ring and is reported: a subscriber who reports gets
    /// everything up to the report, once and in order, and nothing behind it.
    #[test]
    fn a_bounded_walk_ends_at_the_report(
        steps in prop::collection::vec((0..4_u8, 1..40_u64), 1..40),
        ring_bytes in 0..2000_usize,
    ) {
        let now = Instant::now();
        let mut journal = owned_journal();
        journal.terms.mode = ReportMode::Period;
        // What the owner has, what it reported, and what the walk has given.
        let mut ends: Vec<u64> = vec![1];
        journal.merge(&[extent(1, 1)], now);
        let mut reported: Vec<u64> = Vec::new();
        let mut given: Vec<u64> = Vec::new();
        let mut place = Place::Oldest;
        for (step, count) in steps {
            let at = ends.len() as u32;
            let end = ends[ends.len() - 1];
            match step {
                0 => {
                    journal.announce(&batch(at, end, count as usize), now, ring_bytes);
                    *ends.last_mut().unwrap() += count;
                }
                1 => {
                    ends.push(1);
                    let extents: Vec<Extent> =
                        (1..).zip(&ends).map(|(counter, end)| extent(counter, *end)).collect();
                    journal.merge(&extents, now);
                }
                2 => {
                    let end = end.saturating_sub(count % 3);
                    let earlier = (reported.len(), reported.last().copied().unwrap_or(0));
                    if (ends.len(), end) > earlier {
                        journal.report(epoch(at), end);
                        reported.clone_from(&ends);
                        *reported.last_mut().unwrap() = end;
                    }
                }
                _ => loop {
                    let bound = journal.bound();
                    let (at, from, to) = match journal.step(&mut place, now, Duration::ZERO, bound) {
                        Step::Whole(shared) => (shared.batch.epoch, shared.batch.first, shared.batch.end()),
                        Step::Part(shared, from, to) => (shared.batch.epoch, from, to),
                        Step::Refill { epoch, from, limit } => {
                            place = Place::At(epoch, limit);
                            (epoch, from, limit)
                        }
                        Step::Idle => break,
                        other => panic!("{other:?}"),
                    };
                    given.resize(given.len().max(at.counter as usize), 0);
                    let next = &mut given[at.counter as usize - 1];
                    prop_assert_eq!(*next, from, "in order, and once");
                    *next = to;
                    prop_assert!(given.len() <= reported.len());
                    prop_assert!(given.iter().zip(&reported).all(|(given, reported)| given <= reported));
                },
            }
        }
        let bound = journal.bound();
        loop {
            match journal.step(&mut place, now, Duration::ZERO, bound) {
                Step::Refill { epoch, limit, .. } => place = Place::At(epoch, limit),
                Step::Idle => break,
                _ => {}
            }
        }
        if let (Some(end), Place::At(at, sequence)) = (reported.last(), place) {
            prop_assert_eq!((at.counter as usize, sequence), (reported.len(), *end));
        }
    }
}
