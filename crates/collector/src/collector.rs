//! A running collector: its listeners, and its end.

use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::listener::{Version, serve};
use crate::pipeline::Pipeline;
use crate::{CollectorOptions, Counts, Listen, Protocol, SpanSink, grpc, traces, zipkin};

/// A running collector. Dropping it stops it as well, without waiting.
pub struct Collector {
    addresses: Vec<(Protocol, SocketAddr)>,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a collector cannot start.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address} for {title}: {source}; end what holds it (another collector?), or set \
         collector.{key} to another address or to \"off\"", title = protocol.title(), key = protocol.as_str()
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What for.
        protocol: Protocol,
        /// Why not.
        source: std::io::Error,
    },
}

impl Collector {
    /// Listens, and hands all spans to `sink`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on; then it listens on none.
    pub async fn start(
        options: CollectorOptions,
        sink: Arc<dyn SpanSink>,
    ) -> Result<Self, CollectorError> {
        let CollectorOptions {
            otlp_grpc,
            otlp_http,
            zipkin,
            cors_origins,
            limits,
        } = options;
        let mut listeners = Vec::new();
        for (protocol, listen) in [
            (Protocol::OtlpGrpc, otlp_grpc),
            (Protocol::OtlpHttp, otlp_http),
            (Protocol::Zipkin, zipkin),
        ] {
            let Listen::At(address) = listen else {
                continue;
            };
            let failed = |source| CollectorError::Listen {
                address,
                protocol,
                source,
            };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            listeners.push((protocol, address, listener));
        }
        let connections_max = limits.connections_max;
        let pipeline = Arc::new(Pipeline::new(limits, sink));
        let origins: Arc<[String]> = cors_origins.into();
        let (stop, stopped) = watch::channel(false);
        let mut collector = Self {
            addresses: Vec::new(),
            counts: Arc::clone(&pipeline.counts),
            stop,
            tasks: Vec::new(),
        };
        for (protocol, address, listener) in listeners {
            collector.addresses.push((protocol, address));
            let (pipeline, origins) = (Arc::clone(&pipeline), Arc::clone(&origins));
            let stopped = stopped.clone();
            let task = match protocol {
                Protocol::OtlpGrpc => tokio::spawn(serve(
                    listener,
                    Version::Http2,
                    connections_max,
                    stopped,
                    move |request| grpc::answer(Arc::clone(&pipeline), request),
                )),
                Protocol::OtlpHttp => tokio::spawn(serve(
                    listener,
                    Version::Http1,
                    connections_max,
                    stopped,
                    move |request| {
                        traces::answer(Arc::clone(&pipeline), Arc::clone(&origins), request)
                    },
                )),
                Protocol::Zipkin => tokio::spawn(serve(
                    listener,
                    Version::Http1,
                    connections_max,
                    stopped,
                    move |request| {
                        zipkin::answer(Arc::clone(&pipeline), Arc::clone(&origins), request)
                    },
                )),
            };
            collector.tasks.push(task);
        }
        Ok(collector)
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[(Protocol, SocketAddr)] {
        &self.addresses
    }

    /// What it counts.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Stops listening, and finishes what is in flight, for at most five seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            _ = task.await;
        }
    }
}
