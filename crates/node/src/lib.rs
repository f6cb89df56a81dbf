//! What every server of a fleet has: its journal, its memory of its peers, its reporting agent.
//!
//! Gateway, sidecar and SDK stand on it. It keeps the ordering rule (a request that its gateway
//! called a server for becomes an action of its session, with an ordering id and what it follows),
//! the identifiers of calls, the records of entries, the wait for what a client has seen (E6), and
//! it announces its own journal on the back-end network and remembers everyone else's. It does
//! not speak HTTP: it takes and gives header values.
//!
//! Requirements: A1, A2, A5, A7, A8, A9, A10, B2, D2, D6, D7, E6.

mod acknowledge;
mod agent;
mod beside;
mod broadcasts;
mod clock;
mod exchange;
mod gather;
mod identifiers;
mod inbound;
mod keep;
mod late;
mod memory;
mod metrics;
mod node;
mod options;
mod shelf;
mod wait;

pub use acknowledge::{Acknowledge, AcknowledgeOptions};
pub use agent::AgentStatus;
pub use beside::{Beside, BesideCounts, BesideError, BesideOptions};
pub use broadcasts::{Broadcasted, Broadcasts};
pub use clock::{Clock, Entropy, SystemClock, SystemEntropy};
pub use exchange::{
    Action, Answer, BroadcastError, End, Exchange, Outbound, OutboundHeaders, STATE_NAME_BYTES_MAX,
    STATE_NAMES_MAX, STATE_SESSION_BYTES_MAX, STATE_VALUE_BYTES_MAX, Sent, SessionState,
    StateError, StateValue, outcome_of,
};
pub use gather::Gathered;
pub use identifiers::{IdentifierOptions, Levels, Wrap, Wrapped};
pub use inbound::Inbound;
pub use ipnet::IpNet;
pub use keep::Keep;
pub use memory::{Memory, MemoryCounts, StateView};
pub use metrics::{NodeCounts, NodeMetrics, Waits};
pub use node::{Node, NodeError, NoteError};
pub use options::{
    AgentMode, AgentOptions, MemoryOptions, NodeOptions, WaitOptions, private_networks,
};
pub use selvedge_session::{Candidate, Relation, Timeline};
pub use shelf::{Shelf, ShelfCounts, ShelfError};

/// The one shared copy of a text that almost every entry holds, else a copy of its own.
fn text(text: &str) -> selvedge_entry::Text {
    use std::sync::LazyLock;
    static COMMON: LazyLock<[selvedge_entry::Text; 6]> =
        LazyLock::new(|| ["method", "path", "GET", "POST", "PUT", "DELETE"].map(Into::into));
    let common = COMMON.iter().find(|common| &***common == text);
    common.cloned().unwrap_or_else(|| text.into())
}
