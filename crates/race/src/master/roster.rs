//! What the master knows of each replica: its clock, whether it lives, whether it races.

use std::collections::VecDeque;
use std::net::SocketAddr;

use selvedge_clock::{
    Added, Choice, Common, Estimate, Estimator, EstimatorOptions, Exchange, External, Local, Nanos,
    choose,
};

use crate::wire::Echo;

/// Without an echo for so long a replica is down: two seconds.
const SILENT_MAX: Nanos = 2_000_000_000;

/// Probes whose echo is awaited.
const AWAITED_MAX: usize = 64;

/// Until so many exchanges are known, probes go out fast.
pub(crate) const EXCHANGES_SETTLED: usize = 16;

/// Why a replica does not race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// It has not answered a probe, ever or for a while.
    Silent,
    /// Its clock is not known well enough yet.
    Clock,
    /// It said nothing of several races in a row.
    Missed,
}

impl LeftOut {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Silent => "answers no probes",
            Self::Clock => "its clock is not known well enough yet",
            Self::Missed => "said nothing of the last races",
        }
    }
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) site: String,
    pub(crate) address: SocketAddr,
    pub(crate) handicap: Nanos,
    pub(crate) nonce: u64,
    run: Option<u64>,
    estimator: Estimator,
    choice: Option<Choice>,
    longest: Option<Nanos>,
    awaited: VecDeque<(u64, Common)>,
    pub(crate) probed: Option<Local>,
    heard: Option<Local>,
    /// Whether it says that it can tell the common clock.
    clocked: bool,
    misses: u32,
    out_until: Option<Local>,
    pub(crate) counts: EntryCounts,
}

/// What is counted of one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryCounts {
    pub(crate) probes: u64,
    pub(crate) echoes: u64,
    pub(crate) exchanges_refused: u64,
    pub(crate) jumps: u64,
    pub(crate) restarts: u64,
    pub(crate) contradictions: u64,
    pub(crate) sent: u64,
    pub(crate) silent: u64,
    pub(crate) missed: u64,
    pub(crate) left_out: u64,
    pub(crate) forged: u64,
    pub(crate) wins: u64,
}

impl Entry {
    pub(crate) fn new(site: &str, address: SocketAddr, handicap: Nanos) -> Self {
        Self {
            site: site.to_owned(),
            address,
            handicap,
            nonce: 0,
            run: None,
            estimator: Estimator::new(EstimatorOptions::default()),
            choice: None,
            longest: None,
            awaited: VecDeque::new(),
            probed: None,
            heard: None,
            clocked: false,
            misses: 0,
            out_until: None,
            counts: EntryCounts::default(),
        }
    }

    /// A probe leaves.
    pub(crate) fn probing(&mut self, sequence: u64, sent: Common, now: Local) {
        self.probed = Some(now);
        self.counts.probes += 1;
        self.awaited.push_back((sequence, sent));
        if self.awaited.len() > AWAITED_MAX {
            self.awaited.pop_front();
        }
    }

    /// An echo came, proven. False if it answers no probe that is awaited: recorded, or very late.
    pub(crate) fn echoed(
        &mut self,
        sequence: u64,
        echo: &Echo,
        returned: Common,
        now: Local,
        master: Option<Nanos>,
    ) -> bool {
        let Some(at) = self
            .awaited
            .iter()
            .position(|awaited| awaited.0 == sequence)
        else {
            return false;
        };
        let Some((_, sent)) = self.awaited.remove(at) else {
            return false;
        };
        self.counts.echoes += 1;
        self.heard = Some(now);
        self.nonce = echo.nonce;
        self.clocked = echo.clocked;
        if self.run != Some(echo.run) {
            if self.run.is_some() {
                self.counts.restarts += 1;
                tracing::info!(
                    site = self.site,
                    "a replica runs anew, its clock is measured anew"
                );
            }
            self.run = Some(echo.run);
            self.estimator.forget();
            self.misses = 0;
            self.out_until = None;
        }
        let exchange = Exchange {
            sent,
            received: echo.received,
            answered: echo.answered,
            returned,
        };
        match self.estimator.add(exchange) {
            Added::Taken => {}
            Added::Jumped => {
                self.counts.jumps += 1;
                tracing::warn!(
                    site = self.site,
                    "a replica's clock jumped, it is measured anew and left out meanwhile"
                );
            }
            Added::Refused(error) => {
                self.counts.exchanges_refused += 1;
                tracing::debug!(site = self.site, %error, "an exchange is not taken");
            }
        }
        self.choose(echo.external, master);
        self.longest = self.estimator.longest_one_way();
        true
    }

    fn choose(&mut self, external: Option<External>, master: Option<Nanos>) {
        let before = matches!(self.choice, Some(Choice::Contradicted(..)));
        self.choice = choose(&self.estimator, external, master);
        if let Some(Choice::Contradicted(_, apart)) = self.choice {
            if !before {
                tracing::warn!(
                    site = self.site,
                    apart_ns = apart,
                    "a replica's disciplined clock contradicts the exchanges, they are taken"
                );
            }
            self.counts.contradictions += 1;
        }
    }

    pub(crate) fn estimate(&self) -> Option<Estimate> {
        self.choice.map(|choice| choice.estimate())
    }

    pub(crate) fn source(&self) -> &'static str {
        match self.choice {
            None => "unknown",
            Some(Choice::Exchange(_)) => "exchange",
            Some(Choice::External(_)) => "external",
            Some(Choice::Contradicted(..)) => "exchange, external contradicted",
        }
    }

    pub(crate) fn round_trip(&self) -> Option<Nanos> {
        self.estimator.round_trip_min()
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.estimator.exchanges()
    }

    /// The longest way there.
    pub(crate) fn longest(&self) -> Option<Nanos> {
        self.longest
    }

    /// Why it does not race now; none if it does.
    pub(crate) fn left_out(&self, now: Local, noise_max: Nanos) -> Option<LeftOut> {
        if self.heard.is_none_or(|heard| now - heard > SILENT_MAX) {
            Some(LeftOut::Silent)
        } else if self.out_until.is_some_and(|until| now < until) {
            Some(LeftOut::Missed)
        } else if !self.clocked
            || self
                .estimate()
                .is_none_or(|estimate| estimate.noise > noise_max)
        {
            Some(LeftOut::Clock)
        } else {
            None
        }
    }

    /// It said what became of a race.
    pub(crate) fn reported(&mut self, sent: bool) {
        self.misses = 0;
        self.out_until = None;
        *if sent {
            &mut self.counts.sent
        } else {
            &mut self.counts.silent
        } += 1;
    }

    /// It said nothing of a race.
    pub(crate) fn missed(&mut self, now: Local, misses_max: u32, left_out: Nanos) {
        self.counts.missed += 1;
        self.misses += 1;
        if self.misses >= misses_max {
            // One more miss after it is let in again is enough.
            self.misses = misses_max.saturating_sub(1);
            self.out_until = Some(now + left_out);
            self.counts.left_out += 1;
            tracing::warn!(
                site = self.site,
                "a replica said nothing of several races and is left out for a while"
            );
        }
    }
}
