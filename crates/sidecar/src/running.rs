//! A sidecar's start and end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use selvedge_node::Node;
use selvedge_relay::{Client, Server};
use tokio::net::TcpListener;

use crate::counts::Counters;
use crate::egress::Egress;
use crate::inbound::Front;
use crate::live::Live;
use crate::local_api::LocalApi;
use crate::target::{Target, Targets};
use crate::{SidecarCounts, SidecarError, SidecarOptions};

/// Requests in flight at a stop get this long.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The proxy before an application; see the crate's documentation.
#[derive(Debug)]
pub struct Sidecar;

/// A sidecar that is running. Dropped, it stops at once.
pub struct RunningSidecar {
    inbound: Server,
    egress: Server,
    counters: Arc<Counters>,
}

impl Sidecar {
    /// Starts a sidecar on this node. The node is not stopped with it.
    ///
    /// # Errors
    /// When an address cannot be listened on, the egress address is not a loopback one, or a URL
    /// is none that it can send to.
    pub async fn start(
        options: SidecarOptions,
        node: Node,
    ) -> Result<RunningSidecar, SidecarError> {
        if !options.egress.ip().is_loopback() {
            return Err(SidecarError::EgressOpen(options.egress));
        }
        let upstream =
            Target::parse(None, &options.upstream).map_err(|reason| SidecarError::Url {
                what: "upstream".to_owned(),
                url: options.upstream.clone(),
                reason,
            })?;
        let live = Arc::new(Live::new(options.finished_max));
        let counters = Arc::<Counters>::default();
        let front = Front {
            node: node.clone(),
            application: Client::new(upstream.address, options.upstream_limits.clone()),
            prefix: upstream.prefix,
            live: live.clone(),
            soap: options.soap.clone(),
            counters: counters.clone(),
        };
        let references = options.references.as_deref().map(|url| {
            Target::parse(Some("references"), url).map_err(|reason| SidecarError::Url {
                what: "references".to_owned(),
                url: url.to_owned(),
                reason,
            })
        });
        let egress = Arc::new(Egress {
            local: LocalApi::new(
                node.clone(),
                live.clone(),
                references.transpose()?,
                counters.clone(),
            ),
            soap: options.soap,
            node,
            targets: Targets::new(&options.routes, options.upstream_limits.clone())?,
            live,
            counters: counters.clone(),
            own: OnceLock::new(),
        });
        // Calls first: the application may make some at its very first request.
        let out = Listening::on(options.egress, "calls").await?;
        let into = Listening::on(options.listen, "requests").await?;
        let _ = egress.own.set(out.address);
        let limits = &options.limits;
        Ok(RunningSidecar {
            egress: out.serve(|listener| Server::start(listener, egress, limits.clone()))?,
            inbound: into
                .serve(|listener| Server::start(listener, Arc::new(front), limits.clone()))?,
            counters,
        })
    }
}

impl RunningSidecar {
    /// Where the gateway reaches it.
    #[must_use]
    pub fn inbound_addr(&self) -> SocketAddr {
        self.inbound.local_addr()
    }

    /// Where the application's calls and questions go.
    #[must_use]
    pub fn egress_addr(&self) -> SocketAddr {
        self.egress.local_addr()
    }

    /// What it counts.
    #[must_use]
    pub fn counts(&self) -> SidecarCounts {
        self.counters.counts()
    }

    /// Takes no new requests, lets those in flight end (at most 5 s), then takes no more calls.
    pub async fn stop(self) {
        self.inbound.stop(STOP_WITHIN).await;
        self.egress.stop(STOP_WITHIN).await;
    }
}

struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    purpose: &'static str,
}

impl Listening {
    async fn on(address: SocketAddr, purpose: &'static str) -> Result<Self, SidecarError> {
        let failed = |source| SidecarError::Listen {
            address,
            purpose,
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self {
            address: listener.local_addr().map_err(failed)?,
            listener,
            purpose,
        })
    }

    fn serve(
        self,
        start: impl FnOnce(TcpListener) -> std::io::Result<Server>,
    ) -> Result<Server, SidecarError> {
        start(self.listener).map_err(|source| SidecarError::Listen {
            address: self.address,
            purpose: self.purpose,
            source,
        })
    }
}
