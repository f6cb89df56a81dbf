//! The filling over a disk that refuses.

use std::path::Path;

use async_trait::async_trait;
use selvedge_bus::{Batch, Events};
use selvedge_journal::testing::{Crash, FaultyStorage};
use tokio::sync::mpsc;

use super::*;
use crate::fixture;
use crate::store::StoreOptions;

struct Feed(mpsc::UnboundedReceiver<Event>);

#[async_trait]
impl Events for Feed {
    async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

fn open(disk: &FaultyStorage) -> Arc<Store> {
    let store = Store::open(
        Arc::new(disk.clone()),
        Path::new("/repository"),
        StoreOptions::default(),
    );
    Arc::new(store.expect("opens"))
}

fn batch(entries: u8) -> Event {
    let epoch = fixture::epoch(1, 0);
    let specs = vec![fixture::Spec::default(); usize::from(entries)];
    let records = fixture::records(epoch, None, &specs);
    Event::Batch(Batch {
        server: fixture::server(1),
        epoch,
        first: 0,
        records: records.iter().map(fixture::Written::bytes).collect(),
    })
}

/// The seeded simulation's: the disk refused one sync, nothing came for a long time, the host
/// stopped, and all that had come before was gone from the repository.
#[tokio::test(start_paused = true)]
async fn a_sync_that_the_disk_refused_is_tried_again_though_nothing_comes() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let state = Arc::new(IngestState::default());
    state.following.store(true, Ordering::Relaxed);
    let (_stop, stopped) = watch::channel(false);
    let (events, feed) = mpsc::unbounded_channel();
    let filler = Filler {
        store: store.clone(),
        state: state.clone(),
        stopped,
        sync_at: None,
    };
    let filling = tokio::spawn(filler.run(Subscription::new(Box::new(Feed(feed)))));
    disk.fail_syncs(2);
    events.send(batch(3)).expect("it follows");
    tokio::time::sleep(SYNC_AFTER + Duration::from_millis(1)).await;
    let trouble = state.trouble().expect("the disk refused");
    assert!(trouble.contains("sync failed"), "{trouble}");
    tokio::time::sleep(RETRY_AFTER * 2).await;
    assert_eq!(state.trouble(), None, "the third sync went well");
    assert_eq!(state.failures(), 2);
    let taken = store.counts();
    assert_eq!(taken.entries, 3);

    filling.abort();
    assert!(filling.await.is_err(), "it ended without a last sync");
    drop(store);
    disk.crash(Crash::Forget);
    let store = open(&disk);
    assert_eq!(store.counts().entries, 3);
    assert_eq!(store.counts().records, taken.records);
    assert_eq!(store.positions()[0].sequence, taken.records);
}

/// Where something comes before the next try, it goes to the next file, and what was in doubt is
/// fetched again after a crash.
#[tokio::test(start_paused = true)]
async fn what_comes_while_a_sync_waits_for_its_next_try_is_taken() {
    let disk = FaultyStorage::new();
    let store = open(&disk);
    let Event::Batch(whole) = batch(4) else {
        unreachable!("a batch");
    };
    let end = whole.end();
    let first = whole.slice(0, 3).expect("three records");
    let rest = whole.slice(3, end).expect("the others");
    let append = |store: &Store, part: &Batch| {
        store.append(&part.server, part.epoch, part.first, &part.records)
    };
    append(&store, &first).expect("written");
    disk.fail_syncs(1);
    store.sync().expect_err("the disk refuses");
    append(&store, &rest).expect("written to the next file");
    store.sync().expect("the disk is sound");
    assert!(!store.unsynced());
    drop(store);
    disk.crash(Crash::Forget);
    let store = open(&disk);
    assert_eq!(store.positions(), [], "the epoch's beginning is gone");
    append(&store, &first).expect("again");
    assert_eq!(store.positions()[0].sequence, end);
    assert_eq!(store.counts().entries, 4);
}
