//! Identifiers that lie under tokens until their requests are served (D5): what a server keeps
//! for carriers by reference, whatever it speaks.
//!
//! Bounded in number and in time. Nothing is taken out by reading: a request may be sent again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use selvedge_identity::carrier::reference::{Reference, ReferenceStore};
use selvedge_identity::{IdentifierError, RequestIdentifier};
use thiserror::Error;
use tokio::time::Instant;

use crate::metrics::count;

/// Identifiers by token.
#[derive(Debug)]
pub struct Shelf {
    store: Mutex<ReferenceStore>,
    began: Instant,
    put: AtomicU64,
    found: AtomicU64,
    gone: AtomicU64,
}

/// What a shelf counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShelfCounts {
    /// Identifiers put on it.
    pub put: u64,
    /// Times that one was found.
    pub found: u64,
    /// Times that a token had none: expired, dropped, or never there.
    pub gone: u64,
    /// Identifiers dropped before their time, because it was full.
    pub dropped: u64,
}

/// Why an identifier was not put on a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShelfError {
    /// The token is none.
    #[error("a reference is 32 lower-case hex digits, not all zero")]
    Token,
    /// The identifier is none.
    #[error("the body must be the value of a selvedge-request header: {0}")]
    Identifier(#[from] IdentifierError),
}

impl Default for Shelf {
    /// Room for 65,536 identifiers, for ten minutes each.
    fn default() -> Self {
        Self::new(64 * 1024, Duration::from_secs(600))
    }
}

impl Shelf {
    /// Room for so many identifiers, each for so long; a full one drops the oldest.
    #[must_use]
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self {
            store: Mutex::new(ReferenceStore::new(capacity, lifetime_ms)),
            began: Instant::now(),
            put: AtomicU64::new(0),
            found: AtomicU64::new(0),
            gone: AtomicU64::new(0),
        }
    }

    /// Puts an identifier (its text) under a token (its text). White space around it does not
    /// matter.
    ///
    /// # Errors
    /// See [`ShelfError`].
    pub fn put(&self, token: &str, identifier: &[u8]) -> Result<(), ShelfError> {
        let token: Reference = token.parse().map_err(|_| ShelfError::Token)?;
        let identifier = RequestIdentifier::parse(identifier.trim_ascii())?;
        self.lock().insert(token, identifier, self.now_ms());
        count(&self.put);
        Ok(())
    }

    /// What lies under a token; `None` for what is no token, too.
    #[must_use]
    pub fn get(&self, token: &str) -> Option<RequestIdentifier> {
        let token: Option<Reference> = token.parse().ok();
        let now_ms = self.now_ms();
        let found = token.and_then(|token| self.lock().get(&token, now_ms).cloned());
        count(if found.is_some() {
            &self.found
        } else {
            &self.gone
        });
        found
    }

    /// What it counted.
    #[must_use]
    pub fn counts(&self) -> ShelfCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShelfCounts {
            put: read(&self.put),
            found: read(&self.found),
            gone: read(&self.gone),
            dropped: self.lock().dropped(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReferenceStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
