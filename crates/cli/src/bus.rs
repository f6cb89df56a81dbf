//! Who carries the back-end network for this process: a hub of its own, one elsewhere, or NATS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use selvedge_bus::{Bus, Hub, HubOptions, JetStreamBus, LinkOptions, TcpBus};

use crate::args::{BusAddress, Member};
use crate::base::Base;

/// This process's way to the bus.
#[derive(Clone)]
pub(crate) enum Carrier {
    /// The hub is here, and listens for others.
    Hub(Hub, SocketAddr),
    /// The hub is elsewhere.
    Link(TcpBus),
    Nats(JetStreamBus),
}

impl Carrier {
    /// For the process that has the hub, unless NATS is named in its place.
    pub(crate) async fn host(
        base: &Base,
        named: Option<&BusAddress>,
        name: &str,
        listen: SocketAddr,
        options: HubOptions,
    ) -> Result<Self> {
        if let Some(servers) = nats(base, named) {
            return Self::over_nats(base, servers, name).await;
        }
        let hub = Hub::new(options);
        let address = hub.listen(listen, base.bus_key()).await?;
        Ok(Self::Hub(hub, address))
    }

    /// For every other process. The bus need not be there yet: the journal keeps what it will want
    /// to know.
    pub(crate) async fn link(base: &Base, member: &Member, name: &str) -> Result<Self> {
        if let Some(servers) = nats(base, member.bus.as_ref()) {
            return Self::over_nats(base, servers, name).await;
        }
        let address = match member.bus {
            Some(BusAddress::Hub(address)) => address,
            _ => base.config.bus.listen,
        };
        let options = LinkOptions::default();
        let bus = TcpBus::start(address, base.bus_key(), name, options)?;
        Ok(Self::Link(bus))
    }

    async fn over_nats(base: &Base, servers: Vec<String>, name: &str) -> Result<Self> {
        let section = &base.config.bus.jetstream;
        let mut options = section.options(servers)?;
        if let Some(file) = &section.nkey_file {
            let seed = std::fs::read_to_string(file);
            let seed = seed.with_context(|| format!("cannot read the NKey {}", file.display()))?;
            options.nkey = Some(seed.trim().to_owned());
        }
        let bus = JetStreamBus::start(options, base.bus_key(), name).await?;
        Ok(Self::Nats(bus))
    }

    pub(crate) fn bus(&self) -> Arc<dyn Bus> {
        match self {
            Self::Hub(hub, _) => Arc::new(hub.clone()),
            Self::Link(link) => Arc::new(link.clone()),
            Self::Nats(bus) => Arc::new(bus.clone()),
        }
    }

    /// Where the hub of this process listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Hub(_, address) => Some(*address),
            _ => None,
        }
    }

    /// What it counts: of which part, the name, the value.
    pub(crate) fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let of = |part: &'static str| move |(name, value)| (part, name, value);
        match self {
            Self::Hub(hub, _) => hub.metrics().named().into_iter().map(of("bus")).collect(),
            Self::Nats(bus) => {
                let nats = bus.metrics().named().into_iter().map(of("nats"));
                let picture = bus.picture_metrics().named().into_iter().map(of("bus"));
                nats.chain(picture).collect()
            }
            Self::Link(_) => Vec::new(),
        }
    }

    /// Ends it; over NATS, what was announced is still published.
    pub(crate) async fn stop(&self) {
        match self {
            Self::Hub(hub, _) => hub.stop().await,
            Self::Nats(bus) => bus.stop().await,
            Self::Link(_) => {} // ends with its last user
        }
    }
}

/// The NATS servers that carry the bus, if they do.
fn nats(base: &Base, named: Option<&BusAddress>) -> Option<Vec<String>> {
    match named {
        Some(BusAddress::Nats(servers)) => Some(servers.clone()),
        Some(BusAddress::Hub(_)) => None,
        None => Some(base.config.bus.nats.clone()).filter(|servers| !servers.is_empty()),
    }
}
