//! Starts and stops the gateway, and tells its state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use selvedge_node::Node;
use selvedge_relay::{Server, ServerCounter};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::broadcast::{Broadcaster, Ring};
use crate::channel::Channel;
use crate::forward::Forward;
use crate::log_server::LogServer;
use crate::metrics::{GatewayCounts, Metrics};
use crate::upstream::{UpstreamStatus, Upstreams};
use crate::{GatewayOptions, UpstreamOptions, probe};

/// Why a gateway did not start, or did not take a new setting.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// An address is taken, or not this host's.
    #[error(
        "gateway cannot listen on {address}: {error}; choose another address in gateway.listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// No address to listen on.
    #[error("gateway.listen names no address")]
    NoAddress,
    /// An upstream is not named right.
    #[error("{0}")]
    Upstream(String),
}

/// The load balancer, with the log server in it.
#[derive(Debug)]
pub struct Gateway;

/// A gateway at work. Dropping it closes its connections at once; [`RunningGateway::stop`] lets
/// requests in flight finish.
pub struct RunningGateway {
    servers: Vec<Server>,
    upstreams: Arc<Upstreams>,
    metrics: Arc<Metrics>,
    ring: Arc<Ring>,
    channel: Arc<Channel>,
    probing: tokio::task::JoinHandle<()>,
    grace: Duration,
}

/// Tells what a gateway counts; cloning is cheap, and it outlives the gateway.
#[derive(Clone)]
pub struct GatewayMetrics {
    metrics: Arc<Metrics>,
    ring: Arc<Ring>,
    channel: Arc<Channel>,
    upstreams: Arc<Upstreams>,
    servers: Vec<ServerCounter>,
}

impl GatewayMetrics {
    /// Each upstream's name, and what one more request to it would cost now, in nanoseconds of
    /// latency times requests in flight; none where it is out.
    #[must_use]
    pub fn costs(&self) -> Vec<(String, Option<f64>)> {
        self.upstreams.costs()
    }

    /// The counters, as they are now.
    #[must_use]
    pub fn counts(&self) -> GatewayCounts {
        let mut counts = self.metrics.snapshot();
        counts.broadcasts = self.ring.told.load(Relaxed);
        counts.broadcast_streams = self.ring.streams.load(Relaxed);
        counts.broadcast_streams_slow = self.ring.streams_slow.load(Relaxed);
        counts.channel_files = self.channel.served.load(Relaxed);
        for server in &self.servers {
            let server = server.counts();
            counts.connections += server.connections;
            counts.connections_open += server.open;
        }
        let upstreams = self.upstreams.list();
        counts.upstreams = upstreams.iter().map(|upstream| upstream.counts()).collect();
        counts
    }
}

impl Gateway {
    /// Listens and serves. `node` is the gateway's own: its journal, keys, clock and trust.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub async fn start(
        options: GatewayOptions,
        node: Node,
    ) -> Result<RunningGateway, GatewayError> {
        if options.listen.is_empty() {
            return Err(GatewayError::NoAddress);
        }
        let mut listeners = Vec::with_capacity(options.listen.len());
        for &address in &options.listen {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| GatewayError::Listen { address, error })?;
            listeners.push((address, listener));
        }
        let seed = u64::from_le_bytes(node.random());
        let upstreams = Arc::new(Upstreams::new(&options, seed).map_err(GatewayError::Upstream)?);
        let metrics = Arc::new(Metrics::default());
        let cookies = options.cookies.clone();
        let log_server = Arc::new(LogServer::new(node.clone(), Arc::clone(&metrics), cookies));
        let run = u64::from_le_bytes(node.random());
        let ring = Arc::new(Ring::new(options.broadcast.clone(), run));
        let channel = Arc::new(Channel::new(options.channel.clone()));
        let limits = options.limits.clone();
        let grace = Duration::from_millis(options.stop_grace_ms);
        let forward = Arc::new(Forward {
            node,
            options,
            upstreams: Arc::clone(&upstreams),
            log_server,
            metrics: Arc::clone(&metrics),
            ring: Arc::clone(&ring),
            channel: Arc::clone(&channel),
        });
        let mut servers = Vec::with_capacity(listeners.len());
        for (address, listener) in listeners {
            let server = Server::start(listener, Arc::clone(&forward), limits.clone())
                .map_err(|error| GatewayError::Listen { address, error })?;
            tracing::info!(address = %server.local_addr(), "gateway listens");
            servers.push(server);
        }
        Ok(RunningGateway {
            servers,
            probing: tokio::spawn(probe::probe(Arc::clone(&upstreams))),
            upstreams,
            metrics,
            ring,
            channel,
            grace,
        })
    }
}

impl RunningGateway {
    /// The first address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.servers[0].local_addr()
    }

    /// All addresses it listens on.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::local_addr).collect()
    }

    /// The servers behind it, as they look now.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.upstreams.status()
    }

    /// Replaces the list of servers. One that stays keeps its connections and its history;
    /// requests in flight to one that goes are finished.
    ///
    /// # Errors
    /// Where one is not named right; then nothing changes.
    pub fn set_upstreams(&self, upstreams: &[UpstreamOptions]) -> Result<(), GatewayError> {
        self.upstreams
            .set(upstreams)
            .map_err(GatewayError::Upstream)
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> GatewayMetrics {
        GatewayMetrics {
            metrics: Arc::clone(&self.metrics),
            ring: Arc::clone(&self.ring),
            channel: Arc::clone(&self.channel),
            upstreams: Arc::clone(&self.upstreams),
            servers: self.servers.iter().map(Server::counter).collect(),
        }
    }

    /// What tells its clients of broadcasts.
    #[must_use]
    pub fn broadcaster(&self) -> Broadcaster {
        self.ring.broadcaster()
    }

    /// Stops listening, ends streams of broadcasts, and lets requests in flight finish, for at most the configured time. The
    /// node is stopped by whoever started it, after this.
    pub async fn stop(mut self) {
        self.ring.end();
        let mut stopping = tokio::task::JoinSet::new();
        for server in std::mem::take(&mut self.servers) {
            let grace = self.grace;
            stopping.spawn(server.stop(grace));
        }
        while stopping.join_next().await.is_some() {}
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.probing.abort();
    }
}
