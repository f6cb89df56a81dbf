//! The admin port: the query API and the page, or health and metrics alone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use selvedge_bus::Hub;
use selvedge_node::Node;
use selvedge_repository::AdminExtras;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
    hub: Option<Hub>,
    more: Vec<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Metrics {
    pub(crate) fn node(&mut self, node: &Node) {
        self.nodes.push(node.clone());
    }

    pub(crate) fn hub(&mut self, hub: &Hub) {
        self.hub = Some(hub.clone());
    }

    pub(crate) fn more(&mut self, more: impl Fn() -> String + Send + Sync + 'static) {
        self.more.push(Arc::new(more));
    }

    pub(crate) fn extras(self) -> AdminExtras {
        AdminExtras {
            metrics: Some(Arc::new(move || self.render())),
            ..AdminExtras::default()
        }
    }

    /// Health and metrics alone, where the repository is elsewhere.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(|| async { "ok\n" }))
            .route("/metrics", get(move || async move { self.render() }))
    }

    fn render(&self) -> String {
        let mut out = String::new();
        let mut rows: Vec<(&str, &str, String, u64)> = Vec::new();
        for node in &self.nodes {
            let server = format!("server=\"{}\"", node.server());
            for (name, value) in node.metrics().counts().named() {
                rows.push(("node", name, server.clone(), value));
            }
            let memory = node.memory().counts();
            for (name, value) in [
                ("memory_entries", memory.entries as u64),
                ("memory_sessions", memory.sessions as u64),
                ("memory_bytes", memory.bytes as u64),
                ("memory_evicted", memory.evicted),
                ("memory_duplicates", memory.duplicates),
                ("memory_lost", memory.lost),
                ("memory_unreadable", memory.unreadable),
            ] {
                rows.push(("node", name, server.clone(), value));
            }
            let journal = node.journal().counters();
            let volatile = !matches!(
                node.journal().state(),
                selvedge_journal::JournalState::Durable
            );
            for (name, value) in [
                ("records", journal.records),
                ("commits", journal.commits),
                ("bytes", journal.bytes),
                ("volatile", u64::from(volatile)),
                ("volatile_records", journal.volatile_records),
                ("volatile_lost", journal.volatile_lost),
                ("failures", journal.failures),
                ("segments", journal.segments),
            ] {
                rows.push(("journal", name, server.clone(), value));
            }
        }
        if let Some(hub) = &self.hub {
            for (name, value) in hub.metrics().named() {
                rows.push(("bus", name, String::new(), value));
            }
        }
        rows.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let mut last = (String::new(), String::new());
        for (part, name, labels, value) in rows {
            if last != (part.to_owned(), name.to_owned()) {
                let _ = writeln!(out, "# TYPE selvedge_{part}_{name} untyped");
                last = (part.to_owned(), name.to_owned());
            }
            let labels = if labels.is_empty() {
                labels
            } else {
                format!("{{{labels}}}")
            };
            let _ = writeln!(out, "selvedge_{part}_{name}{labels} {value}");
        }
        for more in &self.more {
            out.push_str(&more());
        }
        out
    }
}
