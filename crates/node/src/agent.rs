//! The reporting agent (D7) and its counterpart: what goes out to the back-end network, and what
//! comes in.
//!
//! One task follows the server's own journal: every record that has become durable goes into the
//! server's memory and is announced. Another follows everyone else's journals into the memory.
//! The journal is the only queue: while the network is away nothing piles up here, and on its
//! return the network reads from the journal what it has not had.
//!
//! Peers need records as they are written (E6); whoever reports, the repository above all, gets
//! them as [`AgentOptions`] say: in real time, on a period, or on demand. What was reported is
//! one position that only grows, so whatever is lost on the way is read again.

mod find;
mod others;
mod own;
mod source;

use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::{Bus, Source};
use selvedge_journal::Reader;
use tokio::task::JoinHandle;

use self::others::Others;
use self::own::{Joining, Own};
pub use self::source::AgentStatus;
pub(crate) use self::source::JournalSource;
use crate::node::NodeError;
use crate::{AgentMode, Node};

/// How long a start waits for the network to accept the server's name. A network that is away is
/// no reason not to serve; a name that is taken is.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// Starts the tasks; the first ends once the journal is closed and all of it announced.
pub(crate) async fn start(
    node: &Node,
    bus: Arc<dyn Bus>,
    reader: Reader,
) -> Result<Vec<JoinHandle<()>>, NodeError> {
    let source = node.source();
    let agent = node.agent_options();
    let period = match agent.mode {
        AgentMode::Period(period) => Some(period),
        _ => None,
    };
    if period.is_some() {
        // What earlier runs left unreported must not look as if it were gone.
        source.report();
    }
    let joining = {
        let (bus, source) = (bus.clone(), source.clone() as Arc<dyn Source>);
        tokio::spawn(async move { bus.join(source).await })
    };
    let mut joining = Joining::Under(joining);
    if let Ok(joined) = tokio::time::timeout(JOIN_WAIT, joining.publisher()).await {
        joined?;
    }
    let at_once = agent.terms().peers_at_once;
    let own = Own {
        server: node.server().clone(),
        announced: (!at_once).then(|| node.journal().reader(reader.position())),
        reader,
        memory: node.shared_memory(),
        metrics: node.shared_metrics(),
        source,
        joining,
    };
    let others = Others {
        server: node.server().clone(),
        memory: node.shared_memory(),
        metrics: node.shared_metrics(),
        holds: node.holds_entries(),
    };
    Ok(vec![
        tokio::spawn(own.run(period)),
        tokio::spawn(others.run(bus)),
    ])
}
