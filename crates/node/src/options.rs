//! What a node is told when it starts.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use selvedge_bus::{ReportMode, Terms};
use selvedge_identity::{KeyRing, ServerName, Shape};
use selvedge_journal::{JournalOptions, Storage};

use crate::identifiers::IdentifierOptions;
use crate::keep::Keep;
use crate::{AcknowledgeOptions, Clock, Entropy, SystemClock, SystemEntropy};

/// A node's settings.
pub struct NodeOptions {
    /// The server's name, unique in its fleet.
    pub server: ServerName,
    /// The service it runs (A5).
    pub service: String,
    /// That service's version (A5).
    pub version: String,
    /// The host it runs on, as entries show it.
    pub host: String,
    /// The folder of its journal.
    pub journal_dir: PathBuf,
    /// The journal's settings.
    pub journal: JournalOptions,
    /// Where files are kept; a disk but in tests.
    pub storage: Arc<dyn Storage>,
    /// The keys that the fleet shares.
    pub keys: KeyRing,
    /// How it writes request identifiers (D4).
    pub shape: Shape,
    /// How it reads and writes them beside that.
    pub identifiers: IdentifierOptions,
    /// How long a request may wait for the back-end network (E6).
    pub wait: WaitOptions,
    /// How much of the fleet's history it holds (B2).
    pub memory: MemoryOptions,
    /// How far an effect has to have got before its answer goes out (B2).
    pub acknowledge: AcknowledgeOptions,
    /// When what it did is reported (D7).
    pub agent: AgentOptions,
    /// Which request and answer data its entries keep.
    pub keep: Keep,
    /// Sources whose `traceparent` and `selvedge-request` are continued; others become links.
    pub trusted: Vec<IpNet>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its random source.
    pub entropy: Arc<dyn Entropy>,
}

/// The bounds of the wait for a session's heads (E6).
#[derive(Clone, Copy, Debug)]
pub struct WaitOptions {
    /// The longest wait of one request. Default 50 ms.
    pub longest: Duration,
    /// Requests that may wait at once; more go on at once, and the omission is recorded.
    pub waiters_max: usize,
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self {
            longest: Duration::from_millis(50),
            waiters_max: 1024,
        }
    }
}

/// The bounds of a node's memory of its fleet (B2).
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Bytes of entries, as an estimate; the oldest go first. 0: hold positions only (the
    /// gateway, which answers nothing from its memory). Default 256 MiB.
    pub bytes_max: usize,
    /// How long an entry is held, and the state of a session in which nothing is done. `None`: as
    /// long as there is room. Default a day.
    pub age_max: Option<Duration>,
    /// Bytes of sessions' state, as an estimate; of the sessions the one goes first in which
    /// nothing was done for longest. Default 64 MiB.
    pub state_bytes_max: usize,
}

impl MemoryOptions {
    /// Positions only: for a server that answers nothing from its memory.
    #[must_use]
    pub fn positions_only() -> Self {
        Self {
            bytes_max: 0,
            ..Self::default()
        }
    }
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            age_max: Some(Duration::from_secs(24 * 60 * 60)),
            state_bytes_max: 64 << 20,
        }
    }
}

/// How a server's agent reports its journal (D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentOptions {
    /// When.
    pub mode: AgentMode,
    /// Whether peers get records as they are written, whatever the mode. Where not, they get them
    /// with the reports (on demand: never), and nobody waits for this server's heads: for servers
    /// that no gateway calls. Real time and past the journal mean peers, too.
    pub peers_at_once: bool,
}

/// When a server's agent reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentMode {
    /// Every record as soon as it is durable.
    RealTime,
    /// Everything since the last report, this often.
    Period(Duration),
    /// What is asked for.
    OnDemand,
    /// Every record at once, out of memory: the server writes no file, and what was not taken yet
    /// is lost with the process.
    PastJournal {
        /// Bytes of records that wait for the network at most; the oldest go first, and are told
        /// as a gap.
        bytes_max: usize,
    },
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            mode: AgentMode::RealTime,
            peers_at_once: true,
        }
    }
}

impl AgentOptions {
    /// What the back-end network is told of it.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let mode = match self.mode {
            AgentMode::RealTime => ReportMode::RealTime,
            AgentMode::Period(_) => ReportMode::Period,
            AgentMode::OnDemand => ReportMode::OnDemand,
            AgentMode::PastJournal { .. } => ReportMode::PastJournal,
        };
        Terms {
            mode,
            peers_at_once: self.peers_at_once || !mode.holds_back(),
            holders: 0,
        }
    }
}

impl NodeOptions {
    /// Settings with every default: the system's clock, random source and disk.
    #[must_use]
    pub fn new(
        server: ServerName,
        service: &str,
        journal_dir: impl Into<PathBuf>,
        keys: KeyRing,
    ) -> Self {
        Self {
            host: server.to_string(),
            server,
            service: service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            journal_dir: journal_dir.into(),
            journal: JournalOptions::default(),
            storage: Arc::new(selvedge_journal::DiskStorage),
            keys,
            shape: Shape::default(),
            identifiers: IdentifierOptions::default(),
            wait: WaitOptions::default(),
            memory: MemoryOptions::default(),
            acknowledge: AcknowledgeOptions::default(),
            agent: AgentOptions::default(),
            keep: Keep::default(),
            trusted: private_networks(),
            clock: Arc::new(SystemClock::new(0)),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// What the back-end network is told.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            holders: self.acknowledge.level.peers(),
            ..self.agent.terms()
        }
    }

    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer else { return false };
        let peer = peer.to_canonical();
        self.trusted.iter().any(|net| net.contains(&peer))
    }
}

/// Loopback and the private networks of RFC 1918, RFC 4193 and RFC 3927: the default of
/// [`NodeOptions::trusted`].
#[must_use]
pub fn private_networks() -> Vec<IpNet> {
    [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ]
    .iter()
    .filter_map(|net| net.parse().ok())
    .collect()
}
