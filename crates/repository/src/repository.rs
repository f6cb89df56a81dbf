//! A running repository: the store, the thread that fills it from the bus, and the one that judges
//! requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use selvedge_bus::{Bus, BusError, Pace, Subscribe};
use selvedge_journal::{DiskStorage, Storage};
use selvedge_spans::Span;
use thiserror::Error;

use crate::agents::Agents;
use crate::api::{self, AdminExtras};
use crate::ingest::{Ingest, IngestState};
use crate::judge::Judge;
use crate::span_taker::SpanTaker;
use crate::store::{Store, StoreError, StoreOptions, TakenSpans};

/// What comes within this is written together.
const PACE: Duration = Duration::from_millis(5);

/// Where and how a repository keeps its entries.
#[derive(Clone)]
pub struct RepositoryOptions {
    /// The folder of its files, made if it is not there.
    pub dir: PathBuf,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// How the files are kept.
    pub store: StoreOptions,
    /// How long nothing comes for a request before it is judged for metrics and quick searches.
    /// Default 1 s.
    pub quiet: Duration,
    /// Whether the work is done in a task of the caller's runtime, which waits for the disk where it
    /// runs: for seeded simulation. Then requests are judged when someone asks, and dropping the
    /// repository ends it between two steps, as a crash does. Default: no, in threads of its own.
    pub in_tasks: bool,
}

impl RepositoryOptions {
    /// A repository in a folder of this machine's disk.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            storage: Arc::new(DiskStorage),
            store: StoreOptions::default(),
            quiet: Duration::from_secs(1),
            in_tasks: false,
        }
    }
}

/// Why a repository cannot start.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// Its files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus.
    #[error("repository cannot follow the bus: {0}")]
    Bus(#[from] BusError),
    /// The operating system gave no thread.
    #[error("cannot start the repository's thread: {0}")]
    Thread(std::io::Error),
}

/// A running repository. Dropping it stops it as well, without waiting.
pub struct Repository {
    store: Arc<Store>,
    state: Arc<IngestState>,
    ingest: Ingest,
    agents: Agents,
    spans: SpanTaker,
    judge: Option<Judge>,
}

impl Repository {
    /// Opens the store, reads its files, and follows all journals from where they end. Must be
    /// called within a tokio runtime that outlives it.
    ///
    /// # Errors
    /// See [`RepositoryError`].
    pub async fn start(
        options: RepositoryOptions,
        bus: Arc<dyn Bus>,
    ) -> Result<Self, RepositoryError> {
        let RepositoryOptions {
            dir,
            storage,
            store,
            quiet,
            in_tasks,
        } = options;
        let open = move || Store::open(storage, &dir, store);
        let store = if in_tasks {
            open()?
        } else {
            // Reading the files back takes seconds where there are millions of entries.
            tokio::task::spawn_blocking(open)
                .await
                .expect("opening the store does not panic")?
        };
        let store = Arc::new(store);
        let subscribe = Subscribe::oldest("repository")
            .from(store.positions())
            .reports()
            .pace(Pace::every(PACE));
        let subscription = bus.subscribe(subscribe).await?;
        let state = Arc::new(IngestState::default());
        let ingest = Ingest::start(
            Arc::clone(&store),
            Arc::clone(&state),
            subscription,
            in_tasks,
        )
        .map_err(RepositoryError::Thread)?;
        let agents = Agents::new(bus, Arc::clone(&store), Arc::clone(&state));
        let judge = match in_tasks {
            false => Some(Judge::start(Arc::clone(&store), quiet)),
            true => None,
        };
        let judge = judge.transpose().map_err(RepositoryError::Thread)?;
        Ok(Self {
            spans: SpanTaker::new(Arc::clone(&store)),
            store,
            state,
            ingest,
            agents,
            judge,
        })
    }

    /// The store, for queries from within the process.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// How the filling goes.
    #[must_use]
    pub fn state(&self) -> &Arc<IngestState> {
        &self.state
    }

    /// The admin port's routes: the query API, the page, metrics and health.
    pub fn router(&self, mut extras: AdminExtras) -> Router {
        let routes = extras.routes.take().unwrap_or_default();
        extras.routes = Some(
            routes
                .merge(api::report_router(self.agents.clone()))
                .merge(api::import_router(self.spans.clone())),
        );
        api::router(Arc::clone(&self.store), Arc::clone(&self.state), extras)
    }

    /// Takes spans of services that have no journal. When it returns they are durable and in every
    /// answer; concurrent callers share one fdatasync. Exact repeats of spans that are here are
    /// counted and left out, so a batch whose answer was lost may be sent again; spans that
    /// contradict another of their identity are kept.
    ///
    /// # Errors
    /// When the files cannot be written: the batch may be handed in again.
    pub async fn take_spans(&self, spans: Vec<Span>) -> Result<TakenSpans, StoreError> {
        self.spans.take(spans).await
    }

    /// The same for parts of the process that outlive a borrow.
    #[must_use]
    pub fn span_taker(&self) -> SpanTaker {
        self.spans.clone()
    }

    /// Stops following the bus and makes durable what was taken.
    pub async fn stop(self) {
        self.ingest.stop().await;
        if let Some(judge) = self.judge {
            judge.stop().await;
        }
    }
}
