//! The master, and what its admin port tells of races.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use anyhow::Result;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use selvedge_dns::Authority;
use selvedge_identity::ServerName;
use selvedge_race::{
    Answers, ByKind, HostClock, Master, Outlets, Replica, ReplicaAddress, RunningMaster,
    RunningReplica, Serving,
};
use serde_json::json;

use crate::admin::Metrics;
use crate::base::{Base, port};
use crate::dns::{self, Naming};
use crate::ports::Ports;

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
            let pacer = section.pacer()?;
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

pub(super) fn answers(serving: Serving, dns: Option<Arc<dyn Answers>>) -> Arc<dyn Answers> {
    Arc::new(ByKind {
        dns,
        client: Some(Arc::new(serving)),
    })
}

/// Where a server's content is fetched for a race.
pub(super) fn content(url: &str) -> Option<SocketAddr> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_races_has_a_limit_and_no_other_parameter() {
        assert_eq!(limit(""), Ok(LISTED));
        assert_eq!(limit("limit=7"), Ok(7));
        for wrong in ["limit=0", "limit=x", "limit=9999", "limt=2", "limit=2&x=1"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
