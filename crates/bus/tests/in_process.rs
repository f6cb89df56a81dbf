//! The embedded hub inside one process: the contract's tests, and what only the hub promises.

#[macro_use]
mod acknowledging;
#[macro_use]
mod contract;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use contract::{Harness, name, publish};
use reader::Model;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, Event, Hub, HubOptions, Pace, Subscribe, Subscription};
use selvedge_identity::Position;
use tokio::time::Instant;

struct InProcess(Hub);

impl Harness for InProcess {
    async fn start() -> Self {
        Self(Hub::new(HubOptions {
            ring_bytes: 64 * 1024,
            ..HubOptions::default()
        }))
    }

    async fn link(&self, _name: &str) -> Arc<dyn Bus> {
        Arc::new(self.0.clone())
    }
}

contract_tests!(InProcess);
acknowledging_tests!(InProcess);

#[tokio::test]
async fn the_ring_stays_within_its_bound_while_nobody_reads() {
    let InProcess(hub) = InProcess::start().await;
    let _unread = hub.subscribe(Subscribe::oldest("unread")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 20_000).await;
    let status = &hub.journals()[0];
    assert!(status.ring_bytes <= 64 * 1024, "{status:?}");
    assert_eq!(status.epochs, [(journal.next().0, 20_001)]);
    assert!(status.present);
}

#[tokio::test]
async fn a_reader_that_fell_behind_the_ring_is_counted_once_and_refilled() {
    let InProcess(hub) = InProcess::start().await;
    let mut slow = hub.subscribe(Subscribe::oldest("slow")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let mut model = Model::default();
    publish(&journal, &*publisher, 10).await;
    model.catch_up(&mut slow, &journal).await;
    assert_eq!(hub.metrics().slow_subscribers, 0);
    publish(&journal, &*publisher, 10_000).await;
    model.catch_up(&mut slow, &journal).await;
    let metrics = hub.metrics();
    assert_eq!(metrics.slow_subscribers, 1);
    assert!(metrics.refilled > 0);
    assert_eq!(metrics.delivered, 10_011);
    assert_eq!(metrics.announced, 10_010);
    assert_eq!(metrics.gaps, 0);
}

#[tokio::test]
async fn a_subscriber_from_the_future_is_counted_and_gets_nothing_before_what_it_asked_for() {
    let InProcess(hub) = InProcess::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    let (epoch, end) = journal.next();
    let at = |sequence| Position {
        server: name("a"),
        epoch,
        sequence,
    };
    for (sequence, ahead) in [(end - 1, 0), (end, 0), (end + 5, 1)] {
        let request = Subscribe::oldest("reader").from(vec![at(sequence)]);
        let mut reader = hub.subscribe(request).await.unwrap();
        assert!(matches!(reader.next().await, Some(Event::Joined { .. })));
        assert_eq!(hub.metrics().subscribers_ahead, ahead, "{sequence}");
        if ahead > 0 {
            publish(&journal, &*publisher, 8).await;
            let Some(Event::Batch(batch)) = reader.next().await else {
                panic!("records come next");
            };
            assert_eq!((batch.first, batch.end()), (sequence, end + 8));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_delay_moves_every_delivery_and_limits_no_throughput() {
    let delay = Duration::from_millis(500);
    let hub = Hub::new(HubOptions {
        delay,
        ..HubOptions::default()
    });
    let mut reader = hub.subscribe(Subscribe::oldest("reader")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let begun = Instant::now();
    let step = Duration::from_millis(1);
    let announcing = async {
        for _ in 0..100 {
            publish(&journal, &*publisher, 1).await;
            tokio::time::sleep(step).await;
        }
    };
    let reading = async {
        let mut sequence = 0;
        while sequence < 101 {
            if let Some(Event::Batch(batch)) = reader.next().await {
                for _ in &batch.records {
                    let announced =
                        begun + step * u32::try_from(sequence).unwrap().saturating_sub(1);
                    let late = Instant::now() - announced;
                    assert!(late >= delay && late <= delay + 2 * step, "{late:?}");
                    sequence += 1;
                }
            }
        }
    };
    tokio::join!(announcing, reading);
}

#[tokio::test]
async fn a_stopped_hub_ends_subscriptions_and_refuses_publishers() {
    let hub = Hub::default();
    let mut reader = hub.subscribe(Subscribe::oldest("reader")).await.unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    hub.stop().await;
    while reader.next().await.is_some() {}
    assert!(
        publisher
            .announce(journal.append_numbered(1))
            .await
            .is_err()
    );
    assert!(hub.subscribe(Subscribe::oldest("late")).await.is_err());
}

#[tokio::test]
async fn records_of_an_absent_owner_come_from_the_ring_and_the_rest_on_its_return() {
    let InProcess(hub) = InProcess::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 100).await;
    let mut reader = hub.subscribe(Subscribe::oldest("reader")).await.unwrap();
    let mut model = Model::default();
    model
        .until(&mut reader, |m| m.next(&name("a"), journal.next().0) >= 1)
        .await;
    drop(publisher);
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 101);
    journal.append_numbered(10);
    let _back = hub.join(journal.clone()).await.unwrap();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 111);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_paced_subscriber_gets_comes_together_and_the_first_of_it_at_once() {
    const EVERY: Duration = Duration::from_secs(5);
    let InProcess(hub) = InProcess::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = hub.join(journal.clone()).await.unwrap();
    let pace = Pace::every(EVERY);
    let hurry = pace.hurry.clone();
    let paced = Subscribe::oldest("b").pace(pace);
    let mut reader = hub.subscribe(paced).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    tokio::time::sleep(2 * EVERY).await;

    let begun = Instant::now();
    let announce = async || {
        let batch = journal.append_numbered(10);
        publisher.announce(batch).await.unwrap();
    };
    let next = async |reader: &mut Subscription| match reader.next().await {
        Some(Event::Batch(batch)) => (batch.records.len(), begun.elapsed()),
        other => panic!("{other:?}"),
    };
    announce().await;
    assert_eq!(next(&mut reader).await, (10, Duration::ZERO));
    announce().await;
    announce().await;
    assert_eq!(next(&mut reader).await, (20, EVERY));
    announce().await;
    hurry.notify_one();
    assert_eq!(next(&mut reader).await, (10, EVERY));
}
