//! The master's state as others see it.

use selvedge_clock::{Local, Nanos};

use super::options::MasterOptions;
use super::record::Record;
use super::roster::{Entry, LeftOut};
use super::state::State;
use super::status::{RaceStatus, ReplicaStatus, SentStatus, Status};
use crate::contest::{Evidence, Kind};
use crate::identifier::TransmitIdentifier;

impl State {
    pub(super) fn status(
        &self,
        options: &MasterOptions,
        epoch: u64,
        now: Local,
        races_max: usize,
    ) -> Status {
        let racing = self.racing(now, options.noise_max);
        let longest = racing
            .iter()
            .filter_map(|at| self.roster[*at].longest())
            .max();
        let chosen = options.timing.delay(longest.unwrap_or(0));
        Status {
            epoch: format!("{epoch:016x}"),
            replicas: self
                .roster
                .iter()
                .map(|entry| replica(entry, now, options.noise_max))
                .collect(),
            delay: chosen.delay,
            warning: chosen
                .warning
                .filter(|_| longest.is_some())
                .map(|short| short.to_string()),
            races: self
                .records
                .iter()
                .take(races_max)
                .map(|record| self.race(record))
                .collect(),
            counts: self.counts,
        }
    }

    fn race(&self, record: &Record) -> RaceStatus {
        let sites = record.entered.iter().map(|(at, report)| {
            let site = &self.roster[*at].site;
            let sent = report.and_then(Result::ok);
            let gap = record
                .measured
                .iter()
                .find(|one| one.site == *site)
                .map(|one| one.gap);
            SentStatus {
                site: site.clone(),
                sent: sent.map(|sent| sent.at.0),
                late: sent.map(|sent| sent.at - sent.due),
                silent: match report {
                    None => Some("nothing heard"),
                    Some(Err(silence)) => Some(silence.name()),
                    Some(Ok(_)) => None,
                },
                gap,
            }
        });
        RaceStatus {
            race: record.race.to_string(),
            kind: match record.call.kind {
                Kind::Dns => "dns",
                Kind::Client => "client",
            },
            client: record.call.client.to_string(),
            service: record.call.service.to_string(),
            event: match record.identifier {
                TransmitIdentifier::At(_) => "time",
                TransmitIdentifier::Signal(_) => "signal",
            },
            instant: record.instant.0,
            delay: record.delay,
            sites: sites.collect(),
            by_master: record.by_master,
            winner: record.winner.as_ref().map(|(site, _)| site.clone()),
            evidence: record.winner.as_ref().map(|(_, evidence)| match evidence {
                Evidence::Dns => "dns",
                Evidence::Client => "client",
            }),
            dns: record.dns.clone(),
        }
    }
}

fn replica(entry: &Entry, now: Local, noise_max: Nanos) -> ReplicaStatus {
    let left_out = entry.left_out(now, noise_max);
    let estimate = entry.estimate();
    let counts = entry.counts;
    ReplicaStatus {
        site: entry.site.clone(),
        address: entry.address.to_string(),
        racing: left_out.is_none(),
        left_out: left_out.map(LeftOut::text),
        clock: entry.source(),
        offset: estimate.map(|estimate| estimate.offset),
        drift_ppb: estimate.map(|estimate| parts_per_billion(estimate.rate)),
        noise: estimate.map(|estimate| estimate.noise),
        bound: estimate.map(|estimate| estimate.bound),
        round_trip: entry.round_trip(),
        longest_one_way: entry.longest(),
        exchanges: entry.exchanges(),
        handicap: entry.handicap,
        probes: counts.probes,
        echoes: counts.echoes,
        exchanges_refused: counts.exchanges_refused,
        jumps: counts.jumps,
        restarts: counts.restarts,
        sent: counts.sent,
        silent: counts.silent,
        missed: counts.missed,
        left_out_times: counts.left_out,
        wins: counts.wins,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a rate is below 0.001")]
fn parts_per_billion(rate: f64) -> i64 {
    (rate * 1e9).round() as i64
}
