//! What every bus that tells owners of holders keeps of that: tests as those of the contract.

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Holders, Publisher, Subscribe, Subscription, Terms};

use crate::contract::{Harness, name, publish};
use crate::reader::Model;

fn asking(server: &str, holders: u8) -> Arc<MemoryJournal> {
    let journal = MemoryJournal::new(server);
    journal.set_terms(Terms {
        holders,
        ..Terms::default()
    });
    Arc::new(journal)
}

/// A server that keeps what it gets, and what it has.
struct Holder {
    subscription: Subscription,
    model: Model,
}

impl Holder {
    async fn start<H: Harness>(harness: &H, server: &str) -> Self {
        let bus = harness.link(server).await;
        assert!(bus.tells().held);
        let request = Subscribe::oldest(server).holds(name(server));
        Self {
            subscription: bus.subscribe(request).await.unwrap(),
            model: Model::default(),
        }
    }

    /// Gets all of the journal, and holds it: asks for what comes next, too.
    async fn hold(&mut self, journal: &MemoryJournal) {
        self.model.catch_up(&mut self.subscription, journal).await;
        let soon = Duration::from_millis(1);
        while let Ok(event) = tokio::time::timeout(soon, self.subscription.next()).await {
            self.model.take(event.expect("the bus goes on"));
        }
    }
}

/// Waits until the owner was told this. Before, it may not be told more: nobody holds more.
async fn until_told(journal: &MemoryJournal, wanted: Holders) {
    loop {
        let told = journal.holders();
        if told == wanted {
            return;
        }
        assert!(told.to <= wanted.to, "{told:?} instead of {wanted:?}");
        tokio::task::yield_now().await;
    }
}

async fn join<H: Harness>(harness: &H, journal: &Arc<MemoryJournal>) -> Box<dyn Publisher> {
    let bus = harness.link("owner").await;
    bus.join(journal.clone()).await.unwrap()
}

pub(crate) async fn an_owner_is_told_how_far_as_many_as_it_asked_for_hold_its_journal<
    H: Harness,
>() {
    let harness = H::start().await;
    let journal = asking("a", 2);
    let mut fast = Holder::start(&harness, "fast").await;
    let mut slow = Holder::start(&harness, "slow").await;
    let _idle = Holder::start(&harness, "idle").await;
    let _own = Holder::start(&harness, "a").await; // of its own it is none
    let publisher = join(&harness, &journal).await;
    let unasked = asking("b", 0);
    let at_b = join(&harness, &unasked).await;
    for epoch in 0..2 {
        if epoch > 0 {
            publisher.announce(journal.begin_epoch()).await.unwrap();
        }
        for _ in 0..3 {
            publish(&journal, &*publisher, 200).await;
            publish(&unasked, &*at_b, 1).await;
            fast.hold(&journal).await;
            slow.hold(&journal).await;
            let to = Some(journal.next());
            until_told(&journal, Holders { present: 3, to }).await;
            // One is not enough.
            publish(&journal, &*publisher, 200).await;
            fast.hold(&journal).await;
            assert_eq!(journal.holders(), Holders { present: 3, to });
        }
    }
    assert_eq!(unasked.holders(), Holders::default());
}

pub(crate) async fn of_fewer_holders_than_asked_for_all_count<H: Harness>() {
    let harness = H::start().await;
    let journal = asking("a", 5);
    let publisher = join(&harness, &journal).await;
    publish(&journal, &*publisher, 10).await;
    let mut one = Holder::start(&harness, "one").await;
    let mut two = Holder::start(&harness, "two").await;
    let told = |to| Holders { present: 2, to };
    one.hold(&journal).await;
    until_told(&journal, told(None)).await;
    two.hold(&journal).await;
    until_told(&journal, told(Some(journal.next()))).await;
}

pub(crate) async fn a_holder_that_leaves_or_starts_anew_holds_nothing<H: Harness>() {
    let harness = H::start().await;
    let journal = asking("a", 1);
    let publisher = join(&harness, &journal).await;
    publish(&journal, &*publisher, 10).await;
    let mut holder = Holder::start(&harness, "one").await;
    holder.hold(&journal).await;
    let all = Holders {
        present: 1,
        to: Some(journal.next()),
    };
    until_told(&journal, all).await;
    // Its former subscription is still there.
    let mut anew = Holder::start(&harness, "one").await;
    while journal.holders().to.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(journal.holders().present, 1);
    anew.hold(&journal).await;
    until_told(&journal, all).await;
    drop(holder);
    publish(&journal, &*publisher, 10).await;
    anew.hold(&journal).await;
    let to = Some(journal.next());
    until_told(&journal, Holders { present: 1, to }).await;
    drop(anew);
    while journal.holders() != Holders::default() {
        tokio::task::yield_now().await;
    }
}

macro_rules! acknowledging_tests {
    ($harness:ty: $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::acknowledging::$test::<$harness>().await;
            }
        )*
    };
    ($harness:ty) => {
        acknowledging_tests! { $harness:
            an_owner_is_told_how_far_as_many_as_it_asked_for_hold_its_journal
            of_fewer_holders_than_asked_for_all_count
            a_holder_that_leaves_or_starts_anew_holds_nothing
        }
    };
}
