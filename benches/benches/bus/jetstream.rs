//! Our bus over NATS JetStream, and JetStream without us.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, Context, stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use selvedge_bus::{Bus, JetStreamBus, JetStreamOptions};
use selvedge_nats::Nats;
use tokio::task::JoinHandle;

use crate::latency::{Latencies, Pace};
use crate::{Buses, KEY, RECORD, SUBSCRIBERS, paced, run};

/// Bytes of a raw message, as large as ours become under load.
pub(crate) const MESSAGE: usize = 256 * 1024;
/// Batches of a raw message at a pace: a message each would be more than JetStream syncs, and fail.
const BATCHES: usize = 4;
/// Raw messages published and not yet acknowledged, at most.
const UNDER_WAY: usize = 4;

/// Streams of earlier rounds are not to be read again.
fn fresh(what: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn linked(nats: &Nats) -> Buses {
    let options = JetStreamOptions {
        prefix: fresh("bench"),
        ..JetStreamOptions::new(vec![nats.url()])
    };
    let mut buses: Vec<Arc<dyn Bus>> = Vec::new();
    for n in 0..=SUBSCRIBERS {
        let bus = JetStreamBus::connect(options.clone(), KEY, &format!("bench-{n}")).await;
        buses.push(Arc::new(bus.expect("connected")));
    }
    (buses.remove(0), buses)
}

pub(crate) async fn ours(nats: &Nats, count: usize, batch: usize) -> Duration {
    run(linked(nats).await, count, batch).await
}

pub(crate) async fn paced_ours(nats: &Nats, pace: Pace) -> Latencies {
    paced(linked(nats).await, pace).await
}

pub(crate) async fn raw(nats: &Nats, count: usize) -> Duration {
    let raw = Raw::new(nats).await;
    let total = count * RECORD;
    let readers = raw.subscribe().await;
    let begun = Instant::now();
    let mut reading = Vec::new();
    for mut messages in readers {
        reading.push(tokio::spawn(async move {
            let mut bytes = 0;
            while bytes < total {
                let message = messages.next().await.expect("not all yet");
                bytes += message.expect("a message").payload.len();
            }
        }));
    }
    let mut left = total;
    let mut under_way = std::collections::VecDeque::new();
    while left > 0 {
        let bytes = left.min(MESSAGE);
        left -= bytes;
        under_way.push_back(raw.publish(bytes).await);
        if under_way.len() >= UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await.expect("acknowledged");
        }
    }
    for reading in reading {
        reading.await.expect("read");
    }
    begun.elapsed()
}

pub(crate) async fn paced_raw(nats: &Nats, pace: Pace) -> Latencies {
    let raw = Raw::new(nats).await;
    let readers = raw.subscribe().await;
    let begun = pace.begin();
    let mut reading: Vec<JoinHandle<Latencies>> = Vec::new();
    for mut messages in readers {
        reading.push(tokio::spawn(async move {
            let mut latencies = Latencies::new(begun);
            let mut bytes = 0;
            while let Some(message) = messages.next().await {
                bytes += message.expect("a message").payload.len();
                if latencies.came(bytes / RECORD) {
                    break;
                }
            }
            latencies
        }));
    }
    // Acknowledgements are waited for beside.
    let mut acknowledging = tokio::task::JoinSet::new();
    let (mut batches, mut gathered) = (0, 0);
    begun
        .drive(async |count| {
            batches += 1;
            gathered += count;
            if batches % BATCHES == 0 {
                let records = std::mem::take(&mut gathered);
                let acknowledged = raw.publish(records * RECORD).await;
                acknowledging.spawn(acknowledged.into_future());
            }
        })
        .await;
    Latencies::of_all(reading).await
}

/// A stream of its own, and who publishes to it.
struct Raw {
    url: String,
    context: Context,
    subject: String,
    bytes: Bytes,
}

impl Raw {
    async fn new(nats: &Nats) -> Self {
        let url = nats.url();
        let context = context(&url).await;
        let name = fresh("raw");
        let config = stream::Config {
            subjects: vec![name.clone()],
            name: name.clone(),
            ..stream::Config::default()
        };
        context.create_stream(config).await.expect("a stream");
        Self {
            url,
            context,
            subject: name,
            bytes: vec![b'x'; MESSAGE].into(),
        }
    }

    async fn publish(&self, bytes: usize) -> PublishAckFuture {
        let payload = self.bytes.slice(..bytes);
        let published = self.context.publish(self.subject.clone(), payload);
        published.await.expect("published")
    }

    /// The subscribers, each over a connection of its own.
    async fn subscribe(&self) -> Vec<Ordered> {
        let mut all = Vec::new();
        for _ in 0..SUBSCRIBERS {
            let context = context(&self.url).await;
            let stream = context.get_stream(&self.subject).await.expect("a stream");
            let config = OrderedConfig {
                deliver_subject: context.client().new_inbox(),
                ..OrderedConfig::default()
            };
            let consumer = stream.create_consumer(config).await.expect("a consumer");
            all.push(consumer.messages().await.expect("messages"));
        }
        all
    }
}

async fn context(url: &str) -> Context {
    jetstream::new(async_nats::connect(url).await.expect("connected"))
}
