//! What a master knows: its replicas, its races, what it counted.

use std::net::SocketAddr;

use selvedge_clock::{Common, Local, Nanos};

use super::asks::Asks;
use super::record::Records;
use super::roster::Entry;
use super::status::Counts;
use crate::contest::{Evidence, Kind, Refused};
use crate::identifier::Short;
use crate::replica::HANDICAP_MAX;
use crate::wire::{Outcome, Report};

pub(super) struct State {
    pub(super) frames: u64,
    pub(super) races: u64,
    pub(super) roster: Vec<Entry>,
    pub(super) records: Records,
    pub(super) asks: Asks,
    pub(super) counts: Counts,
    pub(super) signals: Vec<(Common, u64)>,
    /// Whether the last delay was too short: said once.
    pub(super) short: bool,
}

impl State {
    /// The places of those who race now.
    pub(super) fn racing(&self, now: Local, noise_max: Nanos) -> Vec<usize> {
        let racing = |at: &usize| self.roster[*at].left_out(now, noise_max).is_none();
        (0..self.roster.len()).filter(racing).collect()
    }

    pub(super) fn noise(&self, site: &str) -> Nanos {
        let known = |entry: &Entry| entry.estimate().map(|estimate| estimate.noise);
        let one = self
            .roster
            .iter()
            .find(|entry| entry.site == site)
            .and_then(known);
        let any = || self.roster.iter().filter_map(known).max();
        one.or_else(any).unwrap_or(HANDICAP_MAX)
    }

    pub(super) fn short(&mut self, warning: Option<Short>) {
        if let Some(short) = warning {
            self.counts.short_delays += 1;
            if !self.short {
                tracing::warn!("{short}");
            }
        }
        self.short = warning.is_some();
    }

    pub(super) fn won(&mut self, sequence: u64, site: &str, evidence: Evidence) {
        let Some(record) = self.records.get_mut(sequence) else {
            return;
        };
        if record.winner.is_some() {
            return;
        }
        let entered = record
            .entered
            .iter()
            .map(|(at, _)| *at)
            .find(|at| self.roster[*at].site == site);
        if let Some(at) = entered {
            record.winner = Some((site.to_owned(), evidence));
            self.roster[at].counts.wins += 1;
        }
    }

    /// Whether the report is of a race that this replica is in, and its first.
    pub(super) fn reported(&mut self, place: usize, report: &Report) -> bool {
        let Some(record) = self.records.get_mut(report.race) else {
            return false;
        };
        let Some((_, held)) = record.entered.iter_mut().find(|(at, _)| *at == place) else {
            return false;
        };
        if held.is_some() {
            return false;
        }
        *held = Some(report.outcome);
        self.roster[place].reported(report.outcome.is_ok());
        true
    }

    /// Whether the outcome is of a race of this client's, and its first.
    pub(super) fn outcome(&mut self, outcome: &Outcome, from: SocketAddr) -> bool {
        let Some(record) = self.records.get_mut(outcome.race.sequence) else {
            return false;
        };
        let first = record.measured.is_empty();
        if !first || record.call.kind != Kind::Client || record.call.client != from {
            return false;
        }
        let Some(winner) = outcome.measured.first().map(|first| first.site.clone()) else {
            return false;
        };
        record.measured.clone_from(&outcome.measured);
        record.dns.clone_from(&outcome.dns);
        self.counts.outcomes += 1;
        if let Some(dns) = &outcome.dns {
            self.counts.dns_compared += 1;
            self.counts.dns_right += u64::from(*dns == winner);
        }
        self.won(outcome.race.sequence, &winner, Evidence::Client);
        true
    }
}

impl Counts {
    pub(super) fn refused(&mut self, refused: Refused) {
        *match refused {
            Refused::TooFew => &mut self.refused_too_few,
            Refused::Busy => &mut self.refused_busy,
            Refused::Client => &mut self.refused_client,
            Refused::TooLong | Refused::Family => &mut self.refused_request,
        } += 1;
    }
}
