//! The collector before the repository: what SDKs of OpenTelemetry and Zipkin send is kept there.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use selvedge_collector::{Collector, CollectorOptions, Counts, Listen, SinkError, SpanSink};
use selvedge_repository::{Repository, SpanTaker};
use selvedge_spans::Span;

use crate::base::port;
use crate::ports::Ports;

/// A repository that takes spans.
pub(crate) struct Collecting {
    collector: Collector,
    repository: Repository,
}

struct Keep(SpanTaker);

#[async_trait]
impl SpanSink for Keep {
    async fn take(&self, spans: Vec<Span>) -> Result<(), SinkError> {
        let taken = self.0.take(spans).await;
        taken
            .map(|_| ())
            .map_err(|error| SinkError(error.to_string()))
    }
}

impl Collecting {
    /// Listens for spans; on free ports where `ephemeral`.
    pub(crate) async fn start(
        options: &CollectorOptions,
        ephemeral: bool,
        repository: Repository,
    ) -> Result<Self> {
        let mut options = options.clone();
        for listen in [
            &mut options.otlp_grpc,
            &mut options.otlp_http,
            &mut options.zipkin,
        ] {
            if let Listen::At(address) = listen {
                *address = port(*address, ephemeral);
            }
        }
        let sink = Arc::new(Keep(repository.span_taker()));
        let collector = Collector::start(options, sink).await.context("collector")?;
        Ok(Self {
            collector,
            repository,
        })
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.collector.counts()
    }

    /// What is received, and where.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = self.collector.addresses().iter();
        all.map(|(protocol, address)| (protocol.as_str(), *address))
    }

    pub(crate) fn add_to(&self, ports: &mut Ports) {
        for (what, address) in self.addresses() {
            ports.add(what, address);
        }
    }

    /// Takes no more spans, then stops the repository.
    pub(crate) async fn stop(self) {
        self.collector.stop().await;
        self.repository.stop().await;
    }
}
