//! Work that no request caused: a timer, a batch (D1).

use selvedge_node::{Exchange, Inbound, Node};

/// Begins a root inside the system: a call tree of its own, whose calls are made with the
/// exchange returned, as in a handler. It belongs to no session. Its entry names it
/// `RUN <name>`; close it with [`Exchange::close`].
///
/// ```no_run
/// # async fn nightly(node: selvedge::Node, client: selvedge::Client) -> Result<(), selvedge::CallError> {
/// let report = selvedge::begin(&node, "nightly-report");
/// let sales = client.get(&report, "sales", "http://sales:8080/today").await?;
/// report.close(selvedge::End::status(sales.status().as_u16()));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn begin(node: &Node, name: &str) -> Exchange {
    let inbound = Inbound {
        method: "RUN",
        path: name,
        received: node.now(),
        ..Inbound::default()
    };
    node.enter(&inbound, None, None)
}
