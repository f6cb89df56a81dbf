//! Takes spans from any number of callers at once.
//!
//! A store's call blocks while the disk works, so calls run on the runtime's blocking threads, at
//! most [`CALLS_MAX`] of them; those that wait at the disk together share its next sync.

use std::sync::Arc;

use selvedge_spans::Span;
use tokio::sync::Semaphore;

use crate::store::{Store, StoreError, TakenSpans};

/// Calls that work at the same time.
const CALLS_MAX: usize = 64;

/// Takes spans into a store. Clones share what bounds them.
#[derive(Clone)]
pub struct SpanTaker {
    store: Arc<Store>,
    turns: Arc<Semaphore>,
}

impl SpanTaker {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            turns: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    /// Takes spans; see [`Store::take_spans`]. One that was begun is finished even where its
    /// caller is gone.
    ///
    /// # Errors
    /// When the files cannot be written: the batch may be handed in again.
    pub async fn take(&self, spans: Vec<Span>) -> Result<TakenSpans, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let store = Arc::clone(&self.store);
        let taken = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            store.take_spans(&spans)
        });
        taken.await.expect("taking spans does not panic")
    }
}
