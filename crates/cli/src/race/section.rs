//! The race as it is configured.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use selvedge_identity::ServerName;
use selvedge_race::{
    Delay, Event, MasterOptions, Pacer, ReplicaAddress, ReplicaOptions, SPIN, Source, Stamp, Timing,
};
use serde::Deserialize;

use crate::args::duration;

/// Longer spinning would leave a busy site no time to serve.
const SPIN_US_MAX: u64 = 5_000;

/// `[race]`.
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
    pub(super) replica: ReplicaSection,
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
pub(super) struct ReplicaSection {
    /// Where it hears its master.
    listen: SocketAddr,
    /// The addresses that clients ask, which its answers come from.
    pub(super) services: Vec<SocketAddr>,
    /// Later than this after the instant it is silent.
    tolerance_us: u64,
    /// So long before an instant it stops sleeping, and spins.
    spin_us: u64,
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
            spin_us: SPIN.as_micros() as u64,
            pending_max: options.pending_max,
        }
    }
}

impl RaceSection {
    pub(crate) fn check(&self) -> Result<()> {
        delay(&self.delay)?;
        clock(&self.clock)?;
        let spin = self.replica.spin_us;
        ensure!(
            spin <= SPIN_US_MAX,
            "race.replica.spin_us = {spin}: at most {SPIN_US_MAX}; a processor that spins does nothing else"
        );
        Ok(())
    }

    /// What sends the answers of this process at their instants.
    pub(super) fn pacer(&self) -> Result<Arc<Pacer>> {
        let spin = Duration::from_micros(self.replica.spin_us);
        Ok(Arc::new(Pacer::start(spin).context("race")?))
    }

    pub(super) fn master(&self) -> Result<MasterOptions> {
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

    pub(super) fn replica(&self, site: &str) -> Result<ReplicaOptions> {
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
    pub(super) offset_ns: i64,
    pub(super) drift: f64,
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
