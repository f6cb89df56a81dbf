//! A model reader: what any user of the bus has to be.

use std::collections::BTreeMap;

use bytes::Bytes;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Event, Source, Subscription};
use selvedge_identity::{Epoch, ServerName};

/// What a reader has: it dedupes by position, and fails on whatever the contract forbids.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) journals: BTreeMap<ServerName, BTreeMap<Epoch, Held>>,
    pub(crate) present: BTreeMap<ServerName, Epoch>,
    pub(crate) duplicates: u64,
    pub(crate) left: u64,
}

#[derive(Default)]
pub(crate) struct Held {
    pub(crate) next: u64,
    pub(crate) records: BTreeMap<u64, Bytes>,
    pub(crate) gaps: Vec<(u64, u64)>,
}

impl Model {
    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => {
                let epochs = self.journals.entry(batch.server.clone()).or_default();
                if let Some((newest, _)) = epochs.last_key_value() {
                    assert!(batch.epoch >= *newest, "an epoch came after a later one");
                }
                let held = epochs.entry(batch.epoch).or_default();
                if held.records.is_empty() && held.gaps.is_empty() {
                    held.next = batch.first;
                }
                assert!(
                    batch.first <= held.next,
                    "records are missing: {} after {}",
                    batch.first,
                    held.next
                );
                for (sequence, record) in (batch.first..).zip(batch.records) {
                    if sequence < held.next {
                        self.duplicates += 1;
                    } else {
                        held.records.insert(sequence, record);
                        held.next = sequence + 1;
                    }
                }
            }
            Event::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                let held = self
                    .journals
                    .entry(server)
                    .or_default()
                    .entry(epoch)
                    .or_default();
                held.gaps.push((from, to));
                held.next = held.next.max(to);
            }
            Event::Joined { server, epoch, .. } => {
                self.present.insert(server, epoch);
            }
            Event::Left { server } => {
                self.left += 1;
                self.present.remove(&server);
            }
        }
    }

    /// Takes events until the journal's current end has been reached.
    pub(crate) async fn catch_up(
        &mut self,
        subscription: &mut Subscription,
        journal: &MemoryJournal,
    ) {
        let (epoch, end) = journal.next();
        let server = journal.server();
        self.until(subscription, |model| model.next(&server, epoch) >= end)
            .await;
    }

    pub(crate) async fn until(
        &mut self,
        subscription: &mut Subscription,
        done: impl Fn(&Self) -> bool,
    ) {
        while !done(self) {
            let event = subscription.next().await.expect("the bus goes on");
            self.take(event);
        }
    }

    pub(crate) fn next(&self, server: &ServerName, epoch: Epoch) -> u64 {
        let held = self
            .journals
            .get(server)
            .and_then(|epochs| epochs.get(&epoch));
        held.map_or(0, |held| held.next)
    }
}
