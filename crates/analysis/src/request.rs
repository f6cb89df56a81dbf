//! One request as the folds take it: its tree, and what a tree does not hold.

use std::collections::HashMap;

use selvedge_calltree::{Handle, Tree};
use selvedge_entry::{Entry, Timestamp};
use selvedge_identity::ClientId;

/// A request: its call tree and what else its entries say.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The tree.
    pub tree: &'a Tree<'a>,
    /// When the entry that stands for the request began. It decides in which period all of the
    /// request's calls count.
    pub start: Timestamp,
    /// Whose request it is: as the shallowest entry says that names a client.
    pub client: Option<ClientId>,
    /// Bytes of request and answer, by the entry that counted them.
    pub bytes: HashMap<Handle, (u64, u64)>,
}

impl<'a> Request<'a> {
    /// A request from its tree and the entries that the tree was made of.
    #[must_use]
    pub fn new(tree: &'a Tree<'a>, start: Timestamp, entries: &[Entry]) -> Self {
        let closed = entries.iter().filter_map(|entry| {
            let closing = entry.closing.as_ref()?;
            let bytes = (closing.request_bytes, closing.response_bytes);
            Some((Handle::Entry(entry.position.clone()), bytes))
        });
        Self {
            tree,
            start,
            client: client(entries),
            bytes: closed.collect(),
        }
    }
}

/// Deeper entries carry the session's client too, so that a lost gateway does not hide whose
/// request it was. Of contradicting ones the shallowest counts, and of those the least.
fn client(entries: &[Entry]) -> Option<ClientId> {
    let named = entries.iter().filter_map(|entry| {
        let client = entry.opening.client?;
        let call = entry.opening.call.as_ref();
        Some((call.map_or(0, |call| call.identifier.depth()), client))
    });
    named.min().map(|(_, client)| client)
}
