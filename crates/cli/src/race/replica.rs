//! A replica without its master in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use selvedge_dns::Authority;
use selvedge_identity::ServerName;
use selvedge_race::{
    Answers, HostClock, Replica, ReplicaCounts, ReplicaOptions, RunningReplica, Serving,
    wire::Silence,
};

use super::master::{answers, content};
use crate::admin::{Admin, Metrics};
use crate::args::RaceReplica;
use crate::base::Base;
use crate::ports::Ports;
use crate::{dns, signal};

/// `selvedge race-replica`.
pub(crate) async fn replica(args: RaceReplica) -> Result<()> {
    let base = Base::new(
        args.data.as_deref(),
        args.keys.as_deref(),
        args.config.as_deref(),
    )?;
    let mut options = base.config.race.replica(args.name.as_str())?;
    options.listen = args.listen.unwrap_or(options.listen);
    if !args.service.is_empty() {
        options.services = Some(args.service.clone());
    }
    anyhow::ensure!(
        options.services.is_some(),
        "which addresses do clients ask? --service ADDRESS, or race.replica.services"
    );
    if let Some(test) = args.test_clock {
        options.clock = HostClock::skewed(test.offset_ns, test.drift);
    }
    let replica = LoneReplica::start(&base, options, &args.url)?;
    let (mut ports, mut metrics) = (Ports::default(), Metrics::default());
    replica.show(&mut ports, &mut metrics);
    let admin = match args.admin_listen {
        Some(listen) => Some(Admin::start(listen, metrics.router()).await?),
        None => None,
    };
    if let Some(admin) = &admin {
        ports.add("admin", admin.address);
    }
    let mut signals = signal::Rereading::listen();
    ports.write(args.ports_file.as_deref())?;
    crate::print::text(&format!(
        "race-replica {} serves on {}/udp\n",
        args.name,
        replica.replica.address()
    ))?;
    let file = args.config.as_deref();
    signals.until_stopped(|| replica.reread(file)).await;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    replica.stop().await;
    Ok(())
}

/// A replica without its master in this process.
pub(crate) struct LoneReplica {
    replica: Arc<RunningReplica>,
    /// What it answers DNS from, where it has zones.
    authority: Option<Arc<Authority>>,
}

impl LoneReplica {
    /// Where clients reach the site over HTTP is `url`.
    fn start(base: &Base, options: ReplicaOptions, url: &str) -> Result<Self> {
        let serving = Serving::new(url, content(url));
        let authority = dns::authority(base, 0)?;
        let dns = authority
            .clone()
            .map(|authority| authority as Arc<dyn Answers>);
        let replica = Replica {
            keys: Arc::new(base.keys.clone()),
            answers: answers(serving, dns),
            outlets: Arc::default(),
            pacer: base.config.race.pacer()?,
        };
        let replica = Arc::new(replica.start(options)?);
        Ok(Self { replica, authority })
    }

    /// The replica of a sidecar's server, whose requests come by `inbound`; none, if the
    /// configuration has no addresses that it could answer from.
    pub(crate) fn beside_sidecar(
        base: &Base,
        server: &ServerName,
        mut inbound: SocketAddr,
    ) -> Result<Option<Self>> {
        let section = &base.config.race;
        if section.replica.services.is_empty() {
            return Ok(None);
        }
        let options = section.replica(server.as_str())?;
        if inbound.ip().is_unspecified() {
            inbound.set_ip(options.listen.ip());
        }
        Self::start(base, options, &format!("http://{inbound}")).map(Some)
    }

    /// Shows where it hears its master, and what it counts.
    pub(crate) fn show(&self, ports: &mut Ports, metrics: &mut Metrics) {
        ports.add("race", self.replica.address());
        let counted = Arc::clone(&self.replica);
        metrics.more(move || replica_metrics(&counted.counts()));
    }

    /// Reads its zones again: SIGHUP.
    pub(crate) fn reread(&self, file: Option<&Path>) {
        if let Some(authority) = &self.authority {
            dns::reread(authority, file);
        }
    }

    /// Ends its threads, which takes a moment.
    pub(crate) async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

fn replica_metrics(counts: &ReplicaCounts) -> String {
    let rows = [
        ("echoes", counts.echoes),
        ("forwards", counts.forwards),
        ("sent", counts.sent),
        ("refused_foreign", counts.foreign),
        ("refused_forged", counts.forged),
        ("refused_epoch", counts.epoch),
        ("refused_replayed", counts.replayed),
    ];
    let row = |name: &str, value: u64| {
        format!(
            "# TYPE selvedge_race_replica_{name} counter\nselvedge_race_replica_{name}_total {value}\n"
        )
    };
    let mut out: String = rows.iter().map(|(name, value)| row(name, *value)).collect();
    for (silence, value) in Silence::all().iter().zip(counts.silent) {
        out += &row(&format!("silent_{}", silence.name()), value);
    }
    out
}
