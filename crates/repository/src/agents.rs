//! Asks servers' agents for entries, and keeps what they send (D7, on demand).
//!
//! An agent answers page by page; each page is in the store before the next is asked for, so a
//! journal of any size costs the memory of a page. What comes is kept as from the bus, each record
//! once by its position. Between the records of a page lie others that nobody asked for; they are
//! noted as such, so that they do not read as missing.
//!
//! Limits: a fetch that takes longer than [`FETCH_TIME_MAX`] ends incomplete, and says so.

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Bus, BusError, Found};
use selvedge_entry::{Question, Wanted};
use selvedge_identity::ServerName;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ingest::IngestState;
use crate::store::{Store, StoreError};

/// How long one server is asked for one thing.
const FETCH_TIME_MAX: Duration = Duration::from_secs(60);

/// Servers that are asked at a time.
const FETCHES_MAX: usize = 4;

/// The way to the agents of the servers that are on the bus.
#[derive(Clone)]
pub(crate) struct Agents {
    bus: Arc<dyn Bus>,
    store: Arc<Store>,
    state: Arc<IngestState>,
    room: Arc<Semaphore>,
}

/// What came of asking one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fetched {
    /// Which.
    pub(crate) server: ServerName,
    /// Records that it sent.
    pub(crate) records: u64,
    /// Those of them that were not here yet.
    pub(crate) new: u64,
    /// Records that it looked through.
    pub(crate) looked: u64,
    /// Of these, records that it no longer has: what was asked for may have been among them.
    pub(crate) lost: u64,
    /// Whether it looked through all that it had when it was asked.
    pub(crate) complete: bool,
    /// Why not, if not.
    pub(crate) error: Option<String>,
}

/// Why nothing came of it.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// The server or the way to it.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store did not take what came.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It took too long.
    #[error(
        "server {0} has more to look through than a fetch has time for; ask for a shorter time"
    )]
    TooLong(ServerName),
}

impl Agents {
    pub(crate) fn new(bus: Arc<dyn Bus>, store: Arc<Store>, state: Arc<IngestState>) -> Self {
        Self {
            bus,
            store,
            state,
            room: Arc::new(Semaphore::new(FETCHES_MAX)),
        }
    }

    /// Asks one server. When this returns, what it sent is durable and in every answer.
    ///
    /// # Errors
    /// When the server is not on the bus. What goes wrong later stands in the result.
    pub(crate) async fn fetch(
        &self,
        server: &ServerName,
        wanted: Wanted,
    ) -> Result<Fetched, BusError> {
        let _room = self.room.acquire().await.map_err(|_| BusError::Closed)?;
        let mut fetched = Fetched {
            server: server.clone(),
            records: 0,
            new: 0,
            looked: 0,
            lost: 0,
            complete: false,
            error: None,
        };
        match self.pages(server, wanted, &mut fetched).await {
            Ok(()) => fetched.complete = true,
            Err(FetchError::Bus(error @ BusError::Absent { .. })) if fetched.looked == 0 => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%server, %error, "asked in vain");
                fetched.error = Some(error.to_string());
            }
        }
        if fetched.new > 0
            && let Err(error) = self.with_store(|store| store.sync()).await
        {
            fetched.complete = false;
            fetched.error = Some(error.to_string());
        }
        Ok(fetched)
    }

    /// Asks every server that is on the bus and holds back what it did.
    pub(crate) async fn fetch_held_back(&self, wanted: Wanted) -> Vec<Fetched> {
        let present = self.state.present();
        let held_back = present
            .into_iter()
            .filter(|(_, terms)| terms.mode.holds_back());
        let fetches: Vec<_> = held_back
            .map(|(server, _)| {
                let agents = self.clone();
                tokio::spawn(async move { agents.fetch(&server, wanted).await })
            })
            .collect();
        let mut all = Vec::new();
        for fetch in fetches {
            // One that has left meanwhile had nothing to say.
            if let Ok(Ok(fetched)) = fetch.await {
                all.push(fetched);
            }
        }
        all
    }

    async fn pages(
        &self,
        server: &ServerName,
        wanted: Wanted,
        fetched: &mut Fetched,
    ) -> Result<(), FetchError> {
        let until = Instant::now() + FETCH_TIME_MAX;
        let mut question = Question::new(wanted).encode().into();
        loop {
            let page = self.bus.ask(server, question).await?;
            let next = page.next.clone();
            self.keep(server, page, fetched).await?;
            match next {
                None => return Ok(()),
                Some(_) if Instant::now() > until => {
                    return Err(FetchError::TooLong(server.clone()));
                }
                Some(next) => question = next,
            }
        }
    }

    /// Keeps a page. Whatever the agent put into it is only taken as its own journal's.
    async fn keep(
        &self,
        server: &ServerName,
        page: Found,
        fetched: &mut Fetched,
    ) -> Result<(), FetchError> {
        let extent = |e: &selvedge_bus::Extent| e.end.saturating_sub(e.first);
        let known = |e: &&selvedge_bus::Extent| e.end != selvedge_bus::Event::UNKNOWN_END;
        fetched.looked += page.looked.iter().filter(known).map(extent).sum::<u64>();
        fetched.lost += page.gaps.iter().filter(known).map(extent).sum::<u64>();
        let server = server.clone();
        let kept = self.with_store(move |store| {
            let (mut records, mut new) = (0, 0);
            for batch in page.batches.iter().filter(|batch| batch.server == server) {
                let stored = store.append(&server, batch.epoch, batch.first, &batch.records)?;
                records += stored.new + stored.repeated;
                new += stored.new;
            }
            for gap in &page.gaps {
                store.lose(&server, gap.epoch, gap.first, gap.end)?;
            }
            for looked in page.looked.iter().filter(known) {
                store.pass_over(&server, looked.epoch, looked.first, looked.end)?;
            }
            Ok((records, new))
        });
        let (records, new) = kept.await?;
        fetched.records += records;
        fetched.new += new;
        Ok(())
    }

    /// Works on the store, on a thread that may block.
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.expect("the store does not panic")
    }
}
