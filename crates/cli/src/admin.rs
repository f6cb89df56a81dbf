//! The admin port: the query API and the page, or health and metrics alone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use selvedge_bus::ReportMode;
use selvedge_journal::JournalState;
use selvedge_node::Node;
use selvedge_repository::{Access, AdminExtras};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bus::Carrier;
use crate::monitors::MonitorAsker;

/// A served admin port.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Admin {
    pub(crate) async fn start(address: SocketAddr, router: Router) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} for the page and the query API")
        })?;
        let address = listener.local_addr().context("admin address")?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(selvedge_repository::serve(listener, router, async move {
            let _ = stopped.await;
        }));
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Metrics of the parts of this process, in Prometheus' text form.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    nodes: Vec<Node>,
    bus: Option<Carrier>,
    more: Vec<Arc<dyn Fn() -> String + Send + Sync>>,
    monitors: Option<MonitorAsker>,
    routes: Router,
}

impl Metrics {
    pub(crate) fn node(&mut self, node: &Node) {
        self.nodes.push(node.clone());
    }

    pub(crate) fn bus(&mut self, bus: &Carrier) {
        self.bus = Some(bus.clone());
    }

    pub(crate) fn more(&mut self, more: impl Fn() -> String + Send + Sync + 'static) {
        self.more.push(Arc::new(more));
    }

    pub(crate) fn monitors(&mut self, monitors: MonitorAsker) {
        self.monitors = Some(monitors);
    }

    /// Serves more on the admin port.
    pub(crate) fn routes(&mut self, routes: Router) {
        self.routes = std::mem::take(&mut self.routes).merge(routes);
    }

    pub(crate) fn extras(mut self, access: Access) -> AdminExtras {
        let routes = std::mem::take(&mut self.routes);
        AdminExtras {
            metrics: Some(Arc::new(move || {
                let metrics = self.clone();
                Box::pin(async move { metrics.render().await })
            })),
            // Identifiers by reference, for servers of different hosts (D5).
            routes: Some(routes.merge(selvedge::reference_store(Arc::default()))),
            access,
            ..AdminExtras::default()
        }
    }

    /// Health and metrics alone, where the repository is elsewhere.
    pub(crate) fn router(mut self) -> Router {
        std::mem::take(&mut self.routes)
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(|| async { "ok\n" }))
            .route("/metrics", get(move || async move { self.render().await }))
    }

    async fn render(&self) -> String {
        let mut rows = Vec::new();
        for node in &self.nodes {
            node_rows(node, &mut rows);
        }
        if let Some(bus) = &self.bus {
            for (part, name, value) in bus.counts() {
                let gauge = ["links", "subscriptions", "connected"].contains(&name);
                rows.push(Row::new(part, name, gauge, None, value));
            }
        }
        let mut out = text(rows);
        acknowledge_waits(&self.nodes, &mut out);
        for more in &self.more {
            out.push_str(&more());
        }
        if let Some(monitors) = &self.monitors {
            out.push_str(&monitors.metrics().await);
        }
        out
    }
}

/// One value of a metric.
struct Row {
    name: String,
    gauge: bool,
    server: Option<String>,
    value: u64,
}

impl Row {
    fn new(part: &str, name: &str, gauge: bool, node: Option<&Node>, value: u64) -> Self {
        let total = if gauge { "" } else { "_total" };
        Self {
            name: format!("selvedge_{part}_{name}{total}"),
            gauge,
            server: node.map(|node| node.server().to_string()),
            value,
        }
    }
}

fn node_rows(node: &Node, rows: &mut Vec<Row>) {
    let mut add = |part, name: &str, gauge, value| {
        rows.push(Row::new(part, name, gauge, Some(node), value));
    };
    for (name, value) in node.metrics().counts().named() {
        add("node", name, false, value);
    }
    let agent = node.agent();
    add("agent", "unreported_records", true, agent.unreported);
    for mode in ReportMode::ALL {
        let name = format!("mode_{}", mode.as_str().replace('-', "_"));
        add("agent", &name, true, u64::from(agent.terms.mode == mode));
    }
    let present = node.holders().present as u64;
    add("node", "peers_holding", true, present);
    let memory = node.memory().counts();
    add("memory", "entries", true, memory.entries as u64);
    add("memory", "sessions", true, memory.sessions as u64);
    add("memory", "bytes", true, memory.bytes as u64);
    add("memory", "evicted", false, memory.evicted);
    add("memory", "expired", false, memory.expired);
    add("memory", "states", true, memory.states as u64);
    add("memory", "state_bytes", true, memory.state_bytes as u64);
    for (name, value) in [
        ("states_evicted", memory.states_evicted),
        ("states_expired", memory.states_expired),
        ("state_writes_dropped", memory.state_writes_dropped),
    ] {
        add("memory", name, false, value);
    }
    add("memory", "duplicates", false, memory.duplicates);
    add("memory", "lost", false, memory.lost);
    add("memory", "unreadable", false, memory.unreadable);
    let journal = node.journal().counters();
    let durable = matches!(node.journal().state(), JournalState::Durable);
    add("journal", "volatile", true, u64::from(!durable));
    add("journal", "segments", true, journal.segments);
    add("journal", "records", false, journal.records);
    add("journal", "commits", false, journal.commits);
    add("journal", "bytes", false, journal.bytes);
    add(
        "journal",
        "volatile_records",
        false,
        journal.volatile_records,
    );
    add("journal", "volatile_lost", false, journal.volatile_lost);
    add("journal", "failures", false, journal.failures);
}

/// How long each server's answers waited for peers or the bus.
fn acknowledge_waits(nodes: &[Node], out: &mut String) {
    const NAME: &str = "selvedge_node_acknowledge_wait_seconds";
    if !nodes.is_empty() {
        let _ = writeln!(out, "# TYPE {NAME} histogram");
    }
    for node in nodes {
        let waits = node.metrics().acknowledge_waits();
        let server = node.server();
        let bounds = waits.buckets.iter().map(|(le, n)| (le.to_string(), *n));
        for (le, n) in bounds.chain([("+Inf".to_owned(), waits.count)]) {
            let _ = writeln!(out, "{NAME}_bucket{{server=\"{server}\",le=\"{le}\"}} {n}");
        }
        let _ = writeln!(out, "{NAME}_sum{{server=\"{server}\"}} {}", waits.sum);
        let _ = writeln!(out, "{NAME}_count{{server=\"{server}\"}} {}", waits.count);
    }
}

/// Prometheus' text form: the rows of one metric together, below its type.
fn text(mut rows: Vec<Row>) -> String {
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = String::new();
    for group in rows.chunk_by(|a, b| a.name == b.name) {
        let kind = if group[0].gauge { "gauge" } else { "counter" };
        let _ = writeln!(out, "# TYPE {} {kind}", group[0].name);
        for row in group {
            let server = row.server.as_ref();
            let label = server.map_or_else(String::new, |s| format!("{{server=\"{s}\"}}"));
            let _ = writeln!(out, "{}{label} {}", row.name, row.value);
        }
    }
    out
}
