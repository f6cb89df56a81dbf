//! Fills the store from the bus.
//!
//! A thread of its own, because files are written. A batch is in every answer as soon as it is
//! written; it is made durable at most [`SYNC_AFTER`] later, once for all that came meanwhile, so
//! that the repository takes little of the disk's fdatasyncs from the servers' journals, on which
//! answers wait. A crash of the host in between costs nothing: the store's own files tell where to
//! go on, and the owners' journals still hold the rest.
//!
//! While the disk refuses, the batch in hand is tried again and the bus holds the rest back;
//! nothing is skipped. A sync that it refuses is tried again, too.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use selvedge_bus::{Event, Subscription, Terms};
use selvedge_identity::ServerName;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::{Store, StoreError};

/// How long a batch may wait to be made durable.
const SYNC_AFTER: Duration = Duration::from_millis(200);
/// How long to wait before a refused write is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How the filling goes, for health and metrics.
#[derive(Debug, Default)]
pub struct IngestState {
    following: AtomicBool,
    batches: AtomicU64,
    gaps: AtomicU64,
    failures: AtomicU64,
    trouble: Mutex<Option<String>>,
    present: Mutex<BTreeMap<ServerName, Terms>>,
}

impl IngestState {
    /// Batches taken since the start.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Gaps that owners declared since the start.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Writes and syncs that the disk refused since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why answers may not be fresh, if they may not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &*trouble {
            Some(trouble) => Some(trouble.clone()),
            None if self.following.load(Ordering::Relaxed) => None,
            None => Some("the repository does not follow the bus".to_owned()),
        }
    }

    /// The servers that are on the bus now, and how they report.
    #[must_use]
    pub fn present(&self) -> BTreeMap<ServerName, Terms> {
        self.present
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn report(&self, what: Result<(), &StoreError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Ok(()) => *trouble = None,
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if trouble.is_none() {
                    tracing::error!(%error, "repository cannot write; retrying");
                }
                *trouble = Some(error.to_string());
            }
        }
    }
}

/// The filling, at work.
pub(crate) struct Ingest {
    stop: watch::Sender<bool>,
    work: Option<Work>,
}

enum Work {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl Ingest {
    pub(crate) fn start(
        store: Arc<Store>,
        state: Arc<IngestState>,
        subscription: Subscription,
        in_tasks: bool,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        state.following.store(true, Ordering::Relaxed);
        let filler = Filler {
            store,
            state,
            stopped,
            sync_at: None,
        };
        let filling = filler.run(subscription);
        let work = if in_tasks {
            Work::Task(tokio::spawn(filling))
        } else {
            let runtime = Handle::current();
            let thread = std::thread::Builder::new().name("repository".to_owned());
            Work::Thread(thread.spawn(move || runtime.block_on(filling))?)
        };
        Ok(Self {
            stop,
            work: Some(work),
        })
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        // It ends by itself within one write; a panic in it was logged by the hook.
        match self.work.take() {
            Some(Work::Thread(thread)) => {
                _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            Some(Work::Task(task)) => _ = task.await,
            None => {}
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(Work::Task(task)) = &self.work {
            task.abort();
        }
    }
}

/// Does its work where it is polled: the disk is waited for there, so nothing else may need to be.
struct Filler {
    store: Arc<Store>,
    state: Arc<IngestState>,
    stopped: watch::Receiver<bool>,
    /// When what was taken is to be made durable.
    sync_at: Option<Instant>,
}

enum Next {
    Event(Event),
    SyncDue,
    Stop,
}

impl Filler {
    async fn run(mut self, mut subscription: Subscription) {
        loop {
            match self.next(&mut subscription).await {
                Next::Event(event) => {
                    if !self.take(&event).await {
                        break;
                    }
                    self.sync_at
                        .get_or_insert_with(|| Instant::now() + SYNC_AFTER);
                    if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                        self.sync();
                    }
                }
                Next::SyncDue => self.sync(),
                Next::Stop => break,
            }
        }
        self.sync();
        self.state.following.store(false, Ordering::Relaxed);
    }

    async fn next(&mut self, subscription: &mut Subscription) -> Next {
        let due = self.sync_at;
        let due = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => Next::Stop,
            event = subscription.next() => event.map_or(Next::Stop, Next::Event),
            () = due => Next::SyncDue,
        }
    }

    /// Takes an event, however often the disk refuses; false when told to stop.
    async fn take(&mut self, event: &Event) -> bool {
        loop {
            match self.try_take(event) {
                Ok(()) => return true,
                Err(StoreError::TooLarge(bytes)) => {
                    tracing::error!(bytes, server = %event.server(), "batch left out: too large");
                    return true;
                }
                Err(error) => self.state.report(Err(&error)),
            }
            let stopped = self.stopped.wait_for(|stop| *stop);
            if tokio::time::timeout(RETRY_AFTER, stopped).await.is_ok() {
                return false;
            }
        }
    }

    fn try_take(&self, event: &Event) -> Result<(), StoreError> {
        let present = || {
            self.state
                .present
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        match event {
            Event::Batch(batch) => {
                self.store
                    .append(&batch.server, batch.epoch, batch.first, &batch.records)?;
                self.state.batches.fetch_add(1, Ordering::Relaxed);
                self.state.report(Ok(()));
            }
            Event::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                self.store.lose(server, *epoch, *from, *to)?;
                self.state.gaps.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%server, %epoch, from, to, "entries lost at their owner");
            }
            Event::Joined { server, terms, .. } => _ = present().insert(server.clone(), *terms),
            Event::Left { server } => _ = present().remove(server),
        }
        Ok(())
    }

    fn sync(&mut self) {
        match self.store.sync() {
            Ok(()) => {
                self.sync_at = None;
                self.state.report(Ok(()));
            }
            Err(error) => {
                // Nothing else may come for hours.
                self.sync_at = Some(Instant::now() + RETRY_AFTER);
                self.state.report(Err(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
