//! An identifier by reference (D5): the request holds a token of a few bytes, and the identifier
//! lies in a small store that both sides reach.
//!
//! The store is pure: a bounded table whose entries expire by a time that the caller tells. Who
//! serves it to whom is the caller's affair. Losing an entry costs a tree its edge, never a
//! request: so a full store drops the entry that would expire first. Drawn in
//! `docs/formats/carriers.md`.

use std::collections::BTreeMap;

use crate::RequestIdentifier;
use crate::wire::bytes_id;

/// Header (or key of metadata) of the token.
pub const REFERENCE: &str = "selvedge-reference";

bytes_id! {
    /// A token that stands for an identifier: 16 random bytes, shown as 32 lower-case hex digits.
    /// Whoever holds it can take the identifier, and nobody can guess it. Never all zero.
    pub struct Reference([u8; 16]) = "reference";
}

/// Identifiers by [`Reference`].
pub type ReferenceStore = Store<Reference>;

/// Identifiers by a key, each kept for the same time: by a [`Reference`], or by what names a
/// request in a [`super::separate::Separate`].
///
/// Times are milliseconds on any clock of the caller's; one that goes back counts as standing.
#[derive(Clone, Debug)]
pub struct Store<K> {
    entries: BTreeMap<K, Entry>,
    /// Keys by the order of their insertion, in which they also expire.
    order: BTreeMap<u64, K>,
    next: u64,
    capacity: usize,
    lifetime_ms: u64,
    now_ms: u64,
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    identifier: RequestIdentifier,
    expires_ms: u64,
    order: u64,
}

impl<K: Ord + Clone> Store<K> {
    /// An empty store of at most `capacity` identifiers (at least 1), each kept for
    /// `lifetime_ms`.
    #[must_use]
    pub fn new(capacity: usize, lifetime_ms: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
            capacity: capacity.max(1),
            lifetime_ms,
            now_ms: 0,
            dropped: 0,
        }
    }

    /// Keeps an identifier, in the place of one with the same key, which is returned. From a full
    /// store the oldest is dropped.
    pub fn insert(
        &mut self,
        key: K,
        identifier: RequestIdentifier,
        now_ms: u64,
    ) -> Option<RequestIdentifier> {
        self.expire(now_ms);
        let replaced = self.remove(&key);
        if self.entries.len() == self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
            self.dropped += 1;
        }
        let order = self.next;
        self.next += 1;
        self.order.insert(order, key.clone());
        let entry = Entry {
            identifier,
            expires_ms: self.now_ms.saturating_add(self.lifetime_ms),
            order,
        };
        self.entries.insert(key, entry);
        replaced
    }

    /// Takes an identifier out; `None` if it never was there, was taken, expired or was dropped.
    pub fn take(&mut self, key: &K, now_ms: u64) -> Option<RequestIdentifier> {
        self.expire(now_ms);
        self.remove(key)
    }

    /// As [`Self::take`], but leaves it there: for a request that may be sent again.
    pub fn get(&mut self, key: &K, now_ms: u64) -> Option<&RequestIdentifier> {
        self.expire(now_ms);
        self.entries.get(key).map(|entry| &entry.identifier)
    }

    /// Drops what has expired: what was inserted `lifetime_ms` ago or longer. The other functions
    /// do this too.
    pub fn expire(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some(first) = self.order.first_entry() {
            let expired = self
                .entries
                .get(first.get())
                .is_none_or(|entry| entry.expires_ms <= self.now_ms);
            if !expired {
                break;
            }
            self.entries.remove(&first.remove());
        }
    }

    /// How many identifiers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many were dropped before their time, because the store was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn remove(&mut self, key: &K) -> Option<RequestIdentifier> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.order);
        Some(entry.identifier)
    }
}
