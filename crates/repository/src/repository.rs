//! A running repository: the store, and the thread that fills it from the bus.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use selvedge_bus::{Bus, BusError, Subscribe};
use selvedge_journal::{DiskStorage, Storage};
use thiserror::Error;

use crate::api::{self, AdminExtras};
use crate::ingest::{Ingest, IngestState};
use crate::store::{Store, StoreError, StoreOptions};

/// Where and how a repository keeps its entries.
#[derive(Clone)]
pub struct RepositoryOptions {
    /// The folder of its files, made if it is not there.
    pub dir: PathBuf,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// How the files are kept.
    pub store: StoreOptions,
}

impl RepositoryOptions {
    /// A repository in a folder of this machine's disk.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            storage: Arc::new(DiskStorage),
            store: StoreOptions::default(),
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
        } = options;
        // Reading the files back takes seconds where there are millions of entries.
        let store = tokio::task::spawn_blocking(move || Store::open(storage, &dir, store))
            .await
            .expect("opening the store does not panic")?;
        let store = Arc::new(store);
        let subscribe = Subscribe::oldest("repository").from(store.positions());
        let subscription = bus.subscribe(subscribe).await?;
        let state = Arc::new(IngestState::default());
        let ingest = Ingest::start(Arc::clone(&store), Arc::clone(&state), subscription)
            .map_err(RepositoryError::Thread)?;
        Ok(Self {
            store,
            state,
            ingest,
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
    pub fn router(&self, extras: AdminExtras) -> Router {
        api::router(Arc::clone(&self.store), Arc::clone(&self.state), extras)
    }

    /// Stops following the bus and makes durable what was taken.
    pub async fn stop(self) {
        self.ingest.stop().await;
    }
}
