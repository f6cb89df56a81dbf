//! The fleet and everything around it, and the order of a run's phases.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selvedge_bus::{Hub, HubOptions, LinkOptions, TcpBus};
use selvedge_entry::Timestamp;
use selvedge_identity::{KeyRing, SessionId};
use selvedge_journal::testing::Crash;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::gateway::{self, Gateway};
use crate::keepers::Keeper;
use crate::ledger::{Ledger, Visit};
use crate::network::{Network, Weather};
use crate::random::Random;
use crate::server::{Dialer, Role, Server};
use crate::trace::Trace;
use crate::witness::Witness;
use crate::{
    Counts, Options, Outcome, Plant, check, client, faults, repository, server, thresholds,
    transactions, witness,
};

/// The fleet's key of the bus.
pub(crate) const KEY: [u8; 32] = [0x5e; 32];
/// The hub, as the network names it.
pub(crate) const HUB: &str = "hub";
/// Servers that were upset so long ago must be back to normal.
const UPSET: Duration = Duration::from_secs(6);
/// Everything must have come to rest by then.
const REST_MAX: Duration = Duration::from_secs(60);
/// A whole run's time at most: whatever waits longer waits for ever.
const RUN_MAX: Duration = Duration::from_secs(600);

/// Everything of one run.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) options: Options,
    pub(crate) begin: Instant,
    pub(crate) trace: Trace,
    pub(crate) keys: KeyRing,
    pub(crate) network: Network,
    pub(crate) front: Front,
    pub(crate) hub: Mutex<Option<Hub>>,
    pub(crate) hub_upset: Mutex<Option<Instant>>,
    /// The content servers.
    pub(crate) servers: Vec<Arc<Server>>,
    /// The threshold monitor's.
    pub(crate) thresholds: Arc<Server>,
    /// When the monitor's first life began, on its clock: entries of before do not count.
    pub(crate) counts_from: Mutex<Option<Timestamp>>,
    pub(crate) witness: Witness,
    pub(crate) repository: repository::Machine,
    pub(crate) transactions: transactions::Machine,
    /// Before every client.
    pub(crate) gateways: [Arc<Gateway>; 2],
    pub(crate) ledger: Ledger,
    pub(crate) visits_over: watch::Sender<bool>,
}

/// The clients' side of the fleet: how requests and answers fare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    /// The longest way, in milliseconds.
    pub(crate) latency_ms: u64,
    /// Requests, and answers, that are lost, of a thousand.
    pub(crate) loss: u64,
    /// Requests that reach two servers, of a thousand.
    pub(crate) twice: u64,
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(seed, "world");
        let begin = Instant::now();
        let weather = Weather {
            latency_us: random.between(100, 8_000),
            jitter_us: random.between(0, 8_000),
            loss: [0, 0, 10, 40][random.index(4)],
        };
        let front = Front {
            latency_ms: random.between(1, 40),
            loss: [0, 20, 100][random.index(3)],
            twice: [0, 0, 60][random.index(3)],
        };
        let count = random.between(2, 4) as usize;
        let servers = (1..=count)
            .map(|number| {
                let host = format!("content-{number}");
                Arc::new(Server::new(seed, Role::Content, host, begin, &mut random))
            })
            .collect();
        let mut others = Random::new(seed, "other servers");
        let host = thresholds::HOST.to_owned();
        let thresholds = Server::new(seed, Role::Thresholds, host, begin, &mut others);
        if options.plant == Plant::LyingDisk {
            thresholds.storage.lie_about_syncs();
        }
        let gateways = gateway::HOSTS.map(|host| {
            let host = host.to_owned();
            let server = Server::new(seed, Role::Gateway, host, begin, &mut others);
            Arc::new(Gateway::new(server))
        });
        Self {
            seed,
            options,
            begin,
            trace: Trace::new(begin, options.trace),
            keys: KeyRing::single([0xe5; 32]),
            network: Network::new(seed, weather),
            front,
            hub: Mutex::default(),
            hub_upset: Mutex::default(),
            servers,
            thresholds: Arc::new(thresholds),
            counts_from: Mutex::default(),
            witness: Witness::default(),
            repository: repository::Machine::new(seed),
            transactions: transactions::Machine::new(),
            gateways,
            ledger: Ledger::default(),
            visits_over: watch::Sender::new(false),
        }
    }

    pub(crate) fn hub(&self) -> Option<Hub> {
        lock(&self.hub).clone()
    }

    /// Begins a hub that knows nothing: it keeps nothing that a restart could lose.
    pub(crate) fn start_hub(&self) {
        self.trace.event(HUB, format_args!("starts"));
        *lock(&self.hub) = Some(Hub::new(HubOptions {
            // Small, so that subscribers fall behind it and are refilled from the owners.
            ring_bytes: 4 << 10,
            link: self.link_options(HUB),
            ..HubOptions::default()
        }));
    }

    pub(crate) fn link_options(&self, name: &str) -> LinkOptions {
        LinkOptions {
            heartbeat: Duration::from_millis(150),
            idle_max: Duration::from_secs(1),
            stalled_max: Duration::from_secs(1),
            handshake_max: Duration::from_secs(1),
            read_max: Duration::from_secs(1),
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_millis(300),
            seed: Some(Random::new(self.seed, name).next()),
            ..LinkOptions::default()
        }
    }

    /// A host's link to the hub.
    pub(crate) fn dial(self: &Arc<Self>, host: &str) -> TcpBus {
        let dial = Arc::new(Dialer {
            world: self.clone(),
            host: host.to_owned(),
        });
        let options = self.link_options(host);
        TcpBus::start_over(dial, KEY, host, options).expect("random bytes")
    }

    /// Whether nothing happened to this server or the hub lately.
    pub(crate) fn is_calm(&self, server: &Server) -> bool {
        let upset = |at: &Mutex<Option<Instant>>| lock(at).is_some_and(|at| at.elapsed() < UPSET);
        !upset(&self.hub_upset) && !upset(&server.upset)
    }

    /// Every server that has a journal.
    pub(crate) fn owners(&self) -> impl Iterator<Item = &Arc<Server>> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.server);
        self.servers
            .iter()
            .chain([&self.thresholds])
            .chain(gateways)
    }

    pub(crate) fn server(&self, name: &str) -> Option<&Arc<Server>> {
        self.owners().find(|server| server.host == name)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One run, on the current runtime.
pub(crate) async fn run(seed: u64, options: Options) -> Outcome {
    let world = Arc::new(World::new(seed, options));
    world.trace.event(
        "world",
        format_args!(
            "{} servers, {:?}, {:?}",
            world.servers.len(),
            world.network_weather(),
            world.front
        ),
    );
    if timeout(RUN_MAX, phases(&world)).await.is_err() {
        world
            .trace
            .violation("something waits for ever: the run does not end".to_owned());
    }
    for keeper in Keeper::ALL {
        keeper.crash(&world, Crash::Forget);
    }
    for server in world.owners() {
        server.stop_now(&world);
    }
    let mut counts = check::after_crash(&world);
    counts.virtual_ms = world.begin.elapsed().as_millis() as u64;
    let (hash, events, trace, violations) = world.trace.take();
    Outcome {
        seed,
        violations,
        hash,
        events,
        counts,
        trace,
    }
}

impl World {
    fn network_weather(&self) -> Weather {
        self.network.weather()
    }
}

async fn phases(world: &Arc<World>) {
    world.start_hub();
    for server in &world.servers {
        server::start(world.clone(), server.clone()).await;
    }
    let witness = tokio::spawn(witness::run(world.clone()));
    for keeper in Keeper::ALL {
        keeper.start(world).await;
    }
    rest(world, "at the start").await;
    let mut random = Random::new(world.seed, "clients");
    let mut clients = Vec::new();
    for _ in 0..random.between(2, 4) {
        let mut own = random.split();
        let mut id = [0; 16];
        for chunk in id.chunks_mut(8) {
            chunk.copy_from_slice(&own.next().to_le_bytes());
        }
        let visit = Visit {
            session: SessionId::from_random(id),
            jar: own.per_mille(350),
            lossy: false,
        };
        let number = {
            let mut book = world.ledger.book();
            book.visits.push(visit);
            book.visits.len() - 1
        };
        clients.push(tokio::spawn(client::run(world.clone(), number, own)));
    }
    let faults = tokio::spawn(faults::run(world.clone()));
    let keepers_faults = tokio::spawn(faults::keepers::run(world.clone()));
    for client in clients {
        if client.await.is_err() {
            world.trace.violation("a client panicked".to_owned());
        }
    }
    world.visits_over.send_replace(true);
    let _ = faults.await;
    let _ = keepers_faults.await;
    faults::heal(world).await;
    rest(world, "at the end").await;
    check::alive(world).await;
    faults::keepers::stop_all(world).await;
    rest(world, "after what keeps it has stopped once more").await;
    check::kept(world).await;
    witness.abort();
}

/// Waits until everyone knows everything.
async fn rest(world: &Arc<World>, when: &str) {
    let until = Instant::now() + REST_MAX;
    let mut pause = Duration::from_millis(100);
    loop {
        let Some(lack) = check::lack(world).await else {
            world.trace.event("world", format_args!("at rest {when}"));
            return;
        };
        if Instant::now() > until {
            world.trace.violation(format!("{when}: {lack}"));
            return;
        }
        sleep(pause).await;
        // Whatever takes longer seldom comes: to look for it is the dear part.
        pause = (pause * 11 / 10).min(Duration::from_secs(2));
    }
}

/// What was counted of the clients.
pub(crate) fn client_counts(world: &World) -> Counts {
    let book = world.ledger.book();
    Counts {
        requests: book.attempts.len() as u64,
        answers: book
            .attempts
            .values()
            .filter(|attempt| attempt.received.is_some())
            .count() as u64,
        faults: book.faults,
        promises: book.promises.len() as u64,
        volatile: book.promises.iter().filter(|p| !p.durable).count() as u64,
        unheld: book.unheld.len() as u64,
        spread: book.spread,
        orders: book.orders,
        crossings: book.crossings,
        ..Counts::default()
    }
}
