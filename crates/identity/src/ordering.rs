//! The id that orders a session's actions without a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ServerName;

/// An ordering id: unique for every action of a session, and extending the causal order
/// (design: an action that follows another has the greater counter). Compared by counter, then
/// by server (A9). In JSON `[counter, "server"]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, ServerName)", into = "(u64, ServerName)")]
pub struct OrderingId {
    /// Greater than that of every action this one follows.
    pub counter: u64,
    /// The server that gave it: the tie-break.
    pub server: ServerName,
}

impl fmt::Debug for OrderingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.counter, self.server)
    }
}

impl From<(u64, ServerName)> for OrderingId {
    fn from((counter, server): (u64, ServerName)) -> Self {
        Self { counter, server }
    }
}

impl From<OrderingId> for (u64, ServerName) {
    fn from(id: OrderingId) -> Self {
        (id.counter, id.server)
    }
}
