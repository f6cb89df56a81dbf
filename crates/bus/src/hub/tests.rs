//! The hub's pure core, where a test through the bus could not steer the time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};
use tokio::time::Instant;

use super::cursor::{Place, Step};
use super::journal::{Bound, JournalState, Owner, Shared};
use crate::testing::MemoryJournal;
use crate::{Batch, Extent};

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
