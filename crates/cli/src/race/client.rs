//! Our client's race, and what DNS says beside it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

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
