//! Whatever owners, journals and subscribers do, in any order: in the end every subscriber has
//! every record or a gap that retention explains. Against the hub in process, with a ring of a
//! few batches.

mod reader;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use proptest::prelude::*;
use reader::Model;
use selvedge_bus::testing::MemoryJournal;
use selvedge_bus::{Batch, Bus, Hub, HubOptions, Publisher, Source, Subscribe, Subscription};
use selvedge_identity::{Epoch, Position};

#[derive(Clone, Debug)]
enum Op {
    /// The server writes; nobody hears of it yet.
    Write {
        server: usize,
        count: usize,
    },
    /// The server announces what it wrote, all of it or the last batch only.
    Announce {
        server: usize,
        all: bool,
    },
    /// It announces what it announced before, from some batches back on, and then batches that
    /// overlap with these.
    Again {
        server: usize,
        back: usize,
    },
    BeginEpoch {
        server: usize,
    },
    Join {
        server: usize,
    },
    Leave {
        server: usize,
    },
    /// Retention drops a part (in eighths) of an epoch.
    Forget {
        server: usize,
        epoch: usize,
        eighths: u64,
    },
    Subscribe,
    /// The subscriber goes away and comes back with its positions.
    Resume {
        subscriber: usize,
    },
    Read {
        subscriber: usize,
        events: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let server = 0..2_usize;
    prop_oneof![
        4 => (server.clone(), 1..30_usize).prop_map(|(server, count)| Op::Write { server, count }),
        4 => (server.clone(), any::<bool>()).prop_map(|(server, all)| Op::Announce { server, all }),
        1 => (server.clone(), 1..4_usize).prop_map(|(server, back)| Op::Again { server, back }),
        1 => server.clone().prop_map(|server| Op::BeginEpoch { server }),
        2 => server.clone().prop_map(|server| Op::Join { server }),
        1 => server.clone().prop_map(|server| Op::Leave { server }),
        1 => (server, 0..4_usize, 1..8_u64).prop_map(|(server, epoch, eighths)| Op::Forget { server, epoch, eighths }),
        1 => Just(Op::Subscribe),
        1 => (0..4_usize).prop_map(|subscriber| Op::Resume { subscriber }),
        4 => (0..4_usize, 1..10_usize).prop_map(|(subscriber, events)| Op::Read { subscriber, events }),
    ]
}

struct Server {
    journal: Arc<MemoryJournal>,
    publisher: Option<Box<dyn Publisher>>,
    unannounced: Vec<Batch>,
    announced: Vec<Batch>,
    forgotten: BTreeMap<Epoch, u64>,
}

struct Reader {
    subscription: Subscription,
    model: Model,
}

impl Server {
    async fn announce(&mut self, all: bool) {
        let batches = std::mem::take(&mut self.unannounced);
        let skipped = if all {
            0
        } else {
            batches.len().saturating_sub(1)
        };
        if let Some(publisher) = &self.publisher {
            for batch in batches.into_iter().skip(skipped) {
                publisher.announce(batch.clone()).await.expect("announced");
                self.announced.push(batch);
            }
        }
    }

    async fn again(&mut self, back: usize) {
        let from = self.announced.len().saturating_sub(back);
        if let Some(publisher) = &self.publisher {
            for batch in &self.announced[from..] {
                publisher.announce(batch.clone()).await.expect("announced");
            }
            for pair in self.announced[from..].windows(2) {
                if pair[0].epoch == pair[1].epoch && pair[0].end() == pair[1].first {
                    let mut both = pair[0].clone();
                    both.records.extend(pair[1].records.iter().cloned());
                    publisher.announce(both).await.expect("announced");
                }
            }
        }
    }
}

async fn run(ops: Vec<Op>) {
    let hub = Hub::new(HubOptions {
        ring_bytes: 4000,
        ..HubOptions::default()
    });
    let mut servers: Vec<Server> = ["a", "b"]
        .map(|name| Server {
            journal: Arc::new(MemoryJournal::new(name)),
            publisher: None,
            unannounced: Vec::new(),
            announced: Vec::new(),
            forgotten: BTreeMap::new(),
        })
        .into();
    let mut readers: Vec<Reader> = Vec::new();
    for op in ops {
        match op {
            Op::Write { server, count } => {
                let batch = servers[server].journal.append_numbered(count);
                servers[server].unannounced.push(batch);
            }
            Op::Announce { server, all } => servers[server].announce(all).await,
            Op::Again { server, back } => servers[server].again(back).await,
            Op::BeginEpoch { server } => {
                let batch = servers[server].journal.begin_epoch();
                servers[server].unannounced.push(batch);
            }
            Op::Join { server } => {
                let server = &mut servers[server];
                if server.publisher.is_none() {
                    let source = Arc::clone(&server.journal) as Arc<dyn Source>;
                    server.publisher = Some(hub.join(source).await.expect("joined"));
                }
            }
            Op::Leave { server } => servers[server].publisher = None,
            Op::Forget {
                server,
                epoch,
                eighths,
            } => {
                let server = &mut servers[server];
                if let Some(extent) = server.journal.epochs().get(epoch) {
                    let before = extent.end * eighths / 8;
                    server.journal.forget_before(extent.epoch, before);
                    let forgotten = server.forgotten.entry(extent.epoch).or_default();
                    *forgotten = before.max(*forgotten);
                }
            }
            Op::Subscribe => readers.push(Reader {
                subscription: hub
                    .subscribe(Subscribe::oldest("reader"))
                    .await
                    .expect("subscribed"),
                model: Model::default(),
            }),
            Op::Resume { subscriber } => {
                if let Some(reader) = readers.get_mut(subscriber) {
                    let from = reader.model.journals.iter().filter_map(|(server, epochs)| {
                        let (epoch, held) = epochs.last_key_value()?;
                        Some(Position {
                            server: server.clone(),
                            epoch: *epoch,
                            sequence: held.next,
                        })
                    });
                    let request = Subscribe::oldest("resumed").from(from.collect());
                    reader.subscription = hub.subscribe(request).await.expect("subscribed");
                }
            }
            Op::Read { subscriber, events } => {
                if let Some(reader) = readers.get_mut(subscriber) {
                    for _ in 0..events {
                        let next = tokio::task::unconstrained(reader.subscription.next());
                        match next.now_or_never() {
                            Some(event) => reader.model.take(event.expect("the bus goes on")),
                            None => break,
                        }
                    }
                }
            }
        }
    }
    for server in &mut servers {
        if server.publisher.is_none() {
            let source = Arc::clone(&server.journal) as Arc<dyn Source>;
            server.publisher = Some(hub.join(source).await.expect("joined"));
        }
        server.unannounced.push(server.journal.append_numbered(1));
        server.announce(false).await;
    }
    for mut reader in readers {
        for server in &servers {
            reader
                .model
                .catch_up(&mut reader.subscription, &server.journal)
                .await;
            check(&reader.model, server);
        }
        assert_eq!(reader.model.duplicates, 0);
    }
}

fn check(model: &Model, server: &Server) {
    let had = &model.journals[&server.journal.server()];
    let begun = had.first_key_value().map(|(epoch, _)| *epoch);
    for extent in server.journal.epochs() {
        let forgotten = server.forgotten.get(&extent.epoch).copied().unwrap_or(0);
        let Some(held) = had.get(&extent.epoch) else {
            assert!(forgotten >= extent.end, "epoch {} never came", extent.epoch);
            continue;
        };
        for &(from, to) in &held.gaps {
            assert!(
                from < to && to <= forgotten,
                "gap {from}..{to}, forgotten {forgotten}"
            );
        }
        let missing: u64 = held.gaps.iter().map(|(from, to)| to - from).sum();
        let first_record = held
            .records
            .first_key_value()
            .map(|(sequence, _)| *sequence);
        let first_gap = held.gaps.first().map(|(from, _)| *from);
        let start = first_record
            .into_iter()
            .chain(first_gap)
            .min()
            .unwrap_or(extent.end);
        // Where it begins it may leave out what is forgotten; after that nothing without a word.
        let may_start = if begun == Some(extent.epoch) {
            forgotten
        } else {
            0
        };
        assert!(
            start <= may_start,
            "began at {start}, forgotten {forgotten}"
        );
        assert_eq!(held.records.len() as u64 + missing + start, extent.end);
        for (sequence, record) in &held.records {
            if *sequence > 0 {
                assert_eq!(*record, format!("{}/{sequence}", extent.epoch));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)))]

    #[test]
    fn every_record_arrives_or_is_a_gap_that_retention_explains(
        ops in prop::collection::vec(op(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(ops));
    }
}
