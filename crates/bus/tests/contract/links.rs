//! What every bus passes whose programs are apart, beside the contract.

use std::sync::Arc;

use bytes::Bytes;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{BusError, Publisher, Subscribe};

use super::Harness;
use crate::reader::Model;

pub(crate) async fn records_longer_than_a_batch_pass<H: Harness>() {
    let bus = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let owner = bus.link("a").await;
    let publisher = owner.join(journal.clone()).await.unwrap();
    let long = Bytes::from(vec![5; 3_000_000]);
    let batch = journal.append(vec![long.clone(), long.slice(..10), long.clone()]);
    publisher.announce(batch).await.unwrap();
    let follower = bus.link("b").await;
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    let held = &model.held(&journal, journal.next().0).records;
    assert_eq!(
        [held[&1].len(), held[&2].len(), held[&3].len()],
        [3_000_000, 10, 3_000_000]
    );
    assert_eq!(model.missing(), 0);
}

pub(crate) async fn records_that_nobody_announces_are_told_with_the_heartbeat<H: Harness>() {
    let bus = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a.b"));
    let owner = bus.link("a.b").await;
    let _publisher = owner.join(journal.clone()).await.unwrap();
    let follower = bus.link("b").await;
    let mut reader = follower.subscribe(Subscribe::oldest("b")).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    journal.append_numbered(10);
    model.catch_up(&mut reader, &journal).await;
    journal.begin_epoch();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 12);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

/// Announces until another program is found to have the name: what the owner is told.
pub(crate) async fn announce_until_refused(
    journal: &MemoryJournal,
    publisher: &dyn Publisher,
) -> BusError {
    loop {
        match publisher.announce(journal.append_numbered(1)).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    }
}

/// Announces until the name is the owner's again.
pub(crate) async fn announce_until_taken(journal: &MemoryJournal, publisher: &dyn Publisher) {
    while publisher
        .announce(journal.append_numbered(1))
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
}

macro_rules! link_tests {
    ($harness:ty) => {
        contract_tests! { $harness:
            records_longer_than_a_batch_pass
            records_that_nobody_announces_are_told_with_the_heartbeat
        }
    };
}
