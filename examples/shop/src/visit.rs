//! What the visit did so far, on any server: read from the node's memory of the session.
//!
//! A content server keeps nothing of a visit itself. Every server's entries reach every other's
//! memory over the back-end network (B2), and a request waits until what its client has seen is
//! there (E6), so the answer of an order placed elsewhere a moment ago is found here.

use selvedge_entry::{Entry, Outcome};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::channel::Scheduled;
use crate::order::Order;

#[derive(Deserialize)]
struct Placed {
    order: Order,
}

#[derive(Deserialize)]
struct Accepted {
    scheduled: Scheduled,
}

#[derive(Deserialize)]
struct Voted {
    choice: String,
}

/// The visit's orders, in their order.
pub(crate) fn orders(history: &[Entry]) -> Vec<Order> {
    done(history, "POST /orders")
        .filter_map(|entry| kept::<Placed>(&entry.closing.as_ref()?.response))
        .map(|placed| placed.order)
        .collect()
}

/// The visit's votes that other servers than `server` took.
pub(crate) fn votes_elsewhere<'h>(
    history: &'h [Entry],
    server: &'h str,
) -> impl Iterator<Item = String> + 'h {
    done(history, "POST /vote")
        .filter(move |entry| entry.position.server.as_str() != server)
        .filter_map(|entry| kept::<Voted>(&entry.closing.as_ref()?.response))
        .map(|voted| voted.choice)
}

/// What the visit ordered to be broadcast at other servers than `server`.
pub(crate) fn scheduled_elsewhere<'h>(
    history: &'h [Entry],
    server: &'h str,
) -> impl Iterator<Item = Scheduled> + 'h {
    done(history, "POST /broadcast")
        .filter(move |entry| entry.position.server.as_str() != server)
        .filter_map(|entry| kept::<Accepted>(&entry.closing.as_ref()?.response))
        .map(|accepted| accepted.scheduled)
}

fn done<'h>(history: &'h [Entry], action: &'static str) -> impl Iterator<Item = &'h Entry> {
    history
        .iter()
        .filter(move |entry| &*entry.opening.action == action && entry.outcome() == Outcome::Ok)
}

fn kept<T: DeserializeOwned>(data: &selvedge_entry::Data) -> Option<T> {
    serde_json::from_slice(data.body.as_ref()?).ok()
}
