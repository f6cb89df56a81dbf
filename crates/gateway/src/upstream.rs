//! The servers behind the gateway: a list that can change under traffic.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use selvedge_relay::Client;
use serde::Serialize;

use crate::metrics::UpstreamCounts;
use crate::{Chance, GatewayOptions, Health, PeakEwma, Picker, UpstreamOptions};

/// One server behind the gateway.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) in_flight: AtomicUsize,
    state: Mutex<State>,
    /// Answers by hundred of their status; place 0: none came.
    answers: [AtomicU64; 6],
    retried: AtomicU64,
}

#[derive(Debug)]
struct State {
    health: Health,
    load: PeakEwma,
}

/// A server as it looks now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Whether it is asked.
    pub healthy: bool,
    /// Requests it is handling.
    pub in_flight: usize,
}

impl Upstream {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, status: u16) {
        let place = usize::from(status / 100).min(5);
        self.answers[place].fetch_add(1, Relaxed);
    }

    /// A request it failed goes elsewhere.
    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> UpstreamCounts {
        let answers = |place: usize| self.answers[place].load(Relaxed);
        UpstreamCounts {
            name: self.name.clone(),
            healthy: self.lock().health.is_sound(),
            in_flight: self.in_flight.load(Relaxed),
            unanswered: answers(0),
            informational: answers(1),
            successful: answers(2),
            redirected: answers(3),
            client_errors: answers(4),
            server_errors: answers(5),
            retried_elsewhere: self.retried.load(Relaxed),
            connects: self.client.connects(),
        }
    }
}

/// How a request to an upstream went, as far as the upstream is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    /// It answered so.
    Answered(u16),
    /// It failed before its answer.
    Failed,
    /// It failed within its answer.
    Broke,
    /// It is not to blame.
    Unknown,
}

/// All upstreams and the policy over them.
#[derive(Debug)]
pub(crate) struct Upstreams {
    list: RwLock<Arc<[Arc<Upstream>]>>,
    picker: Picker,
    chance: Chance,
    options: GatewayOptions,
    epoch: Instant,
}

impl Upstreams {
    /// # Errors
    /// With the URL that is wrong, and why.
    pub(crate) fn new(options: &GatewayOptions, seed: u64) -> Result<Self, String> {
        let upstreams = Self {
            list: RwLock::new(Arc::new([])),
            picker: Picker::new(options.policy),
            chance: Chance::new(seed),
            options: options.clone(),
            epoch: Instant::now(),
        };
        upstreams.set(&options.upstreams)?;
        Ok(upstreams)
    }

    /// Replaces the list. An upstream that stays keeps its connections, health and counts;
    /// requests in flight to one that goes are finished.
    pub(crate) fn set(&self, wanted: &[UpstreamOptions]) -> Result<(), String> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut next: Vec<Arc<Upstream>> = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let address = wanted.address()?;
            let name = wanted.name.clone().unwrap_or_else(|| address.clone());
            if next.iter().any(|upstream| upstream.name == name) {
                return Err(format!(
                    "upstream {name:?} is named twice; names must differ"
                ));
            }
            let known = list
                .iter()
                .find(|known| known.name == name && known.client.address() == address);
            next.push(match known {
                Some(known) => Arc::clone(known),
                None => Arc::new(Upstream {
                    name,
                    url: wanted.url.clone(),
                    client: Client::new(address, self.options.upstream_limits.clone()),
                    in_flight: AtomicUsize::new(0),
                    state: Mutex::new(State {
                        health: Health::default(),
                        load: PeakEwma::new(self.options.latency_decay_ms * 1_000_000),
                    }),
                    answers: Default::default(),
                    retried: AtomicU64::new(0),
                }),
            });
        }
        *list = next.into();
        Ok(())
    }

    pub(crate) fn list(&self) -> Arc<[Arc<Upstream>]> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        let list = self.list();
        let status = list.iter().map(|upstream| UpstreamStatus {
            name: upstream.name.clone(),
            url: upstream.url.clone(),
            healthy: upstream.lock().health.is_sound(),
            in_flight: upstream.in_flight.load(Relaxed),
        });
        status.collect()
    }

    /// Each one's name, and what one more request to it would cost now; none where it is out.
    pub(crate) fn costs(&self) -> Vec<(String, Option<f64>)> {
        let now = self.now_ns();
        let cost = |upstream: &Arc<Upstream>| {
            let in_flight = upstream.in_flight.load(Relaxed);
            let state = upstream.lock();
            let is_in = state.health.is_in(now);
            is_in.then(|| state.load.cost(now, in_flight))
        };
        let list = self.list();
        let name = |upstream: &Arc<Upstream>| upstream.name.clone();
        list.iter().map(|u| (name(u), cost(u))).collect()
    }

    /// Picks one that was not `tried`. Where none is in, any is asked: trying costs less than
    /// refusing, and the exclusion may be wrong.
    pub(crate) fn pick(&self, tried: &[Arc<Upstream>]) -> Option<InFlight> {
        let now = self.now_ns();
        let list = self.list();
        let untried =
            |upstream: &&Arc<Upstream>| !tried.iter().any(|other| Arc::ptr_eq(upstream, other));
        let mut candidates: smallvec::SmallVec<[&Arc<Upstream>; 16]> = list
            .iter()
            .filter(untried)
            .filter(|upstream| upstream.lock().health.is_in(now))
            .collect();
        if candidates.is_empty() {
            candidates.extend(list.iter().filter(untried));
        }
        let cost = |index: usize| {
            let upstream = candidates[index];
            let in_flight = upstream.in_flight.load(Relaxed);
            upstream.lock().load.cost(now, in_flight)
        };
        let picked = self
            .picker
            .pick(candidates.len(), cost, |n| self.chance.below(n))?;
        let upstream = Arc::clone(candidates[picked]);
        upstream.lock().health.begin(now);
        upstream.in_flight.fetch_add(1, Relaxed);
        Some(InFlight {
            upstream,
            began_ns: now,
        })
    }

    /// What a request taught about its upstream.
    pub(crate) fn learn(&self, flight: &InFlight, went: Went) {
        let upstream = &flight.upstream;
        let now = self.now_ns();
        let took = now.saturating_sub(flight.began_ns);
        // These say that the server, or the one behind its sidecar, is not there. A plain 500 is
        // an answer: it says something of the request.
        let good = match went {
            Went::Answered(502..=504) | Went::Failed | Went::Broke => Some(false),
            Went::Answered(_) => Some(true),
            Went::Unknown => None,
        };
        let mut state = upstream.lock();
        match good {
            Some(true) => state.health.good(),
            Some(false) => {
                if state.health.bad(now, &self.options.health) {
                    tracing::warn!(upstream = %upstream.name, "upstream is out");
                }
            }
            None => state.health.unknown(),
        }
        let failed = good == Some(false) || matches!(went, Went::Answered(500..));
        let penalty = self.options.failure_penalty_ms * 1_000_000;
        match went {
            Went::Unknown => {}
            _ if failed => state.load.observe(now, took.max(penalty)),
            _ => state.load.observe(now, took),
        }
    }

    pub(crate) fn probed(&self, upstream: &Upstream, good: bool) {
        let Some(probe) = &self.options.health.probe else {
            return;
        };
        if upstream.lock().health.probed(good, probe) {
            tracing::info!(upstream = %upstream.name, healthy = good, "upstream changed by probe");
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn probe_options(&self) -> Option<&crate::ProbeOptions> {
        self.options.health.probe.as_ref()
    }

    pub(crate) fn probe_timeout(&self) -> Duration {
        let timeout = self.probe_options().map_or(0, |probe| probe.timeout_ms);
        Duration::from_millis(timeout)
    }
}

/// A request on its way through an upstream; counts while it lives.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) upstream: Arc<Upstream>,
    began_ns: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstream.in_flight.fetch_sub(1, Relaxed);
    }
}
