//! The collector's settings, as they stand in the configuration file.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// The collector's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorOptions {
    /// OTLP over gRPC.
    pub otlp_grpc: Listen,
    /// OTLP over HTTP: `POST /v1/traces`.
    pub otlp_http: Listen,
    /// Zipkin v2: `POST /api/v2/spans`.
    pub zipkin: Listen,
    /// Origins of web pages whose scripts may send spans, as in `https://shop.example`; `*` is all.
    pub cors_origins: Vec<String>,
    /// What senders may cost.
    pub limits: Limits,
}

impl Default for CollectorOptions {
    fn default() -> Self {
        let loopback = |port| Listen::At(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self {
            otlp_grpc: loopback(4317),
            otlp_http: loopback(4318),
            zipkin: loopback(9411),
            cors_origins: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Where a protocol is received, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere; written `"off"`.
    Off,
    /// At this address; port 0 takes a free one.
    At(SocketAddr),
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is neither an address, as in \"127.0.0.1:4317\", nor \"off\""
            ))
        })
    }
}

/// What senders may cost.
///
/// The SDKs send batches of 512 spans, well below a megabyte; OpenTelemetry's own Collector takes
/// 20 MiB over HTTP and 4 MiB over gRPC. 32 MiB leaves room for both, and keeps what a hostile
/// request can blow up to (some fifteen times as much while it is read, two at a time) near a
/// gigabyte.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request as it is sent, compressed or not; more is answered 413.
    pub request_bytes_max: usize,
    /// Bytes of a request once its compression is undone; more is answered 413.
    pub decompressed_bytes_max: usize,
    /// Bytes of all requests in flight; over it senders are told to come back.
    pub bytes_in_flight_max: usize,
    /// Requests in flight; over it senders are told to come back.
    pub requests_max: usize,
    /// Connections to one listener; over it new ones wait.
    pub connections_max: usize,
    /// How long a request may take to arrive whole, in milliseconds; later is answered 408.
    pub request_timeout_ms: u64,
    /// How long storing may take until the sender is told to come back, in milliseconds.
    pub store_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 32 << 20,
            decompressed_bytes_max: 32 << 20,
            bytes_in_flight_max: 256 << 20,
            requests_max: 256,
            connections_max: 512,
            request_timeout_ms: 30_000,
            store_timeout_ms: 30_000,
        }
    }
}

impl Limits {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn store_timeout(&self) -> Duration {
        Duration::from_millis(self.store_timeout_ms)
    }
}
