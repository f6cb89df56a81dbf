//! What the collector counts. Names of metrics stand here and nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use selvedge_spans::Refusal;

use crate::Fault;

/// How spans come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Zipkin v2 over HTTP.
    Zipkin,
}

impl Protocol {
    /// Its name in counts and in the ports file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Zipkin => "zipkin",
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "OTLP over gRPC",
            Self::OtlpHttp => "OTLP over HTTP",
            Self::Zipkin => "Zipkin",
        }
    }
}

/// The collector's counters. One lock for all: a request takes it twice.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Values>);

#[derive(Debug, Default)]
struct Values {
    /// Spans handed on, durable.
    taken: BTreeMap<Protocol, u64>,
    /// Spans refused, by reason.
    refused: BTreeMap<(Protocol, Refusal), u64>,
    /// Requests taken, if only in part.
    requests: BTreeMap<Protocol, u64>,
    /// Requests refused as a whole, by reason.
    faults: BTreeMap<(Protocol, &'static str), u64>,
}

impl Counts {
    /// A request's spans are durable; single ones may have been refused.
    pub(crate) fn taken(&self, protocol: Protocol, spans: u64, refused: &BTreeMap<Refusal, u64>) {
        let mut values = self.values();
        *values.requests.entry(protocol).or_default() += 1;
        *values.taken.entry(protocol).or_default() += spans;
        for (&reason, count) in refused {
            *values.refused.entry((protocol, reason)).or_default() += count;
        }
    }

    /// A request was refused as a whole.
    pub(crate) fn fault(&self, protocol: Protocol, fault: &Fault) {
        let key = (protocol, fault.reason());
        *self.values().faults.entry(key).or_default() += 1;
    }

    /// The counters in Prometheus' text format.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let values = self.values();
        let mut out = String::new();
        let mut counter = |name: &str, about: &str, rows: Vec<(String, u64)>| {
            // Writing to a string cannot fail.
            _ = writeln!(out, "# HELP selvedge_collector_{name} {about}");
            _ = writeln!(out, "# TYPE selvedge_collector_{name} counter");
            for (labels, value) in rows {
                _ = writeln!(out, "selvedge_collector_{name}_total{{{labels}}} {value}");
            }
        };
        let plain = |map: &BTreeMap<Protocol, u64>| {
            let rows = map.iter();
            rows.map(|(protocol, n)| (label(*protocol, None), *n))
                .collect()
        };
        counter("spans", "Spans taken and durable.", plain(&values.taken));
        let rows = values.refused.iter();
        counter(
            "refused_spans",
            "Spans refused, by reason.",
            rows.map(|((protocol, reason), n)| (label(*protocol, Some(reason.as_str())), *n))
                .collect(),
        );
        counter(
            "requests",
            "Requests taken, if only in part.",
            plain(&values.requests),
        );
        let rows = values.faults.iter();
        counter(
            "refused_requests",
            "Requests refused as a whole, by reason.",
            rows.map(|((protocol, reason), n)| (label(*protocol, Some(reason)), *n))
                .collect(),
        );
        out
    }

    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(protocol: Protocol, reason: Option<&str>) -> String {
    let protocol = protocol.as_str();
    match reason {
        None => format!("protocol=\"{protocol}\""),
        Some(reason) => format!("protocol=\"{protocol}\",reason=\"{reason}\""),
    }
}
