//! The reporting agent (D7, real time) and its counterpart: what goes out to the back-end
//! network, and what comes in.
//!
//! One task follows the server's own journal: every record that has become durable goes into the
//! server's memory and is announced. Another follows everyone else's journals into the memory.
//! The journal is the only queue: while the network is away nothing piles up here, and on its
//! return the network reads from the journal what it has not had.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use selvedge_bus::{
    Batch, Bus, BusError, Event, Extent, Publisher, Source, SourceError, SourceRead, Subscribe,
};
use selvedge_identity::{Epoch, ServerName};
use selvedge_journal::{Delivery, Journal, Reader};
use tokio::task::JoinHandle;

use crate::metrics::{NodeMetrics, count};
use crate::node::NodeError;
use crate::{Memory, Node};

/// How long a start waits for the network to accept the server's name. A network that is away is
/// no reason not to serve; a name that is taken is.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// How long to wait before an unreadable journal is read again.
const UNREADABLE_WAIT: Duration = Duration::from_secs(1);

/// Bytes of records that are taken from the journal at once.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Starts the tasks.
pub(crate) async fn start(
    node: &Node,
    bus: Arc<dyn Bus>,
    reader: Reader,
) -> Result<Vec<JoinHandle<()>>, NodeError> {
    let source = Arc::new(JournalSource {
        server: node.server().clone(),
        journal: node.shared_journal(),
    });
    let joining = {
        let bus = bus.clone();
        tokio::spawn(async move { bus.join(source).await })
    };
    let mut joining = Joining::Under(joining);
    if let Ok(joined) = tokio::time::timeout(JOIN_WAIT, joining.publisher()).await {
        joined?;
    }
    let own = Own {
        server: node.server().clone(),
        reader,
        memory: node.shared_memory(),
        metrics: node.shared_metrics(),
    };
    let others = Others {
        server: node.server().clone(),
        memory: node.shared_memory(),
        metrics: node.shared_metrics(),
    };
    Ok(vec![
        tokio::spawn(own.run(joining)),
        tokio::spawn(others.run(bus)),
    ])
}

/// A join that may still be waiting for the network.
enum Joining {
    Under(JoinHandle<Result<Box<dyn Publisher>, BusError>>),
    Done(Box<dyn Publisher>),
    Refused,
}

impl Joining {
    /// Waits for the publisher. Dropping the future loses nothing.
    async fn publisher(&mut self) -> Result<&dyn Publisher, BusError> {
        if let Joining::Under(task) = self {
            *self = match task.await {
                Ok(Ok(publisher)) => Joining::Done(publisher),
                Ok(Err(error)) => {
                    *self = Joining::Refused;
                    return Err(error);
                }
                Err(_) => Joining::Refused,
            };
        }
        match self {
            Joining::Done(publisher) => Ok(&**publisher),
            _ => Err(BusError::Closed),
        }
    }

    /// The publisher, if the join is done.
    async fn ready(&mut self) -> Option<&dyn Publisher> {
        if let Joining::Under(task) = self
            && !task.is_finished()
        {
            return None;
        }
        match self.publisher().await {
            Ok(publisher) => Some(publisher),
            Err(BusError::Closed) => None,
            Err(error) => {
                tracing::error!(%error, "not announced on the back-end network");
                None
            }
        }
    }
}

/// Follows the server's own journal.
struct Own {
    server: ServerName,
    /// Stands behind what was read at the start.
    reader: Reader,
    memory: Arc<Memory>,
    metrics: Arc<NodeMetrics>,
}

impl Own {
    async fn run(mut self, mut joining: Joining) {
        loop {
            let batch = match self.reader.next_batch(BATCH_BYTES_MAX).await {
                Ok(Delivery::Batch(batch)) => batch,
                Ok(Delivery::Gap(gap)) => {
                    self.memory.gap(&self.server, gap.epoch, gap.from, gap.to);
                    continue;
                }
                Ok(Delivery::Closed) => return,
                Err(error) => {
                    tracing::error!(server = %self.server, %error, "own journal not readable");
                    tokio::time::sleep(UNREADABLE_WAIT).await;
                    continue;
                }
            };
            self.memory
                .apply(&self.server, batch.epoch, batch.first, &batch.records);
            let Some(publisher) = joining.ready().await else {
                continue; // on its return the network reads the journal itself
            };
            let announced = publisher
                .announce(Batch {
                    server: self.server.clone(),
                    epoch: batch.epoch,
                    first: batch.first,
                    records: batch.records,
                })
                .await;
            match announced {
                Ok(()) => count(&self.metrics.batches_announced),
                Err(error) => tracing::warn!(%error, "announcement refused"),
            }
        }
    }
}

/// Follows everyone else's journals.
struct Others {
    server: ServerName,
    memory: Arc<Memory>,
    metrics: Arc<NodeMetrics>,
}

impl Others {
    async fn run(self, bus: Arc<dyn Bus>) {
        let request = Subscribe::oldest(self.server.as_str()).skip(self.server.clone());
        let mut subscription = match bus.subscribe(request).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::error!(%error, "cannot follow the back-end network");
                return;
            }
        };
        while let Some(event) = subscription.next().await {
            match event {
                Event::Batch(batch) => {
                    count(&self.metrics.batches_taken);
                    self.memory
                        .apply(&batch.server, batch.epoch, batch.first, &batch.records);
                }
                Event::Gap {
                    server,
                    epoch,
                    from,
                    to,
                } => {
                    self.memory.gap(&server, epoch, from, to);
                }
                Event::Joined { server, .. } => self.memory.presence(&server, true),
                Event::Left { server } => self.memory.presence(&server, false),
            }
        }
    }
}

/// The journal as the network reads it.
struct JournalSource {
    server: ServerName,
    journal: Arc<Journal>,
}

#[async_trait]
impl Source for JournalSource {
    fn server(&self) -> ServerName {
        self.server.clone()
    }

    fn epochs(&self) -> Vec<Extent> {
        let epochs = self.journal.epochs().into_iter();
        epochs
            .map(|extent| Extent {
                epoch: extent.epoch,
                first: extent.first,
                end: extent.end,
            })
            .collect()
    }

    async fn read(
        &self,
        epoch: Epoch,
        from: u64,
        bytes_max: usize,
    ) -> Result<SourceRead, SourceError> {
        let mut reader = self.journal.reader(Some((epoch, from)));
        let read = reader
            .try_next(bytes_max)
            .map_err(|error| SourceError(error.to_string()))?;
        Ok(match read {
            Some(Delivery::Gap(gap)) if gap.epoch == epoch => SourceRead::Gap { to: gap.to },
            Some(Delivery::Batch(batch)) if batch.epoch == epoch => SourceRead::Batch(Batch {
                server: self.server.clone(),
                epoch,
                first: batch.first,
                records: batch.records,
            }),
            // Nothing more, or already another epoch's.
            _ => SourceRead::End,
        })
    }
}
