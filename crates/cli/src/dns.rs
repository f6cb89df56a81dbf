//! The name server in this process, and what outlives it of its races.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use selvedge_dns::master;
use selvedge_dns::{
    Authority, AuthorityParts, DnsOptions, Name, NameOptions, Policy, RaceForm, Server,
    SiteOptions, Standing, Winner, WinnerKey, Zones,
};
use selvedge_gateway::GatewayMetrics;
use selvedge_identity::purpose;
use tokio::task::JoinHandle;

use crate::admin::Metrics;
use crate::base::{Base, port};
use crate::ports::Ports;
use crate::{config, signal};

/// The file with the winner table.
const FILE: &str = "winners.jsonl";

/// How often the table is written, where it changed.
const SAVED_EVERY: Duration = Duration::from_secs(5);

/// How old what is known of the gateway's upstreams may be.
const STANDINGS_EVERY: Duration = Duration::from_millis(100);

/// What `up` calls the zone of its example servers.
const EXAMPLE: &str = "shop.example.";

/// A name server that serves.
pub(crate) struct Naming {
    server: Server,
    file: PathBuf,
    saving: JoinHandle<()>,
    watching: JoinHandle<()>,
}

/// How the gateway's upstreams do, by name.
type Costs = Arc<RwLock<HashMap<String, Option<f64>>>>;

/// What this process answers from: its zones, secrets and memory. None without zones; `example` are
/// the example servers, which have one where the configuration has none.
pub(crate) fn authority(base: &Base, example: usize) -> Result<Option<Arc<Authority>>> {
    let mut options = base.config.dns.clone();
    let zones = if !options.zones.is_empty() {
        options.read_zones(&base.folder)?
    } else if example > 0 {
        example_zone(&mut options, example)?
    } else {
        return Ok(None);
    };
    let authority = Authority::new(AuthorityParts {
        options: options.authority()?,
        zones,
        secrets: options.secrets(half(base.key_of(purpose::DNS_COOKIE)))?,
        race_secret: half(base.key_of(purpose::DNS_RACE)),
        seed: seed()?,
    });
    Ok(Some(Arc::new(authority)))
}

/// Answers from what the configuration file and the zones' files say now: SIGHUP. If one of them is
/// wrong, nothing changes; where it listens stays in any case.
pub(crate) fn reread(authority: &Authority, file: Option<&Path>) {
    signal::reread("zones", || {
        let options = config::load(file)?.dns;
        anyhow::ensure!(!options.zones.is_empty(), "the configuration has none");
        let zones = options.read_zones(&config::folder(file))?;
        let count = zones.zones().count();
        authority.set_zones(zones);
        Ok(format!("name server has {count} zones"))
    });
}

impl Naming {
    /// Starts it, where it is told to listen.
    pub(crate) fn start(
        base: &Base,
        authority: Option<Arc<Authority>>,
        ephemeral: bool,
        gateway: GatewayMetrics,
    ) -> Result<Option<Self>> {
        let mut options = base.config.dns.server();
        for listen in &mut options.listen {
            *listen = port(*listen, ephemeral);
        }
        let Some(authority) = authority.filter(|_| !options.listen.is_empty()) else {
            return Ok(None);
        };
        let costs = Costs::default();
        let known = costs.clone();
        authority.set_standings(Box::new(move |site: &str| {
            let costs = known.read().unwrap_or_else(PoisonError::into_inner);
            match costs.get(site) {
                // A site that is no upstream of this gateway is nobody's to judge.
                None => Standing::Up(0.0),
                Some(Some(cost)) => Standing::Up(*cost),
                Some(None) => Standing::Down,
            }
        }));
        let file = base.data.join(FILE);
        load(&authority, &file);
        let server = Server::start(&options, authority.clone())?;
        Ok(Some(Self {
            server,
            saving: tokio::spawn(save_regularly(authority, file.clone())),
            watching: tokio::spawn(watch(gateway, costs)),
            file,
        }))
    }

    /// Shows where it listens and what it counts.
    pub(crate) fn show(&self, ports: &mut Ports, metrics: &mut Metrics) {
        if let Some(address) = self.address() {
            ports.add("dns", address);
        }
        let authority = self.server.authority().clone();
        metrics.more(move || authority.counts().to_prometheus());
    }

    /// What it answers from.
    pub(crate) fn authority(&self) -> &Arc<Authority> {
        self.server.authority()
    }

    /// Where it listens, and the sockets that raced answers leave from.
    pub(crate) fn sockets(&self) -> Vec<(SocketAddr, Arc<std::net::UdpSocket>)> {
        self.server.sockets().to_vec()
    }

    /// Where it listens first.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.server.sockets().first().map(|(address, _)| *address)
    }

    pub(crate) async fn stop(self) {
        self.saving.abort();
        self.watching.abort();
        let authority = self.server.authority().clone();
        authority.set_races(None);
        self.server.stop().await;
        save(&authority, &self.file);
    }
}

/// Rows of the winner table that are shown at most.
const SHOWN_MAX: usize = 1000;

/// The winner table and its last changes, as `/api/v1/races` shows them.
pub(crate) fn table(authority: &Authority) -> serde_json::Value {
    let now = now_s();
    authority.winners(|winners| {
        let row = |(key, winner): (&WinnerKey, &Winner)| {
            serde_json::json!({
                "network": key.network.to_string(),
                "name": Name::from_wire(&key.name).map(|name| name.to_string()),
                "kind": key.kind,
                "site": winner.site,
                "since_s": winner.since_s,
                "left_s": winner.until_s.saturating_sub(now),
                "wins": winner.wins,
            })
        };
        let rows: Vec<_> = winners.iter().take(SHOWN_MAX).map(row).collect();
        let changes: Vec<_> = winners.changes().collect();
        serde_json::json!({ "rows": winners.len(), "winners": rows, "changes": changes })
    })
}

/// A zone with a name that races over the example servers. They all listen on this machine, so the
/// addresses are its own, one for each.
fn example_zone(options: &mut DnsOptions, servers: usize) -> Result<Zones> {
    let mut text = String::from(
        "$TTL 30\n@ SOA ns admin 1 3600 600 86400 30\n@ NS ns\nns A 127.0.0.1\n\
         gateway A 127.0.0.1\n@ TXT \"the example shop of selvedge up\"\n",
    );
    for number in 1..=servers.min(250) {
        let address = std::net::Ipv4Addr::new(127, 0, 1, number as u8);
        for name in ["www", "turns", "chance", "load"] {
            writeln!(text, "{name} A {address}")?;
        }
        writeln!(text, "content-{number} A {address}")?;
        options.sites.push(SiteOptions {
            name: format!("content-{number}"),
            addresses: vec![address.into()],
        });
    }
    for (name, policy) in [
        ("www", Policy::Race),
        ("turns", Policy::RoundRobin),
        ("chance", Policy::Random),
        ("load", Policy::Load),
    ] {
        options.names.push(NameOptions {
            name: format!("{name}.{EXAMPLE}"),
            policy,
            answers: 1,
            form: RaceForm::Alias,
        });
    }
    let origin = Name::parse(EXAMPLE.as_bytes(), None)?;
    let mut none = |file: &str| Err(format!("there is no {file}"));
    let zones = master::read("the example zone", &text, &origin, &mut none).and_then(|master| {
        Zones::new(&[(origin, master)], &options.steering().unwrap_or_default())
    });
    zones.map_err(|faults| anyhow!("the example zone: {faults:?}"))
}

fn half(key: [u8; 32]) -> [u8; 16] {
    let [half, _] = key.as_chunks::<16>().0 else {
        unreachable!("32 bytes are two times 16");
    };
    *half
}

fn seed() -> Result<u64> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no random bytes: {error}"))?;
    Ok(u64::from_le_bytes(seed))
}

async fn watch(gateway: GatewayMetrics, costs: Costs) {
    let mut ticks = tokio::time::interval(STANDINGS_EVERY);
    loop {
        ticks.tick().await;
        let now = gateway.costs().into_iter().collect();
        *costs.write().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn load(authority: &Authority, file: &Path) {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "races begin without their winners");
            return;
        }
    };
    let left_out = authority.winners(|winners| winners.load(&text, now_s()));
    if left_out > 0 {
        tracing::warn!(file = %file.display(), rows = left_out, "winners were left out");
    }
}

async fn save_regularly(authority: Arc<Authority>, file: PathBuf) {
    let mut saved = 0;
    let mut ticks = tokio::time::interval(SAVED_EVERY);
    loop {
        ticks.tick().await;
        let changed = authority.winners(|winners| winners.changed());
        if changed != saved {
            saved = changed;
            save(&authority, &file);
        }
    }
}

/// Replaced as a whole; what a power cut takes, the next races find again.
fn save(authority: &Authority, file: &Path) {
    let write = || -> Result<()> {
        let text = authority.winners(|winners| winners.save());
        let fresh = file.with_extension("part");
        std::fs::write(&fresh, text).context("written")?;
        std::fs::rename(&fresh, file).context("renamed")
    };
    if let Err(error) = write() {
        tracing::warn!(file = %file.display(), %error, "cannot keep the winners");
    }
}
