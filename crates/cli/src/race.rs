//! The response race in this process: the master, replicas, or both (C1-C7).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use selvedge_dns::Authority;
use selvedge_identity::ServerName;
use selvedge_race::{
    Answers, ByKind, Delay, Event, HostClock, Master, MasterOptions, Outlets, Pacer, Replica,
    ReplicaAddress, ReplicaCounts, ReplicaOptions, RunningMaster, RunningReplica, Serving, Source,
    Stamp, Timing, wire::Silence,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::{Admin, Metrics};
use crate::args::{RaceReplica, duration};
use crate::base::{Base, port};
use crate::dns::{self, Naming};
use crate::ports::Ports;
use crate::signal;

/// The race as it is configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RaceSection {
    /// Where the master hears replicas, and clients that race.
    pub(crate) listen: SocketAddr,
    /// Upon which event replicas answer: `time` or `signal`.
    event: EventName,
    /// Which moment the delay counts from: `receipt` or `leaving`.
    stamp: StampName,
    /// How long after it: `longest+10ms`, `at-most 40ms`, `60ms`.
    delay: String,
    /// How often stamps are exchanged with each replica.
    probe_ms: u64,
    /// Requests that wait.
    queue_max: usize,
    /// A replica whose clock is known less well is left out.
    noise_us_max: u64,
    /// Races in a row without a word that leave a replica out, and for how long.
    misses_max: u32,
    left_out_ms: u64,
    /// Races that are remembered.
    races_kept: usize,
    /// Races that one client's address may start a second.
    asks_per_second: u32,
    /// What keeps this machine's wall clock: `unknown`, `chrony`, or `within 50us`.
    clock: String,
    /// Who races.
    #[serde(rename = "site")]
    sites: Vec<RaceSite>,
    replica: ReplicaSection,
}

/// A replica as its master knows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RaceSite {
    name: ServerName,
    /// Where it hears the master.
    address: SocketAddr,
    /// So much later it answers than the others.
    #[serde(default)]
    handicap_us: u64,
}

/// What `selvedge race-replica` is told beside its arguments.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReplicaSection {
    /// Where it hears its master.
    listen: SocketAddr,
    /// The addresses that clients ask, which its answers come from.
    services: Vec<SocketAddr>,
    /// Later than this after the instant it is silent.
    tolerance_us: u64,
    /// Answers that wait for their instants.
    pending_max: usize,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EventName {
    #[default]
    Time,
    Signal,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StampName {
    #[default]
    Receipt,
    Leaving,
}

impl Default for RaceSection {
    fn default() -> Self {
        let options = MasterOptions::new(SocketAddr::from(([127, 0, 0, 1], 7700)), Vec::new());
        Self {
            listen: options.listen,
            event: EventName::default(),
            stamp: StampName::default(),
            delay: "longest+10ms".to_owned(),
            probe_ms: options.probe_every.as_millis() as u64,
            queue_max: options.queue_max,
            noise_us_max: options.noise_max as u64 / 1_000,
            misses_max: options.misses_max,
            left_out_ms: options.left_out.as_millis() as u64,
            races_kept: options.races_kept,
            asks_per_second: options.asks_per_second,
            clock: "unknown".to_owned(),
            sites: Vec::new(),
            replica: ReplicaSection::default(),
        }
    }
}

impl Default for ReplicaSection {
    fn default() -> Self {
        let options = ReplicaOptions::new("", SocketAddr::from(([127, 0, 0, 1], 7701)));
        Self {
            listen: options.listen,
            services: Vec::new(),
            tolerance_us: options.tolerance as u64 / 1_000,
            pending_max: options.pending_max,
        }
    }
}

impl RaceSection {
    pub(crate) fn check(&self) -> Result<()> {
        delay(&self.delay)?;
        clock(&self.clock)?;
        Ok(())
    }

    fn master(&self) -> Result<MasterOptions> {
        let address = |site: &RaceSite| ReplicaAddress {
            site: site.name.to_string(),
            address: site.address,
        };
        let mut options = MasterOptions::new(self.listen, self.sites.iter().map(address).collect());
        options.event = match self.event {
            EventName::Time => Event::Time,
            EventName::Signal => Event::Signal,
        };
        options.timing = Timing {
            stamp: match self.stamp {
                StampName::Receipt => Stamp::Receipt,
                StampName::Leaving => Stamp::Leaving,
            },
            delay: delay(&self.delay)?,
        };
        let handicaps = self.sites.iter().filter(|site| site.handicap_us > 0);
        options.handicaps = handicaps
            .map(|site| (site.name.to_string(), microseconds(site.handicap_us)))
            .collect::<BTreeMap<_, _>>();
        options.probe_every = Duration::from_millis(self.probe_ms.max(10));
        options.queue_max = self.queue_max;
        options.noise_max = microseconds(self.noise_us_max);
        options.misses_max = self.misses_max.max(1);
        options.left_out = Duration::from_millis(self.left_out_ms);
        options.races_kept = self.races_kept;
        options.asks_per_second = self.asks_per_second;
        options.external = clock(&self.clock)?;
        Ok(options)
    }

    fn replica(&self, site: &str) -> Result<ReplicaOptions> {
        let replica = &self.replica;
        let services = replica.services.clone();
        Ok(ReplicaOptions {
            services: (!services.is_empty()).then_some(services),
            tolerance: microseconds(replica.tolerance_us),
            pending_max: replica.pending_max,
            external: clock(&self.clock)?,
            ..ReplicaOptions::new(site, replica.listen)
        })
    }
}

fn microseconds(value: u64) -> i64 {
    i64::try_from(value).map_or(i64::MAX, |value| value.saturating_mul(1_000))
}

fn delay(text: &str) -> Result<Delay> {
    let wrong = || {
        anyhow!(
            "race.delay = {text:?}: expected \"longest+10ms\", \"at-most 40ms\" or a time as in \"60ms\""
        )
    };
    let nanos = |text: &str| -> Result<i64> {
        let time = duration(text.trim()).map_err(|_| wrong())?;
        i64::try_from(time.as_nanos()).map_err(|_| wrong())
    };
    if text == "longest" {
        Ok(Delay::Longest(0))
    } else if let Some(margin) = text.strip_prefix("longest+") {
        nanos(margin).map(Delay::Longest)
    } else if let Some(most) = text.strip_prefix("at-most ") {
        nanos(most).map(Delay::AtMost)
    } else {
        nanos(text).map(Delay::Constant)
    }
}

fn clock(text: &str) -> Result<Source> {
    let wrong = || {
        anyhow!(
            "race.clock = {text:?}: expected \"unknown\", \"chrony\", or as in \"within 50us\" for PTP"
        )
    };
    match text {
        "unknown" => Ok(Source::None),
        "chrony" => Ok(Source::Chrony),
        _ => {
            let bound = text.strip_prefix("within ").ok_or_else(wrong)?;
            let bound = duration(bound.trim()).map_err(|_| wrong())?;
            Ok(Source::Within(
                i64::try_from(bound.as_nanos()).map_err(|_| wrong())?,
            ))
        }
    }
}

/// A test's clock: an offset and a drift in parts in a million, as in `+3s,30ppm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TestClock {
    offset_ns: i64,
    drift: f64,
}

impl std::str::FromStr for TestClock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (offset, drift) = text.split_once(',').unwrap_or((text, "0ppm"));
        let (sign, size) = match offset.strip_prefix('-') {
            Some(size) => (-1, size),
            None => (1, offset.strip_prefix('+').unwrap_or(offset)),
        };
        let size =
            i64::try_from(duration(size)?.as_nanos()).map_err(|_| "that is too long a time")?;
        let drift: f64 = drift
            .strip_suffix("ppm")
            .and_then(|drift| drift.parse().ok())
            .filter(|drift: &f64| drift.abs() <= 500.0)
            .ok_or("expected a drift of at most 500 parts in a million, as in -30ppm")?;
        Ok(Self {
            offset_ns: sign * size,
            drift: drift * 1e-6,
        })
    }
}

/// The master, with the replicas that run in the same process.
pub(crate) struct Racing {
    master: RunningMaster,
    replicas: Vec<RunningReplica>,
    authority: Option<Arc<Authority>>,
}

/// Who runs beside the master.
pub(crate) struct Beside<'a> {
    /// Where clients reach the gateway.
    pub(crate) gateway: SocketAddr,
    /// Servers that get a replica here: their names and where they serve.
    pub(crate) servers: &'a [(ServerName, String)],
    pub(crate) ephemeral: bool,
    /// The name server, whose raced names race here.
    pub(crate) naming: Option<&'a Naming>,
}

impl Racing {
    /// Starts the master, if anybody could race, and a replica beside each server of this process
    /// that the configuration does not name as a site of its own.
    pub(crate) fn start(base: &Base, beside: Beside<'_>) -> Result<Option<Self>> {
        let section = &base.config.race;
        let mut options = section.master()?;
        if options.replicas.is_empty() && beside.servers.is_empty() {
            return Ok(None);
        }
        options.listen = port(options.listen, beside.ephemeral);
        let outlets = Arc::new(Outlets::default());
        let named = beside.naming;
        for (address, socket) in named.map(Naming::sockets).unwrap_or_default() {
            outlets.share(address, socket);
        }
        let dns = named.map(|naming| Arc::clone(naming.authority()) as Arc<dyn Answers>);
        let keys = Arc::new(base.keys.clone());
        let mut replicas = Vec::new();
        if options.replicas.is_empty() {
            let pacer = Arc::new(Pacer::start().context("race")?);
            for (name, url) in beside.servers {
                let serving = Serving::new(url, content(url));
                let replica = Replica {
                    keys: Arc::clone(&keys),
                    answers: answers(serving, dns.clone()),
                    outlets: Arc::clone(&outlets),
                    pacer: Arc::clone(&pacer),
                };
                let mut given = section.replica(name.as_str())?;
                given.listen = SocketAddr::from(([127, 0, 0, 1], 0));
                given.services = None;
                // Shared cores wake late, and here all stand on the same ones.
                given.tolerance = given.tolerance.max(5_000_000);
                if let Some(skew) = base.skews.iter().find(|skew| skew.server == *name) {
                    given.clock = HostClock::skewed(skew.skew_ns, 0.0);
                }
                let running = replica.start(given)?;
                options.replicas.push(ReplicaAddress {
                    site: name.to_string(),
                    address: running.address(),
                });
                replicas.push(running);
            }
        }
        let mut gateway = beside.gateway;
        if gateway.ip().is_unspecified() {
            gateway.set_ip(options.listen.ip());
        }
        let url = format!("http://{gateway}");
        let master = Master {
            keys,
            answers: answers(Serving::new(&url, Some(gateway)), dns),
            outlets,
        };
        let master = master.start(options)?;
        let authority = named.map(|naming| Arc::clone(naming.authority()));
        if let Some(authority) = &authority {
            authority.set_races(Some(Arc::new(master.clone())));
        }
        Ok(Some(Self {
            master,
            replicas,
            authority,
        }))
    }

    pub(crate) fn master(&self) -> &RunningMaster {
        &self.master
    }

    /// Shows where it listens, what it counts, and the races.
    pub(crate) fn show(&self, ports: &mut Ports, metrics: &mut Metrics) {
        ports.add("race", self.master.address());
        let master = self.master.clone();
        metrics.more(move || master.status(0).to_prometheus());
        metrics.routes(routes(self.master.clone(), self.authority.clone()));
    }

    /// Ends the threads, which may take a fifth of a second.
    pub(crate) async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || drop((self.replicas, self.master))).await;
    }
}

fn answers(serving: Serving, dns: Option<Arc<dyn Answers>>) -> Arc<dyn Answers> {
    Arc::new(ByKind {
        dns,
        client: Some(Arc::new(serving)),
    })
}

/// Where a server's content is fetched for a race.
fn content(url: &str) -> Option<SocketAddr> {
    let authority = url.strip_prefix("http://")?.split('/').next()?;
    authority.to_socket_addrs().ok()?.next()
}

/// Races that are listed unless told otherwise, and at most.
const LISTED: usize = 100;
const LISTED_MAX: usize = 1024;

fn routes(master: RunningMaster, authority: Option<Arc<Authority>>) -> Router {
    let list = move |RawQuery(query): RawQuery| async move {
        let limit = match limit(query.as_deref().unwrap_or_default()) {
            Ok(limit) => limit,
            Err(message) => {
                let error = json!({ "error": { "code": "bad_request", "message": message } });
                return (StatusCode::BAD_REQUEST, Json(error));
            }
        };
        let status = master.status(limit);
        let list = json!({
            "races": status.races,
            "replicas": status.replicas,
            "epoch": status.epoch,
            "delay": status.delay,
            "warning": status.warning,
            "counts": status.counts,
            "winners": authority.as_deref().map(dns::table),
            "next": null,
        });
        (StatusCode::OK, Json(list))
    };
    Router::new().route("/api/v1/races", get(list))
}

/// How many races a query asks for.
fn limit(query: &str) -> Result<usize, String> {
    let mut limit = LISTED;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let value = part
            .strip_prefix("limit=")
            .ok_or_else(|| format!("unknown parameter {part:?}; there is limit"))?;
        let number = value.parse().ok().filter(|n| (1..=LISTED_MAX).contains(n));
        limit = number.ok_or_else(|| format!("limit={value}: a number from 1 to {LISTED_MAX}"))?;
    }
    Ok(limit)
}

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
    let mut signals = signal::Signals::listen();
    ports.write(args.ports_file.as_deref())?;
    crate::print::text(&format!(
        "race-replica {} serves on {}/udp\n",
        args.name,
        replica.0.address()
    ))?;
    signals.stop_asked().await;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    replica.stop().await;
    Ok(())
}

/// A replica without its master in this process.
pub(crate) struct LoneReplica(Arc<RunningReplica>);

impl LoneReplica {
    /// Where clients reach the site over HTTP is `url`.
    fn start(base: &Base, options: ReplicaOptions, url: &str) -> Result<Self> {
        let serving = Serving::new(url, content(url));
        let dns = dns::authority(base, 0)?.map(|authority| authority as Arc<dyn Answers>);
        let replica = Replica {
            keys: Arc::new(base.keys.clone()),
            answers: answers(serving, dns),
            outlets: Arc::default(),
            pacer: Arc::new(Pacer::start().context("race")?),
        };
        Ok(Self(Arc::new(replica.start(options)?)))
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
        ports.add("race", self.0.address());
        let counted = Arc::clone(&self.0);
        metrics.more(move || replica_metrics(&counted.counts()));
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

/// `selvedge receiver race`: the races' results as they come.
pub(crate) async fn race(args: crate::args::RaceArgs) -> Result<()> {
    let options = selvedge_receiver::RaceOptions {
        gateway: args.gateway,
        master: args.master,
        path: args.path,
        content: args.content,
        rest: args.rest,
        time_limit: args.time_limit,
    };
    let racer = selvedge_receiver::Racer::new(options)?;
    let mut results = Vec::new();
    for _ in 0..args.rounds {
        let verdict = verdict(args.name.clone(), args.resolver).await;
        results.push(racer.race(verdict).await?);
    }
    let summary = Summary::of(&results);
    if args.json {
        crate::print::json(&json!({ "races": results, "summary": summary }))?;
    } else {
        crate::print::text(&crate::print::races::render(&results, &summary))?;
    }
    Ok(())
}

/// How long DNS may take.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// What DNS says of a name, if one was given.
async fn verdict(
    name: Option<String>,
    resolver: Option<SocketAddr>,
) -> Option<Result<Vec<IpAddr>, String>> {
    let name = name?;
    let asked = tokio::task::spawn_blocking(move || match resolver {
        Some(resolver) => {
            selvedge_dns::lookup(resolver, &name, LOOKUP_MAX).map_err(|error| error.to_string())
        }
        None => (name.as_str(), 0)
            .to_socket_addrs()
            .map(|all| all.map(|address| address.ip()).collect())
            .map_err(|error| error.to_string()),
    });
    Some(asked.await.unwrap_or_else(|error| Err(error.to_string())))
}

/// What several races say together.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) races: usize,
    /// Wins by site.
    pub(crate) wins: BTreeMap<String, usize>,
    /// Races with a verdict of DNS, and those in which it named the winner.
    pub(crate) dns_compared: usize,
    pub(crate) dns_right: usize,
}

impl Summary {
    fn of(results: &[selvedge_receiver::RaceResult]) -> Self {
        let mut wins = BTreeMap::new();
        for result in results {
            *wins.entry(result.winner.clone()).or_default() += 1;
        }
        let compared = results
            .iter()
            .filter_map(|result| result.dns.as_ref()?.right);
        Self {
            races: results.len(),
            wins,
            dns_compared: compared.clone().count(),
            dns_right: compared.filter(|right| *right).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_clocks_are_read_or_refused_with_what_would_be_right() {
        assert_eq!(delay("longest").expect("right"), Delay::Longest(0));
        assert_eq!(
            delay("longest+10ms").expect("right"),
            Delay::Longest(10_000_000)
        );
        assert_eq!(
            delay("at-most 40ms").expect("right"),
            Delay::AtMost(40_000_000)
        );
        assert_eq!(delay("60ms").expect("right"), Delay::Constant(60_000_000));
        for wrong in ["", "soon", "longest-1ms", "at-most", "-5ms"] {
            let error = delay(wrong).expect_err("refused").to_string();
            assert!(
                error.starts_with("race.delay") && error.contains("at-most 40ms"),
                "{error}"
            );
        }
        assert_eq!(clock("within 50us").expect("right"), Source::Within(50_000));
        assert_eq!(clock("chrony").expect("right"), Source::Chrony);
        assert!(
            clock("ptp")
                .expect_err("refused")
                .to_string()
                .contains("within 50us")
        );
    }

    #[test]
    fn the_list_of_races_has_a_limit_and_no_other_parameter() {
        assert_eq!(limit(""), Ok(LISTED));
        assert_eq!(limit("limit=7"), Ok(7));
        for wrong in ["limit=0", "limit=x", "limit=9999", "limt=2", "limit=2&x=1"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tests_clock_is_an_offset_and_a_drift() {
        let clock: TestClock = "-3s,30ppm".parse().expect("right");
        assert_eq!(
            (clock.offset_ns, (clock.drift * 1e6).round()),
            (-3_000_000_000, 30.0)
        );
        assert_eq!(
            "+10s".parse::<TestClock>().expect("right").offset_ns,
            10_000_000_000
        );
        assert!("3s,1000ppm".parse::<TestClock>().is_err());
        assert!("fast".parse::<TestClock>().is_err());
    }
}
