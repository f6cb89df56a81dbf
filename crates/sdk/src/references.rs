//! Identifiers by reference (D5): the request holds a token of 32 characters, the identifier lies
//! in a small store that both sides reach over HTTP.
//!
//! The store is part of every sidecar (on its local API) and of the repository (on the admin
//! port); `docs/guide/carriers.md` says which to choose. It may be down, full, or have forgotten:
//! then the request is sent without a token, or served as a new root, and counted. Neither side
//! waits longer than [`References::TIME_LIMIT`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use selvedge_identity::RequestIdentifier;
use selvedge_identity::carrier::reference::Reference;

use crate::sending::Sending;

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1024;

/// A client of the store. Cloning is not needed: share it by reference or `Arc`.
#[derive(Debug)]
pub struct References {
    http: reqwest::Client,
    /// Where tokens are, with a slash behind.
    base: String,
    counts: Counters,
}

/// What became of references.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceCounts {
    /// Identifiers put into the store.
    pub put: u64,
    /// Identifiers found in it.
    pub found: u64,
    /// Tokens whose identifier was gone (expired, dropped, never there), or that are none: new
    /// roots.
    pub gone: u64,
    /// Times that the store did not answer as it should: no token, or a new root.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    put: AtomicU64,
    found: AtomicU64,
    gone: AtomicU64,
    failed: AtomicU64,
}

impl References {
    /// The longest wait for the store.
    pub const TIME_LIMIT: Duration = Duration::from_secs(1);

    /// The store at this base URL: a sidecar's egress address, or the admin address.
    #[must_use]
    pub fn new(http: reqwest::Client, url: &str) -> Self {
        Self {
            http,
            base: format!("{}/selvedge/v1/references/", url.trim_end_matches('/')),
            counts: Counters::default(),
        }
    }

    /// Puts a call's identifier into the store, under a fresh token. `None`, counted: the store
    /// did not take it; the call can be made without.
    pub async fn put(&self, sending: &Sending) -> Option<Reference> {
        let token = Reference::from_random(sending.random());
        let url = format!("{}{token}", self.base);
        let body = sending.identifier().encode().to_string();
        let put = self.http.put(url).timeout(Self::TIME_LIMIT).body(body);
        match put.send().await {
            Ok(answer) if answer.status().is_success() => {
                count(&self.counts.put);
                Some(token)
            }
            Ok(answer) => self.failed(&answer.status()),
            Err(error) => self.failed(&error),
        }
    }

    /// The identifier that a request's token stands for. `None`, counted: the request is a new
    /// root. It stays in the store, for a request that is sent again.
    pub async fn get(&self, token: &[u8]) -> Option<RequestIdentifier> {
        let Ok(token) = Reference::parse(token.trim_ascii()) else {
            count(&self.counts.gone);
            return None;
        };
        let url = format!("{}{token}", self.base);
        let get = self.http.get(url).timeout(Self::TIME_LIMIT);
        let mut answer = match get.send().await {
            Ok(answer) if answer.status() == http::StatusCode::NOT_FOUND => {
                count(&self.counts.gone);
                return None;
            }
            Ok(answer) if answer.status().is_success() => answer,
            Ok(answer) => return self.failed(&answer.status()),
            Err(error) => return self.failed(&error),
        };
        let mut body = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(part)) if body.len() + part.len() <= ANSWER_MAX => {
                    body.extend_from_slice(&part);
                }
                Ok(Some(_)) => return self.failed(&"its answer is too long"),
                Ok(None) => break,
                Err(error) => return self.failed(&error),
            }
        }
        match RequestIdentifier::parse(body.trim_ascii()) {
            Ok(identifier) => {
                count(&self.counts.found);
                Some(identifier)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// What became of references so far.
    #[must_use]
    pub fn counts(&self) -> ReferenceCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReferenceCounts {
            put: read(&self.counts.put),
            found: read(&self.counts.found),
            gone: read(&self.counts.gone),
            failed: read(&self.counts.failed),
        }
    }

    fn failed<T>(&self, why: &dyn std::fmt::Display) -> Option<T> {
        count(&self.counts.failed);
        tracing::debug!(store = self.base, %why, "reference store failed");
        None
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
