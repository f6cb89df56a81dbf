//! The journal as the back-end network sees it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_bus::{Batch, Extent, Found, Holders, Source, SourceError, SourceRead, Terms};
use selvedge_identity::{Epoch, ServerName};
use selvedge_journal::{Delivery, Journal};
use tokio::sync::watch;

use super::find;
use crate::acknowledge::Spread;
use crate::metrics::{NodeMetrics, count};

/// How an agent reports, and how far it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    /// How.
    pub terms: Terms,
    /// Records of the epoch being written that were not reported, where the terms hold any back.
    pub unreported: u64,
}

/// A server's journal, and how far it was reported.
pub(crate) struct JournalSource {
    server: ServerName,
    journal: Arc<Journal>,
    metrics: Arc<NodeMetrics>,
    terms: Terms,
    spread: Arc<Spread>,
    reported: Mutex<Option<(Epoch, u64)>>,
    /// The last report that someone got all of.
    taken: watch::Sender<Option<(Epoch, u64)>>,
    /// Reads by the network, to tell one that still takes a report from one that is not there.
    reads: AtomicU64,
}

impl JournalSource {
    pub(crate) fn new(
        server: ServerName,
        journal: Arc<Journal>,
        metrics: Arc<NodeMetrics>,
        terms: Terms,
        spread: Arc<Spread>,
    ) -> Self {
        Self {
            server,
            journal,
            metrics,
            terms,
            spread,
            reported: Mutex::default(),
            taken: watch::Sender::new(None),
            reads: AtomicU64::new(0),
        }
    }

    /// Waits until someone has got all of the last report. Gives up once nobody has read of the
    /// journal for `patience`: nobody is there to take it now.
    pub(super) async fn until_taken(&self, patience: Duration) {
        let wanted = self.reported();
        let mut taken = self.taken.subscribe();
        loop {
            let reads = self.reads.load(Ordering::Relaxed);
            let arrived = taken.wait_for(|taken| *taken >= wanted);
            if tokio::time::timeout(patience, arrived).await.is_ok()
                || self.reads.load(Ordering::Relaxed) == reads
            {
                return;
            }
        }
    }

    /// Everything that the journal holds now is reported. Answers up to where.
    pub(crate) fn report(&self) -> (Epoch, u64) {
        let end = self.journal.durable_watermark();
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        end
    }

    pub(crate) fn status(&self) -> AgentStatus {
        let (epoch, end) = self.journal.durable_watermark();
        let unreported = match self.reported() {
            _ if !self.terms.mode.holds_back() => 0,
            Some((reported, upto)) if reported == epoch => end.saturating_sub(upto),
            _ => end,
        };
        AgentStatus {
            terms: self.terms,
            unreported,
        }
    }

    /// Where an epoch's announced part ends, while peers wait for the report: at what was
    /// reported. What retention removed is told all the same.
    fn cut(&self, extents: &mut [Extent]) {
        let reported = self.reported();
        let at = reported.and_then(|(epoch, _)| extents.iter().position(|e| e.epoch == epoch));
        for (index, extent) in extents.iter_mut().enumerate() {
            let end = match (at, reported) {
                (Some(at), _) if index < at => extent.end,
                (Some(at), Some((_, end))) if index == at => extent.end.min(end),
                _ => extent.first,
            };
            extent.end = end.max(extent.first);
        }
    }
}

#[async_trait]
impl Source for JournalSource {
    fn server(&self) -> ServerName {
        self.server.clone()
    }

    fn epochs(&self) -> Vec<Extent> {
        let epochs = self.journal.epochs().into_iter();
        let mut extents: Vec<Extent> = epochs
            .map(|extent| Extent {
                epoch: extent.epoch,
                first: extent.first,
                end: extent.end,
            })
            .collect();
        if !self.terms.peers_at_once {
            self.cut(&mut extents);
        }
        extents
    }

    async fn read(
        &self,
        epoch: Epoch,
        from: u64,
        bytes_max: usize,
    ) -> Result<SourceRead, SourceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
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

    fn terms(&self) -> Terms {
        self.terms
    }

    fn reported(&self) -> Option<(Epoch, u64)> {
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, epoch: Epoch, end: u64) {
        self.taken.send_replace(Some((epoch, end)));
    }

    fn held(&self, holders: Holders) {
        self.spread.held(holders);
    }

    fn stored(&self, epoch: Epoch, end: u64) {
        self.spread.stored(epoch, end);
    }

    async fn find(&self, question: Bytes) -> Result<Found, SourceError> {
        count(&self.metrics.questions_answered);
        find::page(&self.server, &self.journal, &self.metrics, &question).await
    }
}
