//! Follows the server's own journal: into its memory, and out to the back-end network.

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Batch, BusError, Publisher};
use selvedge_identity::ServerName;
use selvedge_journal::{Delivery, Reader};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use super::source::JournalSource;
use crate::Memory;
use crate::metrics::{NodeMetrics, count};

/// How long to wait before an unreadable journal is read again.
const UNREADABLE_WAIT: Duration = Duration::from_secs(1);

/// How long a stop waits for a sign that someone takes the last report.
const TAKEN_WAIT: Duration = Duration::from_secs(1);

/// Bytes of records that are taken from the journal at once.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// A join that may still be waiting for the network.
pub(crate) enum Joining {
    Under(JoinHandle<Result<Box<dyn Publisher>, BusError>>),
    Done(Box<dyn Publisher>),
    Refused,
}

impl Joining {
    /// Waits for the publisher. Dropping the future loses nothing.
    pub(crate) async fn publisher(&mut self) -> Result<&dyn Publisher, BusError> {
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

/// What the task that follows the own journal holds.
pub(crate) struct Own {
    pub(crate) server: ServerName,
    /// Stands behind what was read at the start.
    pub(crate) reader: Reader,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: Arc<NodeMetrics>,
    pub(crate) source: Arc<JournalSource>,
    pub(crate) joining: Joining,
    /// Where announcing goes on, if peers wait for the reports.
    pub(crate) announced: Option<Reader>,
}

impl Own {
    /// Runs until the journal is closed and read to its end; reports every `period`, if there is
    /// one, first at once and last at the end.
    pub(crate) async fn run(mut self, period: Option<Duration>) {
        let mut ticks = period.map(|period| {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        loop {
            let delivery = tokio::select! {
                biased; // the same order each time, for seeded simulation
                () = due(&mut ticks) => {
                    self.report().await;
                    continue;
                }
                delivery = self.reader.next_batch(BATCH_BYTES_MAX) => delivery,
            };
            let batch = match delivery {
                Ok(Delivery::Batch(batch)) => batch,
                Ok(Delivery::Gap(gap)) => {
                    self.memory.gap(&self.server, gap.epoch, gap.from, gap.to);
                    continue;
                }
                Ok(Delivery::Closed) => break,
                Err(error) => {
                    tracing::error!(server = %self.server, %error, "own journal not readable");
                    tokio::time::sleep(UNREADABLE_WAIT).await;
                    continue;
                }
            };
            self.memory
                .apply(&self.server, batch.epoch, batch.first, &batch.records);
            if self.announced.is_none() {
                self.announce(batch).await;
            }
        }
        if period.is_some() {
            self.report().await;
            // What the hub does not hold can be read from here only.
            self.source.until_taken(TAKEN_WAIT).await;
        }
    }

    /// Reports everything that the journal holds now.
    async fn report(&mut self) {
        let (epoch, end) = self.source.report();
        while let Some(reader) = &mut self.announced
            && reader.position().is_none_or(|at| at < (epoch, end))
        {
            match reader.try_next(BATCH_BYTES_MAX) {
                Ok(Some(Delivery::Batch(batch))) => self.announce(batch).await,
                Ok(Some(Delivery::Gap(_))) => {} // the network finds it, too
                Ok(Some(Delivery::Closed) | None) => break,
                Err(error) => {
                    // The network reads it by itself, once it can be read again.
                    tracing::error!(server = %self.server, %error, "own journal not readable");
                    break;
                }
            }
        }
        let Some(publisher) = self.joining.ready().await else {
            return; // on its return the network is told
        };
        match publisher.report(epoch, end).await {
            Ok(()) => count(&self.metrics.reports),
            Err(error) => tracing::warn!(%error, "report refused"),
        }
    }

    async fn announce(&mut self, batch: selvedge_journal::Batch) {
        let Some(publisher) = self.joining.ready().await else {
            return; // on its return the network reads the journal itself
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

async fn due(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => _ = ticks.tick().await,
        None => std::future::pending().await,
    }
}
