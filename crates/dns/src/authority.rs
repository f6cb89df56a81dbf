//! What all threads of one name server share, and how it is made.

use core::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use ipnet::IpNet;
use selvedge_race::contest::Races;

use crate::books::{Network, OpenRaces, Recent, Sources, Winners};
use crate::cookie::Secrets;
use crate::counts::Counts;
use crate::limit::{LimitOptions, network};
use crate::policy::{Standing, Standings};
use crate::zone::Zones;

/// How a name server answers.
#[derive(Clone, Debug)]
pub struct AuthorityOptions {
    /// What it calls itself where it is asked to (RFC 5001); empty: nothing.
    pub nsid: Vec<u8>,
    /// Bytes of an answer over UDP at most, 512 to 4096.
    pub udp_bytes_max: usize,
    /// The limit on equal answers.
    pub limit: LimitOptions,
    /// Networks that it does not hold for.
    pub unlimited: Vec<IpNet>,
    /// Networks whose addresses need no proof to race.
    pub proven: Vec<IpNet>,
    /// Whether others are told once a day to prove theirs over TCP.
    pub bounce: bool,
    /// For how long an answer may be kept that no race has decided, in seconds.
    pub unraced_ttl: u32,
    /// Within how many milliseconds a question that comes again is answered plainly.
    pub again_ms: u64,
    /// Bits of the networks that have one winner each.
    pub v4_bits: u8,
    /// The same for IPv6.
    pub v6_bits: u8,
}

impl Default for AuthorityOptions {
    fn default() -> Self {
        let loopback = || ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network"));
        Self {
            nsid: Vec::new(),
            udp_bytes_max: 1232,
            limit: LimitOptions {
                per_s: 200,
                slip: 2,
                v4_bits: 24,
                v6_bits: 56,
            },
            unlimited: loopback().to_vec(),
            proven: Vec::new(),
            bounce: true,
            unraced_ttl: 5,
            again_ms: 2000,
            v4_bits: 24,
            v6_bits: 56,
        }
    }
}

/// A name server's zones, secrets and memory.
pub struct Authority {
    pub(crate) options: AuthorityOptions,
    zones: RwLock<Arc<Zones>>,
    generation: AtomicU64,
    pub(crate) secrets: Secrets,
    /// Labels of raced aliases are signed with it.
    pub(crate) race_secret: [u8; 16],
    standings: OnceLock<Box<Standings>>,
    /// The master of the races; without one nothing races.
    races: RwLock<Option<Arc<dyn Races>>>,
    books: Mutex<Books>,
    pub(crate) turn: AtomicUsize,
    counts: Mutex<Counts>,
    seed: u64,
}

/// What is remembered of askers.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) winners: Winners,
    pub(crate) sources: Sources,
    pub(crate) recent: Recent,
    pub(crate) open: OpenRaces,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// What a name server is made with.
pub struct AuthorityParts {
    /// How it answers.
    pub options: AuthorityOptions,
    /// Its zones.
    pub zones: Zones,
    /// Secrets of its cookies; the same at all sites.
    pub secrets: Secrets,
    /// The secret of its races; the same at all sites.
    pub race_secret: [u8; 16],
    /// Random: seeds tables, so that strangers cannot aim at their places.
    pub seed: u64,
}

impl Authority {
    /// A name server that knows no winner yet, and holds all sites for working.
    #[must_use]
    pub fn new(parts: AuthorityParts) -> Self {
        let AuthorityParts {
            options,
            zones,
            secrets,
            race_secret,
            seed,
        } = parts;
        Self {
            options,
            zones: RwLock::new(Arc::new(zones)),
            generation: AtomicU64::new(0),
            secrets,
            race_secret,
            standings: OnceLock::new(),
            races: RwLock::default(),
            books: Mutex::new(Books {
                winners: Winners::new(seed ^ 1),
                sources: Sources::new(seed ^ 2),
                recent: Recent::new(seed ^ 3),
                open: OpenRaces::default(),
            }),
            turn: AtomicUsize::new(0),
            counts: Mutex::default(),
            seed,
        }
    }

    /// Is told by that how sites do from now on; a second one changes nothing.
    pub fn set_standings(&self, standings: Box<Standings>) {
        let _ = self.standings.set(standings);
    }

    /// How a site does.
    pub(crate) fn standing(&self, site: &str) -> Standing {
        let told = self.standings.get();
        told.map_or(Standing::Up(0.0), |standings| standings(site))
    }

    /// Has its races run by that master from now on; with none, nothing races. Master and name
    /// server know each other, so whoever ends them takes this tie away first.
    pub fn set_races(&self, races: Option<Arc<dyn Races>>) {
        *self.races.write().unwrap_or_else(PoisonError::into_inner) = races;
    }

    pub(crate) fn races(&self) -> Option<Arc<dyn Races>> {
        let races = self.races.read().unwrap_or_else(PoisonError::into_inner);
        races.clone()
    }

    /// The zones as they are now.
    #[must_use]
    pub fn zones(&self) -> Arc<Zones> {
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        zones.clone()
    }

    /// Answers from these zones from now on.
    pub fn set_zones(&self, zones: Zones) {
        *self.zones.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zones);
        self.generation.fetch_add(1, Relaxed);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// The counters as they are now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, counts: &mut Counts) {
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.take(counts);
    }

    /// Looks at the winner table.
    pub fn winners<T>(&self, look: impl FnOnce(&mut Winners) -> T) -> T {
        look(&mut self.books().winners)
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The network of a resolver.
    pub(crate) fn network(&self, address: IpAddr) -> Network {
        Network {
            bits: network(address, self.options.v4_bits, self.options.v6_bits),
            v6: address.to_canonical().is_ipv6(),
        }
    }
}

pub(crate) fn any_contains(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}
