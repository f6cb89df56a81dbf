//! The tests that every bus passes. An implementation gives a [`Harness`]; `contract_tests!`
//! makes one test of each behaviour.

#[macro_use]
#[allow(
    dead_code,
    unused_macros,
    reason = "the hub's own process has no links"
)]
pub(crate) mod links;
mod reporting;

use std::sync::Arc;

use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Bus, BusError, Event, Publisher, Source, Subscribe};
use selvedge_identity::{Epoch, Position, ServerName};

#[allow(unused_imports, reason = "as above")]
pub(crate) use self::links::*;
pub(crate) use self::reporting::*;
use crate::reader::{Held, Model};

/// A running bus with a small ring (64 KiB a journal), and links to it.
pub(crate) trait Harness: Sized {
    fn start() -> impl Future<Output = Self> + Send;
    /// A link of a program of its own.
    fn link(&self, name: &str) -> impl Future<Output = Arc<dyn Bus>> + Send;
}

/// Enough to fall out of the ring.
const MANY: usize = 4000;

impl Model {
    pub(crate) fn held(&self, journal: &MemoryJournal, epoch: Epoch) -> &Held {
        &self.journals[&journal.server()][&epoch]
    }

    /// How many records of the journal it has, over all epochs.
    pub(crate) fn count(&self, journal: &MemoryJournal) -> usize {
        let epochs = self.journals.get(&journal.server());
        epochs.map_or(0, |epochs| {
            epochs.values().map(|held| held.records.len()).sum()
        })
    }

    /// The number of records that were reported missing.
    pub(crate) fn missing(&self) -> u64 {
        let gaps = self
            .journals
            .values()
            .flat_map(|e| e.values())
            .flat_map(|held| &held.gaps);
        gaps.map(|(from, to)| to - from).sum()
    }
}

pub(crate) fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a server name")
}

/// Writes and announces numbered records, in batches.
pub(crate) async fn publish(journal: &MemoryJournal, publisher: &dyn Publisher, count: usize) {
    let mut left = count;
    while left > 0 {
        let batch = journal.append_numbered(left.min(100));
        left -= batch.records.len();
        publisher.announce(batch).await.expect("announced");
    }
}

/// Waits until the bus has passed on the whole journal: an announcement only waits for room in a
/// queue, and the ring holds older records until later ones have come.
async fn until_the_bus_has_all<H: Harness>(harness: &H, journal: &MemoryJournal) {
    let link = harness.link("first").await;
    let mut first = link.subscribe(Subscribe::oldest("first")).await.unwrap();
    Model::default().catch_up(&mut first, journal).await;
}

pub(crate) async fn order_is_kept_in_each_journal<H: Harness>() {
    let harness = H::start().await;
    let (a, b) = (
        Arc::new(MemoryJournal::new("a")),
        Arc::new(MemoryJournal::new("b")),
    );
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(Subscribe::oldest("reader"))
        .await
        .unwrap();
    let at_a = harness.link("a").await.join(a.clone()).await.unwrap();
    let at_b = harness.link("b").await.join(b.clone()).await.unwrap();
    for _ in 0..10 {
        publish(&a, &*at_a, 300).await;
        publish(&b, &*at_b, 10).await;
    }
    let mut model = Model::default();
    model.catch_up(&mut reader, &a).await;
    model.catch_up(&mut reader, &b).await;
    assert_eq!((model.count(&a), model.count(&b)), (3001, 101));
    let epoch = a.next().0;
    for (sequence, record) in &model.held(&a, epoch).records {
        if *sequence > 0 {
            assert_eq!(*record, format!("{epoch}/{sequence}"));
        }
    }
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

pub(crate) async fn every_subscriber_gets_every_record<H: Harness>() {
    let harness = H::start().await;
    let journals: Vec<_> = (0..3)
        .map(|n| Arc::new(MemoryJournal::new(&format!("s{n}"))))
        .collect();
    let mut readers = Vec::new();
    for journal in journals.clone() {
        let bus = harness.link(journal.server().as_str()).await;
        readers.push(bus.subscribe(Subscribe::oldest("peer")).await.unwrap());
        let publisher = bus.join(journal.clone()).await.unwrap();
        tokio::spawn(async move {
            publish(&journal, &*publisher, 1000).await;
            std::future::pending::<()>().await;
            drop(publisher);
        });
    }
    for mut reader in readers {
        let mut model = Model::default();
        model
            .until(&mut reader, |m| journals.iter().all(|j| m.count(j) == 1001))
            .await;
        assert_eq!(model.missing(), 0);
    }
}

pub(crate) async fn a_late_joiner_gets_everything_that_the_owner_has<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    journal.append_numbered(50);
    journal.begin_epoch();
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    let mut late = harness
        .link("late")
        .await
        .subscribe(Subscribe::oldest("late"))
        .await
        .unwrap();
    let mut model = Model::default();
    model.catch_up(&mut late, &journal).await;
    assert_eq!(model.count(&journal), 51 + 1 + MANY);
    assert_eq!(model.missing(), 0);
}

pub(crate) async fn records_written_before_joining_count_as_announced<H: Harness>() {
    let harness = H::start().await;
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(Subscribe::oldest("reader"))
        .await
        .unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    journal.append_numbered(500);
    let _publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 501);
}

pub(crate) async fn records_left_out_of_announcements_are_read_from_the_owner<H: Harness>() {
    let harness = H::start().await;
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(Subscribe::oldest("reader"))
        .await
        .unwrap();
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    journal.append_numbered(10);
    publish(&journal, &*publisher, 10).await;
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 31);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

pub(crate) async fn a_subscription_from_now_gets_only_what_comes<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 100).await;
    until_the_bus_has_all(&harness, &journal).await;
    let mut reader = harness
        .link("now")
        .await
        .subscribe(Subscribe::now("now"))
        .await
        .unwrap();
    publish(&journal, &*publisher, 5).await;
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.count(&journal), 5);
    assert_eq!(model.missing(), 0);
}

pub(crate) async fn a_subscription_resumes_at_positions<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    let from = |sequence| Position {
        server: name("a"),
        epoch: journal.next().0,
        sequence,
    };
    for sequence in [10, MANY as u64 - 5, MANY as u64 + 1] {
        let request = Subscribe::oldest("again").from(vec![from(sequence)]);
        let mut reader = harness
            .link("again")
            .await
            .subscribe(request)
            .await
            .unwrap();
        let mut model = Model::default();
        publish(&journal, &*publisher, 1).await;
        model.catch_up(&mut reader, &journal).await;
        let epoch = journal.next().0;
        let first = model
            .held(&journal, epoch)
            .records
            .first_key_value()
            .map(|(s, _)| *s);
        assert_eq!(first, Some(sequence));
        assert_eq!((model.missing(), model.duplicates), (0, 0));
    }
}

pub(crate) async fn records_past_retention_are_an_explicit_gap<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    until_the_bus_has_all(&harness, &journal).await;
    let epoch = journal.next().0;
    journal.forget_before(epoch, 500);
    let from = Position {
        server: name("a"),
        epoch,
        sequence: 100,
    };
    let request = Subscribe::oldest("reader").from(vec![from]);
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(request)
        .await
        .unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.held(&journal, epoch).gaps, [(100, 500)]);
    assert_eq!(model.count(&journal), MANY + 1 - 500);
}

pub(crate) async fn a_position_in_an_epoch_that_nobody_knows_is_an_explicit_gap<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let lost = Epoch {
        counter: 7,
        random: 7,
    };
    let from = Position {
        server: name("a"),
        epoch: lost,
        sequence: 3,
    };
    let request = Subscribe::oldest("reader").from(vec![from]);
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(request)
        .await
        .unwrap();
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    let mut gaps = Vec::new();
    let mut records = 0;
    while records < 11 {
        match reader.next().await.expect("the bus goes on") {
            Event::Gap {
                epoch, from, to, ..
            } => gaps.push((epoch, from, to)),
            Event::Batch(batch) => records += batch.records.len(),
            Event::Joined { .. } | Event::Left { .. } => {}
        }
    }
    assert_eq!(gaps, [(lost, 3, Event::UNKNOWN_END)]);
}

pub(crate) async fn a_slow_reader_neither_blocks_others_nor_loses_anything<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let mut slow = harness
        .link("slow")
        .await
        .subscribe(Subscribe::oldest("slow"))
        .await
        .unwrap();
    let mut fast = harness
        .link("fast")
        .await
        .subscribe(Subscribe::oldest("fast"))
        .await
        .unwrap();
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    let (mut of_slow, mut of_fast) = (Model::default(), Model::default());
    publish(&journal, &*publisher, 10).await;
    of_slow.catch_up(&mut slow, &journal).await;
    for _ in 0..10 {
        publish(&journal, &*publisher, MANY).await;
        of_fast.catch_up(&mut fast, &journal).await;
    }
    of_slow.catch_up(&mut slow, &journal).await;
    assert_eq!(of_slow.count(&journal), 10 * MANY + 11);
    assert_eq!(of_fast.count(&journal), 10 * MANY + 11);
    assert_eq!(of_slow.missing() + of_fast.missing(), 0);
}

pub(crate) async fn a_publisher_that_crashed_returns_with_a_new_epoch<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(Subscribe::oldest("reader"))
        .await
        .unwrap();
    let mut model = Model::default();
    let first = journal.next().0;
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 100).await;
    model.catch_up(&mut reader, &journal).await;
    assert_eq!(model.present.get(&name("a")), Some(&first));
    // Durable, but it dies before it can say so.
    journal.append_numbered(50);
    drop(publisher);
    model.until(&mut reader, |m| m.present.is_empty()).await;
    assert_eq!(model.left, 1);

    journal.begin_epoch();
    let second = journal.next().0;
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 20).await;
    model.catch_up(&mut reader, &journal).await;
    model
        .until(&mut reader, |m| m.present.get(&name("a")) == Some(&second))
        .await;
    assert_eq!(model.held(&journal, first).records.len(), 151);
    assert_eq!(model.held(&journal, second).records.len(), 21);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

pub(crate) async fn records_that_a_crashed_owner_lost_are_an_explicit_gap<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let first = journal.next().0;
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    until_the_bus_has_all(&harness, &journal).await;
    drop(publisher);
    journal.lose_from(300);
    journal.begin_epoch();
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    until_the_bus_has_all(&harness, &journal).await;
    let mut reader = harness
        .link("late")
        .await
        .subscribe(Subscribe::oldest("late"))
        .await
        .unwrap();
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    let held = model.held(&journal, first);
    // Part of what the owner lost may still be in the ring.
    let missing: u64 = held.gaps.iter().map(|(from, to)| to - from).sum();
    assert_eq!(held.records.len() as u64 + missing, MANY as u64 + 1);
    assert_eq!(held.gaps[0].0, 300);
}

pub(crate) async fn an_epoch_begun_while_present_follows_the_one_before<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let first = journal.next().0;
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(Subscribe::oldest("reader"))
        .await
        .unwrap();
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    journal.append_numbered(5); // the end of the epoch is never announced
    let begun = journal.begin_epoch();
    let second = begun.epoch;
    publisher.announce(begun).await.unwrap();
    publish(&journal, &*publisher, 10).await;
    let mut model = Model::default();
    model.catch_up(&mut reader, &journal).await;
    model
        .until(&mut reader, |m| m.present.get(&name("a")) == Some(&second))
        .await;
    assert_eq!(model.held(&journal, first).records.len(), 16);
    assert_eq!(model.held(&journal, second).records.len(), 11);
    assert_eq!((model.missing(), model.duplicates), (0, 0));
}

pub(crate) async fn a_name_claimed_twice_is_refused_by_name<H: Harness>() {
    let harness = H::start().await;
    let first = harness.link("first").await;
    let owner = first
        .join(Arc::new(MemoryJournal::new("twin")))
        .await
        .unwrap();
    let second = harness.link("second").await;
    match second.join(Arc::new(MemoryJournal::new("twin"))).await {
        Err(error @ BusError::NameTaken { .. }) => {
            assert!(error.to_string().contains("twin"), "{error}");
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("two owners"),
    }
    // The first goes on; once it left, the name is free.
    let mut reader = second.subscribe(Subscribe::oldest("reader")).await.unwrap();
    let mut model = Model::default();
    model
        .until(&mut reader, |m| m.present.contains_key(&name("twin")))
        .await;
    drop(owner);
    model.until(&mut reader, |m| m.present.is_empty()).await;
    second
        .join(Arc::new(MemoryJournal::new("twin")))
        .await
        .unwrap();
}

pub(crate) async fn a_publisher_cannot_announce_for_another_server<H: Harness>() {
    let harness = H::start().await;
    let publisher = harness
        .link("a")
        .await
        .join(Arc::new(MemoryJournal::new("a")))
        .await
        .unwrap();
    let foreign = MemoryJournal::new("b").append_numbered(1);
    let error = publisher.announce(foreign).await.unwrap_err();
    assert!(matches!(error, BusError::WrongServer { .. }), "{error}");
}

pub(crate) async fn a_skipped_journal_is_not_delivered<H: Harness>() {
    let harness = H::start().await;
    let bus = harness.link("a").await;
    let (a, b) = (
        Arc::new(MemoryJournal::new("a")),
        Arc::new(MemoryJournal::new("b")),
    );
    let mut reader = bus
        .subscribe(Subscribe::oldest("a").skip(name("a")))
        .await
        .unwrap();
    let at_a = bus.join(a.clone()).await.unwrap();
    let at_b = harness.link("b").await.join(b.clone()).await.unwrap();
    publish(&a, &*at_a, 100).await;
    publish(&b, &*at_b, 100).await;
    let mut model = Model::default();
    model.catch_up(&mut reader, &b).await;
    assert_eq!(model.count(&a), 0);
    assert!(!model.present.contains_key(&name("a")));
}

pub(crate) async fn a_source_that_fails_is_asked_again<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    journal.append_numbered(100);
    journal.set_failing(true);
    let mut reader = harness
        .link("reader")
        .await
        .subscribe(Subscribe::oldest("reader"))
        .await
        .unwrap();
    let _publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    let mut model = Model::default();
    let failed = async {
        while journal.reads() < 2 {
            tokio::task::yield_now().await;
        }
        journal.set_failing(false);
    };
    tokio::join!(failed, model.catch_up(&mut reader, &journal));
    assert_eq!(model.count(&journal), 101);
    assert_eq!(model.missing(), 0);
}

macro_rules! contract_tests {
    ($harness:ty: $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::contract::$test::<$harness>().await;
            }
        )*
    };
    ($harness:ty) => {
        contract_tests! { $harness:
            order_is_kept_in_each_journal
            every_subscriber_gets_every_record
            a_late_joiner_gets_everything_that_the_owner_has
            records_written_before_joining_count_as_announced
            records_left_out_of_announcements_are_read_from_the_owner
            a_subscription_from_now_gets_only_what_comes
            a_subscription_resumes_at_positions
            records_past_retention_are_an_explicit_gap
            a_position_in_an_epoch_that_nobody_knows_is_an_explicit_gap
            a_slow_reader_neither_blocks_others_nor_loses_anything
            a_publisher_that_crashed_returns_with_a_new_epoch
            records_that_a_crashed_owner_lost_are_an_explicit_gap
            an_epoch_begun_while_present_follows_the_one_before
            a_name_claimed_twice_is_refused_by_name
            a_publisher_cannot_announce_for_another_server
            a_skipped_journal_is_not_delivered
            a_source_that_fails_is_asked_again
            reporters_get_what_is_reported_and_peers_what_is_announced
            a_report_comes_in_few_batches
            a_reporter_that_joins_late_gets_what_was_reported
            a_new_reporter_is_told_what_retention_removed
            an_owner_on_demand_is_asked_and_reports_nothing
            a_question_that_nobody_answers_says_why
        }
    };
}
