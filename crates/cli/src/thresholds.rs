//! The threshold monitor in this process, and what the admin port shows of it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_bus::Bus;
use selvedge_entry::Timestamp;
use selvedge_identity::purpose;
use selvedge_monitor::threshold::RuleConfig;
use selvedge_monitor::{
    MonitorOptions, MonitorStatus, ReceiverConfig, RunningMonitor, StatusAsker,
};
use selvedge_node::{Clock as _, MemoryOptions, Node, SystemClock};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::{Base, Server};

/// Who is told of crossings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MonitorSection {
    pub(crate) receivers: Vec<ReceiverConfig>,
}

/// What is watched for without configuration, and who is told beside those that it names.
#[derive(Default)]
pub(crate) struct Told {
    /// Rules, where the configuration has none.
    pub(crate) rules: Vec<RuleConfig>,
    /// The encoder of this process.
    pub(crate) encoder: Option<SocketAddr>,
}

/// The monitor of the configured rules.
pub(crate) struct Thresholds {
    running: RunningMonitor,
    /// In whose journals crossings stand, where everyone on the bus is to be told.
    nodes: Vec<Node>,
}

impl Thresholds {
    /// Starts it, where there is a rule.
    pub(crate) async fn start(
        base: &Base,
        name: &str,
        told: &Told,
        bus: Arc<dyn Bus>,
    ) -> Result<Option<Self>> {
        let config = &base.config;
        let mut rules = &config.thresholds;
        if rules.is_empty() {
            rules = &told.rules;
        }
        let mut receivers = config.monitor.receivers.clone();
        receivers.extend(
            told.encoder
                .map(|link| ReceiverConfig::Link(link.to_string())),
        );
        if rules.is_empty() {
            return Ok(None);
        }
        let clock = SystemClock::new(0);
        let mut nodes = Vec::new();
        for receiver in &config.monitor.receivers {
            if let ReceiverConfig::Bus(server) = receiver {
                let memory = MemoryOptions::positions_only();
                let server = Server {
                    memory,
                    ..base.server(server.parse()?, "threshold")
                };
                nodes.push(base.node(server, bus.clone()).await?);
            }
        }
        let options = MonitorOptions {
            name: name.to_owned(),
            data: base.data.join("monitors").join(name),
            rules: rules.clone(),
            receivers,
            link_key: base.key_of(purpose::THRESHOLD),
            nodes: nodes.clone(),
            now: Arc::new(move || -> Timestamp { clock.now() }),
        };
        let running = selvedge_monitor::start(options, bus)
            .await
            .context("thresholds")?;
        Ok(Some(Self { running, nodes }))
    }

    pub(crate) fn asker(&self) -> StatusAsker {
        self.running.asker()
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
        for node in self.nodes {
            node.stop().await;
        }
    }
}

/// `GET /api/v1/thresholds`, of a process with or without rules.
pub(crate) fn routes(thresholds: Option<&Thresholds>) -> Router {
    let asker = thresholds.map(Thresholds::asker);
    Router::new().route(
        "/api/v1/thresholds",
        get(move || async move { Json(list(asker).await) }),
    )
}

async fn list(asker: Option<StatusAsker>) -> Value {
    let status = match asker {
        Some(asker) => asker.status().await,
        None => MonitorStatus::default(),
    };
    json!({
        "thresholds": status.thresholds,
        "followed": status.followed,
        "receivers": status
            .waiting
            .iter()
            .map(|(receiver, waiting)| json!({"receiver": receiver, "waiting": waiting}))
            .collect::<Vec<_>>(),
        "given_up": status.given_up,
        "next": null,
    })
}

/// Checks the rules and receivers of a configuration.
pub(crate) fn check(rules: &[RuleConfig], section: &MonitorSection) -> Result<()> {
    selvedge_monitor::check(rules, &section.receivers)?;
    Ok(())
}
