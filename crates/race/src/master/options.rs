//! How a master works.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use selvedge_clock::Nanos;
use selvedge_identity::ServerName;

use crate::error::RaceError;
use crate::external::Source;
use crate::host::HostClock;
use crate::identifier::Timing;
use crate::replica::HANDICAP_MAX;

/// The most replicas of one master.
const REPLICAS_MAX: usize = 256;

/// A replica as the master knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaAddress {
    /// Its name, the same as it gives itself.
    pub site: String,
    /// Where it hears the master.
    pub address: SocketAddr,
}

/// Upon which event replicas answer (C2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    /// An instant of the common clock.
    #[default]
    Time,
    /// The master's signal, sent at that instant: so the way from the master counts into the race.
    Signal,
}

/// How a master works.
#[derive(Clone, Debug)]
pub struct MasterOptions {
    /// Where it hears replicas, and clients that race.
    pub listen: SocketAddr,
    /// Who races.
    pub replicas: Vec<ReplicaAddress>,
    /// The event upon which they answer.
    pub event: Event,
    /// When that is.
    pub timing: Timing,
    /// Sites that answer later than the others, by how much: to see whether a win is owed to the
    /// clock.
    pub handicaps: BTreeMap<String, Nanos>,
    /// How often stamps are exchanged with each replica.
    pub probe_every: Duration,
    /// The most requests that wait.
    pub queue_max: usize,
    /// A replica whose clock is known less well than this is left out.
    pub noise_max: Nanos,
    /// So many races in a row without a word from a replica leave it out.
    pub misses_max: u32,
    /// For so long.
    pub left_out: Duration,
    /// The most races that are remembered.
    pub races_kept: usize,
    /// The most races that one client's address may start a second.
    pub asks_per_second: u32,
    /// What disciplines this machine's wall clock.
    pub external: Source,
    /// This machine's clock.
    pub clock: HostClock,
}

impl MasterOptions {
    /// The usual.
    #[must_use]
    pub fn new(listen: SocketAddr, replicas: Vec<ReplicaAddress>) -> Self {
        Self {
            listen,
            replicas,
            event: Event::default(),
            timing: Timing::default(),
            handicaps: BTreeMap::new(),
            probe_every: Duration::from_millis(250),
            queue_max: 1024,
            noise_max: 5_000_000,
            misses_max: 3,
            left_out: Duration::from_secs(5),
            races_kept: 1024,
            asks_per_second: 20,
            external: Source::None,
            clock: HostClock::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), RaceError> {
        let wrong = |why: String| Err(RaceError::Options(why));
        if self.replicas.len() > REPLICAS_MAX {
            return wrong(format!(
                "{} replicas, at most {REPLICAS_MAX}",
                self.replicas.len()
            ));
        }
        for (at, replica) in self.replicas.iter().enumerate() {
            if let Err(error) = ServerName::new(&replica.site) {
                return wrong(format!("the site {:?}: {error}", replica.site));
            }
            let twice = |other: &ReplicaAddress| {
                other.site == replica.site || other.address == replica.address
            };
            if self.replicas[..at].iter().any(twice) {
                return wrong(format!(
                    "two replicas with the name {} or the address {}",
                    replica.site, replica.address
                ));
            }
        }
        for (site, handicap) in &self.handicaps {
            if !self.replicas.iter().any(|replica| replica.site == *site) {
                return wrong(format!("a handicap for {site}, which is no replica"));
            }
            if !(0..=HANDICAP_MAX).contains(handicap) {
                return wrong(format!(
                    "the handicap of {site} is not between 0 and 100 ms"
                ));
            }
        }
        if self.listen.ip().is_unspecified() {
            return wrong(format!(
                "listen = {}: name the address that clients ask, because answers come from it",
                self.listen
            ));
        }
        Ok(())
    }
}
