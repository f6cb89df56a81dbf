//! What a consumer may see of a tree: the nodes that its audit's lines charge to it, and of each
//! only what the lines count.
//!
//! A client sees all calls of its own requests, for all were made on its behalf. A service sees the
//! calls that it made and those that it handled; neither what called it nor what its callees called.
//! Nobody sees hosts, positions, attributes, messages of errors, links or actions: they are the
//! operator's.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use selvedge_calltree::{NodeJson, TreeJson};
use selvedge_entry::Text;
use selvedge_identity::Consumer;

use crate::request::Request;

/// The part of a request's tree that a consumer may see; `None` where that is nothing.
#[must_use]
pub fn visible<'t>(request: &Request<'t>, consumer: &Consumer) -> Option<TreeJson<'t>> {
    let tree = request.tree;
    let all = tree.nodes();
    let seen: Vec<bool> = match consumer {
        Consumer::Client(client) if request.client == Some(*client) => all.map(|_| true).collect(),
        Consumer::Service(own) => {
            let is = |name: Option<&Text>| name.is_some_and(|name| name == own);
            all.map(|node| is(request.caller(&node)) || is(request.service(&node)))
                .collect()
        }
        Consumer::Client(_) | Consumer::Unknown => return None,
    };
    let mut json = tree.to_json();
    for (shown, node) in json.nodes.iter_mut().zip(tree.nodes()) {
        // By the names that the audit's lines have.
        shown.service = request.service(&node).map(|name| name.to_string().into());
    }
    let mut seen = seen.into_iter();
    json.nodes.retain(|_| seen.next() == Some(true));
    if json.nodes.is_empty() {
        return None;
    }
    let ids: HashSet<Cow<'t, str>> = json.nodes.iter().map(|node| node.id.clone()).collect();
    json.nodes.iter_mut().for_each(|node| strip(node, &ids));
    json.links.clear();
    json.warnings.clear();
    if matches!(consumer, Consumer::Service(_)) {
        // They tell of the whole tree.
        json.flags.clear();
    }
    Some(json)
}

fn strip<'t>(node: &mut NodeJson<'t>, ids: &HashSet<Cow<'t, str>>) {
    node.parent.take_if(|parent| !ids.contains(parent));
    node.children.retain(|child| ids.contains(child));
    node.candidates.retain(|candidate| ids.contains(candidate));
    node.host = None;
    node.inferred_from = None;
    node.error = None;
    node.attributes = BTreeMap::new();
    node.deliveries.clear();
    node.actions.clear();
    node.flags.clear();
}
