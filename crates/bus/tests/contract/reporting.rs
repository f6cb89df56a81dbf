//! What every bus keeps of an owner's terms, and of questions (D7).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{BusError, Event, ReportMode, Subscribe, Subscription, Terms};

use super::{Harness, MANY, name, publish};
use crate::reader::Model;

fn held_back(server: &str, mode: ReportMode) -> Arc<MemoryJournal> {
    let journal = MemoryJournal::new(server);
    journal.set_terms(Terms {
        mode,
        ..Terms::default()
    });
    Arc::new(journal)
}

/// A peer and the repository, as it were.
async fn readers<H: Harness>(harness: &H) -> (Subscription, Subscription) {
    let request = Subscribe::oldest("peer");
    let peer = harness.link("peer").await.subscribe(request).await;
    let request = Subscribe::oldest("reporter").reports();
    let reporter = harness.link("reporter").await.subscribe(request).await;
    (peer.unwrap(), reporter.unwrap())
}

pub(crate) async fn reporters_get_what_is_reported_and_peers_what_is_announced<H: Harness>() {
    let harness = H::start().await;
    let journal = held_back("a", ReportMode::Period);
    let (mut peer, mut reporter) = readers(&harness).await;
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    let (mut peers, mut reported) = (Model::default(), Model::default());

    // More than the ring holds, over two epochs; the reports end in the middle of either.
    let mut ends = Vec::new();
    for epoch in 0..2 {
        if epoch > 0 {
            publisher.announce(journal.begin_epoch()).await.unwrap();
        }
        publish(&journal, &*publisher, MANY).await;
        let (epoch, end) = journal.report();
        publisher.report(epoch, end).await.unwrap();
        publish(&journal, &*publisher, 70).await;
        ends.push((epoch, end));

        reported
            .until(&mut reporter, |m| m.next(&name("a"), epoch) >= end)
            .await;
        assert_eq!(reported.next(&name("a"), epoch), end, "and nothing more");
        peers.catch_up(&mut peer, &journal).await;
    }
    let all = 2 * (MANY + 71);
    assert_eq!(peers.count(&journal), all);
    assert_eq!(reported.count(&journal), all - 70);
    assert_eq!((reported.missing(), reported.duplicates), (0, 0));
}

pub(crate) async fn a_report_comes_in_few_batches<H: Harness>() {
    let harness = H::start().await;
    let journal = held_back("a", ReportMode::Period);
    let (mut peer, mut reporter) = readers(&harness).await;
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    for _ in 0..200 {
        publish(&journal, &*publisher, 1).await;
    }
    let mut peers = Model::default();
    peers.catch_up(&mut peer, &journal).await;
    let (epoch, end) = journal.report();
    publisher.report(epoch, end).await.unwrap();
    let mut batches = 0;
    loop {
        if let Event::Batch(batch) = reporter.next().await.unwrap() {
            batches += 1;
            if batch.end() == end {
                break;
            }
        }
    }
    assert!(batches <= 2, "{batches} batches of 201 records");
    // The owner hears that it was taken: by the time of its next event at the latest.
    while journal.report_taken() != Some((epoch, end)) {
        tokio::task::yield_now().await;
        let soon = Duration::from_millis(1);
        let _ = tokio::time::timeout(soon, reporter.next()).await;
    }
}

pub(crate) async fn a_reporter_that_joins_late_gets_what_was_reported<H: Harness>() {
    let harness = H::start().await;
    let journal = held_back("a", ReportMode::Period);
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    let (epoch, end) = journal.report();
    publisher.report(epoch, end).await.unwrap();
    publish(&journal, &*publisher, 70).await;
    let (_, mut reporter) = readers(&harness).await;
    let mut reported = Model::default();
    reported
        .until(&mut reporter, |m| m.next(&name("a"), epoch) >= end)
        .await;
    // A later report shows that the first one was not passed.
    assert_eq!(reported.next(&name("a"), epoch), end);
    let (epoch, end) = journal.report();
    publisher.report(epoch, end).await.unwrap();
    reported.catch_up(&mut reporter, &journal).await;
    assert_eq!(reported.next(&name("a"), epoch), end);
    assert_eq!(reported.missing(), 0);
}

pub(crate) async fn a_new_reporter_is_told_what_retention_removed<H: Harness>() {
    let harness = H::start().await;
    let journal = Arc::new(MemoryJournal::new("a"));
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, MANY).await;
    let (epoch, _) = journal.next();
    journal.forget_before(epoch, 100);
    let again = harness.link("b").await;
    drop(publisher);
    let mut publisher = again.join(journal.clone()).await;
    while publisher.is_err() {
        publisher = again.join(journal.clone()).await; // the hub has not heard of the drop yet
    }
    let (mut peer, mut reporter) = readers(&harness).await;
    let (mut peers, mut reported) = (Model::default(), Model::default());
    reported.catch_up(&mut reporter, &journal).await;
    assert_eq!(reported.missing(), 100);
    assert_eq!(reported.count(&journal), MANY - 99);
    // A peer begins with what there is.
    peers.catch_up(&mut peer, &journal).await;
    assert_eq!(peers.missing(), 0);
}

pub(crate) async fn an_owner_on_demand_is_asked_and_reports_nothing<H: Harness>() {
    let harness = H::start().await;
    let journal = held_back("a", ReportMode::OnDemand);
    let (mut peer, mut reporter) = readers(&harness).await;
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    publish(&journal, &*publisher, 300).await;
    let mut peers = Model::default();
    peers.catch_up(&mut peer, &journal).await;

    let asker = harness.link("asker").await;
    let question = Bytes::from_static(b"/77");
    let found = asker.ask(&name("a"), question).await.unwrap();
    let (epoch, _) = journal.next();
    let sequences: Vec<u64> = found.batches.iter().map(|batch| batch.first).collect();
    assert_eq!(sequences, [77]);
    assert_eq!(found.batches[0].records, [format!("{epoch}/77")]);
    assert_eq!((found.looked[0].first, found.looked[0].end), (0, 301));

    // What another journal announced afterwards comes; of this one only that it is there.
    let other = Arc::new(MemoryJournal::new("b"));
    let at_b = harness.link("b").await.join(other.clone()).await.unwrap();
    publish(&other, &*at_b, 1).await;
    let mut told = None;
    loop {
        match reporter.next().await.unwrap() {
            Event::Joined { server, terms, .. } if server == name("a") => told = Some(terms),
            Event::Batch(batch) => {
                assert_eq!(batch.server, name("b"), "nobody asked the bus for it");
                if batch.end() == 2 {
                    break;
                }
            }
            _ => {}
        }
    }
    assert_eq!(told.map(|terms| terms.mode), Some(ReportMode::OnDemand));
}

pub(crate) async fn a_question_that_nobody_answers_says_why<H: Harness>() {
    let harness = H::start().await;
    let journal = held_back("a", ReportMode::OnDemand);
    let asker = harness.link("asker").await;
    let ask = |server: &'static str| {
        let asker = asker.clone();
        async move { asker.ask(&name(server), Bytes::from_static(b"1")).await }
    };
    let error = ask("a").await.expect_err("nobody is there");
    assert!(matches!(error, BusError::Absent { .. }), "{error}");
    let publisher = harness.link("a").await.join(journal.clone()).await.unwrap();
    journal.set_failing(true);
    let error = ask("a").await.expect_err("it cannot read");
    assert!(matches!(error, BusError::Unanswered { .. }), "{error}");
    journal.set_failing(false);
    ask("a").await.expect("an answer");
    drop(publisher);
}
