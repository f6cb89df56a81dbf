//! What the gateway counts. Names of metrics stand here and nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The gateway's counters, as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatewayCounts {
    /// Requests taken.
    pub requests: u64,
    /// Requests being handled.
    pub in_flight: usize,
    /// Attempts on another server after a failed one.
    pub retries: u64,
    /// Requests that the gateway answered itself, by status (502, 503, …).
    pub own_answers: BTreeMap<u16, u64>,
    /// Requests and connections refused as malformed or over a limit, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Sessions opened, by why: `new` (no token came), or why the tokens that came were refused.
    pub sessions_fresh: BTreeMap<&'static str, u64>,
    /// Clients named, by why.
    pub clients_fresh: BTreeMap<&'static str, u64>,
    /// Connections taken.
    pub connections: u64,
    /// Connections open.
    pub connections_open: usize,
    /// Broadcasts told.
    pub broadcasts: u64,
    /// Streams of broadcasts that are open.
    pub broadcast_streams: usize,
    /// Streams closed because their readers fell behind.
    pub broadcast_streams_slow: u64,
    /// Files of the channel that were served.
    pub channel_files: u64,
    /// By server.
    pub upstreams: Vec<UpstreamCounts>,
}

/// What one server was asked and answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UpstreamCounts {
    /// Its name.
    pub name: String,
    /// Whether it is asked.
    pub healthy: bool,
    /// Requests it is handling.
    pub in_flight: usize,
    /// Requests that got no answer.
    pub unanswered: u64,
    /// Answers 1xx (101 only).
    pub informational: u64,
    /// Answers 2xx.
    pub successful: u64,
    /// Answers 3xx.
    pub redirected: u64,
    /// Answers 4xx.
    pub client_errors: u64,
    /// Answers 5xx.
    pub server_errors: u64,
    /// Requests it failed that were tried elsewhere.
    pub retried_elsewhere: u64,
    /// Connections made to it.
    pub connects: usize,
}

impl UpstreamCounts {
    /// All its answers.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.informational
            + self.successful
            + self.redirected
            + self.client_errors
            + self.server_errors
    }
}

impl GatewayCounts {
    /// The counters in Prometheus' text format.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut out = String::new();
        let mut plain = |name: &str, kind: &str, value: u64| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# TYPE selvedge_gateway_{name} {kind}");
            let _ = writeln!(out, "selvedge_gateway_{name} {value}");
        };
        plain("requests_total", "counter", self.requests);
        plain("requests_in_flight", "gauge", self.in_flight as u64);
        plain("retries_total", "counter", self.retries);
        plain("connections_total", "counter", self.connections);
        plain("connections_open", "gauge", self.connections_open as u64);
        plain("broadcasts_total", "counter", self.broadcasts);
        plain("broadcast_streams", "gauge", self.broadcast_streams as u64);
        plain(
            "broadcast_streams_slow_total",
            "counter",
            self.broadcast_streams_slow,
        );
        plain("channel_files_total", "counter", self.channel_files);
        let mut labelled = |name: &str, label: &str, values: Vec<(String, u64)>| {
            let _ = writeln!(out, "# TYPE selvedge_gateway_{name} counter");
            for (value, count) in values {
                let _ = writeln!(
                    out,
                    "selvedge_gateway_{name}{{{label}=\"{value}\"}} {count}"
                );
            }
        };
        let texts = |map: &BTreeMap<&'static str, u64>| {
            map.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
        };
        let statuses = self.own_answers.iter().map(|(k, v)| (k.to_string(), *v));
        labelled("own_answers_total", "status", statuses.collect());
        labelled("refused_total", "reason", texts(&self.refused));
        labelled(
            "sessions_fresh_total",
            "reason",
            texts(&self.sessions_fresh),
        );
        labelled("clients_fresh_total", "reason", texts(&self.clients_fresh));
        let _ = writeln!(
            out,
            "# TYPE selvedge_gateway_upstream_answers_total counter"
        );
        for upstream in &self.upstreams {
            let name = upstream.name.replace(['\\', '"', '\n'], "_");
            for (class, count) in [
                ("none", upstream.unanswered),
                ("1xx", upstream.informational),
                ("2xx", upstream.successful),
                ("3xx", upstream.redirected),
                ("4xx", upstream.client_errors),
                ("5xx", upstream.server_errors),
            ] {
                let _ = writeln!(
                    out,
                    "selvedge_gateway_upstream_answers_total{{upstream=\"{name}\",class=\"{class}\"}} {count}"
                );
            }
        }
        for (metric, kind) in [
            ("upstream_healthy", "gauge"),
            ("upstream_in_flight", "gauge"),
            ("upstream_connects_total", "counter"),
        ] {
            let _ = writeln!(out, "# TYPE selvedge_gateway_{metric} {kind}");
            for upstream in &self.upstreams {
                let name = upstream.name.replace(['\\', '"', '\n'], "_");
                let value = match metric {
                    "upstream_healthy" => usize::from(upstream.healthy),
                    "upstream_in_flight" => upstream.in_flight,
                    _ => upstream.connects,
                };
                let _ = writeln!(
                    out,
                    "selvedge_gateway_{metric}{{upstream=\"{name}\"}} {value}"
                );
            }
        }
        out
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: AtomicU64,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) retries: AtomicU64,
    pub(crate) own_answers: Labelled<u16>,
    pub(crate) refused: Labelled<&'static str>,
    pub(crate) sessions_fresh: Labelled<&'static str>,
    pub(crate) clients_fresh: Labelled<&'static str>,
}

/// Counters by label, of which there are few.
#[derive(Debug)]
pub(crate) struct Labelled<K>(Mutex<BTreeMap<K, u64>>);

impl<K> Default for Labelled<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Copy> Labelled<K> {
    pub(crate) fn count(&self, label: K) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(label).or_default() += 1;
    }

    fn snapshot(&self) -> BTreeMap<K, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Metrics {
    pub(crate) fn snapshot(&self) -> GatewayCounts {
        GatewayCounts {
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            retries: self.retries.load(Relaxed),
            own_answers: self.own_answers.snapshot(),
            refused: self.refused.snapshot(),
            sessions_fresh: self.sessions_fresh.snapshot(),
            clients_fresh: self.clients_fresh.snapshot(),
            ..GatewayCounts::default()
        }
    }
}
