//! One request as the folds take it: its tree, and what a tree does not hold.
//!
//! A caller often knows which server it called and not which service that is: a gateway knows its
//! upstreams. Where the callee's own entry is lost, the tree has that server's name for a service.
//! [`Servers`] says which service it is, so that a call counts for its service whoever tells of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use selvedge_calltree::{Handle, NodeView, Tree};
use selvedge_entry::{Entry, Text, Timestamp};
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
    /// Which service each server is.
    pub servers: &'a Servers,
}

/// Which service a server is, as its own journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers(BTreeMap<Text, Text>);

impl Servers {
    /// From the services that each server's journal names. A server of several, and a name that is
    /// a service's as well, say nothing.
    #[must_use]
    pub fn new(named: &BTreeMap<Text, BTreeSet<Text>>) -> Self {
        let services: BTreeSet<&Text> = named.values().flatten().collect();
        let single = named.iter().filter_map(|(server, of_server)| {
            let only = of_server.first().filter(|_| of_server.len() == 1)?;
            (!services.contains(server)).then(|| (server.clone(), only.clone()))
        });
        Self(single.collect())
    }

    /// The service that a caller's name for its callee means.
    fn service<'s>(&'s self, name: &'s Text) -> &'s Text {
        self.0.get(name).unwrap_or(name)
    }
}

impl<'a> Request<'a> {
    /// A request from its tree and the entries that the tree was made of.
    #[must_use]
    pub fn new(
        tree: &'a Tree<'a>,
        start: Timestamp,
        entries: &[Entry],
        servers: &'a Servers,
    ) -> Self {
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
            servers,
        }
    }

    /// The service of a node, if anybody names it.
    pub(crate) fn service<'s>(&'s self, node: &NodeView<'s>) -> Option<&'s Text> {
        let name = node.service()?;
        // Its own entries name itself, and so do the calls that it made.
        let itself = node.inbound().is_some()
            || node.children().any(|child| child.outbound().is_some())
            || !node.actions().is_empty();
        Some(if itself {
            name
        } else {
            self.servers.service(name)
        })
    }

    /// The service that made the call, if anybody names it.
    pub(crate) fn caller<'s>(&'s self, node: &NodeView<'s>) -> Option<&'s Text> {
        if let Some(sent) = node.outbound() {
            return Some(&sent.service);
        }
        let above = node.parent();
        above
            .and_then(|parent| self.service(&parent))
            .or_else(|| Some(self.servers.service(node.inbound()?.peer.as_ref()?)))
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
