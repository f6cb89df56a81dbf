//! What every role stands on: configuration, data folder, keys, and how nodes are made of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_bus::Bus;
use selvedge_identity::{KeyRing, ServerName, purpose};
use selvedge_node::{Keep, MemoryOptions, Node, NodeOptions, SystemClock};
use selvedge_repository::{Access, RepositoryOptions};

use crate::args::{ClockSkew, Member};
use crate::config::{self, Config, TrustedSection};
use crate::keys;

/// Where data lies unless told otherwise.
pub(crate) const DATA: &str = "selvedge-data";

pub(crate) struct Base {
    pub(crate) config: Config,
    /// Where the configuration lies, and what it names relative to it.
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) keys: KeyRing,
    pub(crate) skews: Vec<ClockSkew>,
}

/// What is particular to one server.
pub(crate) struct Server<'a> {
    pub(crate) name: ServerName,
    pub(crate) service: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) keep: Keep,
    pub(crate) memory: MemoryOptions,
    pub(crate) side: Side,
}

/// Who sends a server its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Clients: it is the gateway.
    Clients,
    /// The gateway and other servers.
    Servers,
}

impl Base {
    /// Where and how the repository keeps what it takes.
    pub(crate) fn repository(&self) -> RepositoryOptions {
        RepositoryOptions {
            quiet: Duration::from_millis(self.config.repository.quiet_ms),
            ..RepositoryOptions::new(self.data.join("repository"))
        }
    }

    /// Reads the configuration, makes the data folder, reads or makes the keys.
    pub(crate) fn new(
        data: Option<&Path>,
        keys: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<Self> {
        let folder = config::folder(config);
        let config = config::load(config)?;
        let data = data
            .map(Path::to_owned)
            .or_else(|| config.data.clone())
            .unwrap_or_else(|| PathBuf::from(DATA));
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make the data folder {}", data.display()))?;
        let key_file = keys
            .map(Path::to_owned)
            .or_else(|| config.keys.clone())
            .unwrap_or_else(|| data.join("keys"));
        Ok(Self {
            keys: keys::load_or_make(&key_file)?,
            config,
            folder,
            data,
            skews: Vec::new(),
        })
    }

    pub(crate) fn of_member(member: &Member) -> Result<Self> {
        Self::new(
            member.data.as_deref(),
            member.keys.as_deref(),
            member.config.as_deref(),
        )
    }

    /// The key of the bus's links.
    pub(crate) fn bus_key(&self) -> [u8; 32] {
        self.key_of(purpose::BUS)
    }

    /// The fleet's key for one purpose.
    pub(crate) fn key_of(&self, purpose: &str) -> [u8; 32] {
        let derived = self.keys.derive(purpose, self.keys.signer());
        derived.expect("the signing key is in the ring")
    }

    /// What the admin port asks of those who come.
    pub(crate) fn access(&self) -> Access {
        Access {
            keys: Some(self.keys.clone()),
            required: !self.config.admin.open,
        }
    }

    /// A server with the configured defaults.
    pub(crate) fn server<'a>(&self, name: ServerName, service: &'a str) -> Server<'a> {
        Server {
            name,
            service,
            version: None,
            keep: self.config.keep.clone(),
            memory: self.config.node.memory(),
            side: Side::Servers,
        }
    }

    /// A gateway: it faces the clients, and answers nothing from its memory.
    pub(crate) fn gateway<'a>(&self, name: ServerName) -> Server<'a> {
        Server {
            memory: MemoryOptions::positions_only(),
            side: Side::Clients,
            ..self.server(name, "gateway")
        }
    }

    /// Starts a server's node.
    pub(crate) async fn node(&self, server: Server<'_>, bus: Arc<dyn Bus>) -> Result<Node> {
        let Server { name, .. } = &server;
        let folder = self.data.join("journals").join(name.as_str());
        let mut options = NodeOptions::new(name.clone(), server.service, folder, self.keys.clone());
        if let Some(version) = server.version {
            version.clone_into(&mut options.version);
        }
        options.keep = server.keep.clone();
        options.memory = server.memory;
        options.journal = self.config.journal.options();
        options.agent = self.config.agent.options(name);
        options.wait = self.config.node.wait();
        if server.side == Side::Servers {
            options.acknowledge = self.config.node.acknowledge();
        }
        let identifier = self.config.identifier.of(server.service);
        options.shape = identifier.shape();
        options.identifiers = self.config.identifier.options(&identifier)?;
        options.trusted = TrustedSection::networks(match server.side {
            Side::Clients => &self.config.trusted.clients,
            Side::Servers => &self.config.trusted.servers,
        })?;
        if let Some(skew) = self.skews.iter().find(|skew| skew.server == *name) {
            options.clock = Arc::new(SystemClock::new(skew.skew_ns));
        }
        Node::start(options, bus)
            .await
            .with_context(|| format!("server {name}"))
    }
}

/// A server's name that this program makes up.
pub(crate) fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a valid name")
}

/// The address with port 0 where `ephemeral`.
pub(crate) fn port(mut address: SocketAddr, ephemeral: bool) -> SocketAddr {
    if ephemeral {
        address.set_port(0);
    }
    address
}

/// A free port of the loopback address.
pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
