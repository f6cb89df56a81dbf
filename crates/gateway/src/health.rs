//! Whether an upstream may be asked: by use (its failures in a row) and by probe.
//!
//! By use: after some failures in a row it is out for a while, then one request may try it; if
//! that fails it is out for twice as long, up to a bound. By probe: out after some failed probes,
//! in again after some good ones, which also ends an exclusion by use early. Both must agree.
//!
//! Pure: the clock is an argument, nanoseconds since any fixed instant.

use serde::{Deserialize, Serialize};

/// When an upstream is out, and for how long. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthOptions {
    /// Failures in a row that put it out.
    pub failures_max: u32,
    /// How long the first exclusion lasts; each further one twice as long.
    pub backoff_ms: u64,
    /// The longest exclusion.
    pub backoff_ms_max: u64,
    /// Asks every upstream regularly, if set.
    pub probe: Option<ProbeOptions>,
}

impl Default for HealthOptions {
    fn default() -> Self {
        Self {
            failures_max: 3,
            backoff_ms: 500,
            backoff_ms_max: 10_000,
            probe: None,
        }
    }
}

/// A probe: `GET path`, good when answered in time with a status below 400.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeOptions {
    /// What is asked.
    pub path: String,
    /// How often, in milliseconds.
    pub interval_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// Good probes in a row that let an upstream in again.
    pub good: u32,
    /// Bad probes in a row that put it out.
    pub bad: u32,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            path: "/healthz".to_owned(),
            interval_ms: 2_000,
            timeout_ms: 1_000,
            good: 2,
            bad: 3,
        }
    }
}

/// The health of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failures: u32,
    /// Out until then; `None`: in.
    out_until_ns: Option<u64>,
    exclusions: u32,
    /// A request tries it since then.
    trial_ns: Option<u64>,
    probes_good: u32,
    probes_bad: u32,
    probed_out: bool,
}

/// After so long without an outcome another request may try.
const TRIAL_NS_MAX: u64 = 10_000_000_000;

impl Health {
    /// Whether a request may go to it now; asking changes nothing.
    #[must_use]
    pub fn is_in(&self, now_ns: u64) -> bool {
        if self.probed_out {
            return false;
        }
        match (self.out_until_ns, self.trial_ns) {
            (None, _) => true,
            (Some(until), None) => now_ns >= until,
            (Some(_), Some(trial)) => now_ns >= trial.saturating_add(TRIAL_NS_MAX),
        }
    }

    /// Whether it is in without any doubt.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.out_until_ns.is_none() && !self.probed_out
    }

    /// A request goes to it now. Returns true if it is a trial of one that is out.
    pub fn begin(&mut self, now_ns: u64) -> bool {
        let trial = self.out_until_ns.is_some();
        if trial {
            self.trial_ns = Some(now_ns);
        }
        trial
    }

    /// It answered.
    pub fn good(&mut self) {
        self.failures = 0;
        self.out_until_ns = None;
        self.trial_ns = None;
        self.exclusions = 0;
    }

    /// It failed. Returns true if that put it out.
    pub fn bad(&mut self, now_ns: u64, options: &HealthOptions) -> bool {
        self.failures = self.failures.saturating_add(1);
        // Requests that were under way when it went out say nothing new.
        let excluded = match (self.out_until_ns, self.trial_ns) {
            (None, _) => self.failures >= options.failures_max,
            (Some(until), trial) => trial.is_some() || now_ns >= until,
        };
        if excluded {
            let factor = 1u64 << self.exclusions.min(20);
            let backoff = (options.backoff_ms.saturating_mul(factor)).min(options.backoff_ms_max);
            self.out_until_ns = Some(now_ns.saturating_add(backoff.saturating_mul(1_000_000)));
            self.exclusions = self.exclusions.saturating_add(1);
            self.trial_ns = None;
        }
        excluded
    }

    /// A request ended without telling anything about the upstream.
    pub fn unknown(&mut self) {
        self.trial_ns = None;
    }

    /// A probe came back. Returns true if that changed whether it is in.
    pub fn probed(&mut self, good: bool, options: &ProbeOptions) -> bool {
        let before = self.is_sound();
        if good {
            self.probes_good = self.probes_good.saturating_add(1);
            self.probes_bad = 0;
            if self.probes_good >= options.good {
                self.probed_out = false;
                self.good();
            }
        } else {
            self.probes_bad = self.probes_bad.saturating_add(1);
            self.probes_good = 0;
            if self.probes_bad >= options.bad {
                self.probed_out = true;
            }
        }
        before != self.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn failures_in_a_row_put_it_out_and_one_request_tries_it_later() {
        let options = HealthOptions::default();
        let mut health = Health::default();
        assert!(!health.bad(0, &options));
        assert!(!health.bad(0, &options));
        health.good();
        assert!(!health.bad(0, &options));
        assert!(!health.bad(0, &options));
        assert!(health.is_in(0));
        assert!(health.bad(0, &options));
        assert!(!health.is_in(499 * MS));
        assert!(health.is_in(500 * MS));
        assert!(health.begin(500 * MS));
        assert!(!health.is_in(500 * MS), "one trial at a time");
        assert!(health.bad(501 * MS, &options));
        assert!(!health.is_in(1_500 * MS), "twice as long");
        assert!(health.is_in(1_501 * MS));
        health.begin(1_501 * MS);
        health.good();
        assert!(health.is_sound());
    }

    #[test]
    fn failures_of_requests_from_before_the_exclusion_do_not_lengthen_it() {
        let options = HealthOptions::default();
        let mut health = Health::default();
        for _ in 0..100 {
            health.bad(0, &options);
        }
        assert!(health.is_in(500 * MS));
    }

    #[test]
    fn a_trial_that_tells_nothing_is_tried_again() {
        let options = HealthOptions::default();
        let mut health = Health::default();
        for _ in 0..3 {
            health.bad(0, &options);
        }
        health.begin(600 * MS);
        health.unknown();
        assert!(health.is_in(600 * MS));
        health.begin(600 * MS);
        assert!(health.is_in(600 * MS + TRIAL_NS_MAX));
    }

    #[test]
    fn probes_put_it_out_and_let_it_in_again() {
        let options = ProbeOptions::default();
        let mut health = Health::default();
        assert!(!health.probed(false, &options));
        assert!(!health.probed(false, &options));
        assert!(health.probed(false, &options));
        health.good();
        assert!(!health.is_in(0), "use does not overrule the probe");
        assert!(!health.probed(true, &options));
        assert!(health.probed(true, &options));
        assert!(health.is_in(0));
    }
}
