//! One server: a disk that outlives it, a clock, and while it lives a real node; with a threshold
//! monitor beside it, if it is that one's.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_bus::{
    Bus, BusError, Dial, Found, LinkStream, Publisher, Source, Subscribe, Subscription, TcpBus,
    Tells,
};
use selvedge_identity::ServerName;
use selvedge_journal::testing::{Crash, FaultyStorage};
use selvedge_journal::{Driver, Durability, JournalOptions};
use selvedge_monitor::StatusAsker;
use selvedge_node::{Acknowledge, AcknowledgeOptions, AgentMode, MemoryOptions, Node, NodeOptions};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Plant;
use crate::clock::SimClock;
use crate::leak::Leaking;
use crate::random::{Random, SeededEntropy};
use crate::thresholds::{self, Watching};
use crate::world::{HUB, KEY, World, lock};

/// Between two tries to start.
const START_AGAIN: Duration = Duration::from_millis(250);

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It does the users' work.
    Content,
    /// It takes the clients' requests.
    Gateway,
    /// Its journal tells of crossings.
    Thresholds,
}

/// A holder's word is out of date after that at the latest: the link that it came by has ended.
const ENDED_LATELY: Duration = Duration::from_secs(3);

pub(crate) struct Server {
    role: Role,
    pub(crate) host: String,
    pub(crate) name: ServerName,
    pub(crate) storage: FaultyStorage,
    pub(crate) clock: Arc<SimClock>,
    entropy: Arc<SeededEntropy>,
    segment_bytes: u64,
    /// When the witness hears of it; peers hear at once.
    agent: AgentMode,
    live: Mutex<Option<Live>>,
    /// When something last happened to it.
    pub(crate) upset: Mutex<Option<Instant>>,
    /// When its process ended last.
    ended: Mutex<Option<Instant>>,
    /// How far its answers' effects have to have got.
    acknowledge: AcknowledgeOptions,
    /// Its disk does nothing until then.
    pub(crate) stalled_until: Mutex<Option<Instant>>,
}

/// A server's process.
struct Live {
    node: Node,
    bus: TcpBus,
    tasks: Vec<AbortHandle>,
    watching: Option<Watching>,
}

impl Server {
    pub(crate) fn new(
        seed: u64,
        role: Role,
        host: String,
        begin: Instant,
        random: &mut Random,
    ) -> Self {
        // A stream of its own: the others stay as they were before there were modes.
        let mut agents = Random::new(seed, &format!("agent of {host}"));
        let agent = match (role, agents.index(2)) {
            (Role::Thresholds | Role::Gateway, _) | (_, 0) => AgentMode::RealTime,
            _ => AgentMode::Period(agents.ms(100, 3000)),
        };
        let skew_ns = random.between(0, 7_200_000_000_000).cast_signed() - 3_600_000_000_000;
        Self {
            role,
            name: ServerName::new(&host).expect("a server's name"),
            storage: FaultyStorage::new(),
            clock: Arc::new(SimClock::new(begin, skew_ns)),
            entropy: Arc::new(SeededEntropy::new(Random::new(seed, &host))),
            agent,
            segment_bytes: [4 << 10, 64 << 10, 1 << 20][random.index(3)],
            live: Mutex::default(),
            upset: Mutex::default(),
            ended: Mutex::default(),
            acknowledge: acknowledge(role, agents),
            stalled_until: Mutex::default(),
            host,
        }
    }

    /// Whether its process has ended a moment ago, so that others may not know yet.
    pub(crate) fn ended_lately(&self) -> bool {
        lock(&self.ended).is_some_and(|at| at.elapsed() < ENDED_LATELY)
    }

    /// The folder of its journal.
    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from("/journals").join(&self.host)
    }

    /// Its node, while it lives.
    pub(crate) fn node(&self) -> Option<Node> {
        lock(&self.live).as_ref().map(|live| live.node.clone())
    }

    /// How its monitor's rules stand, while it lives.
    pub(crate) fn asker(&self) -> Option<StatusAsker> {
        let live = lock(&self.live);
        live.as_ref()?.watching.as_ref().map(Watching::asker)
    }

    /// Something happened to it.
    pub(crate) fn upset(&self) {
        *lock(&self.upset) = Some(Instant::now());
    }

    /// Runs a request's task in its process; false if there is none.
    pub(crate) fn spawn<F>(&self, task: impl FnOnce(Node) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut live = lock(&self.live);
        let Some(live) = live.as_mut() else {
            return false;
        };
        live.tasks.retain(|task| !task.is_finished());
        let task = tokio::spawn(task(live.node.clone()));
        live.tasks.push(task.abort_handle());
        true
    }

    /// The process ends at this instant, whatever it does; false if there is none.
    pub(crate) fn crash(&self, world: &World, crash: Crash) -> bool {
        let Some(live) = lock(&self.live).take() else {
            return false;
        };
        world
            .trace
            .event(&self.host, format_args!("crash {crash:?}"));
        match crash {
            Crash::Process => world.network.reset(&self.host),
            _ => world.network.vanish(&self.host),
        }
        for task in live.tasks {
            task.abort();
        }
        *lock(&self.ended) = Some(Instant::now());
        drop(live.watching);
        live.bus.stop();
        self.storage.crash(crash);
        self.upset();
        true
    }

    /// The end of a run: the machine stops, and what was not synced is gone.
    pub(crate) fn stop_now(&self, world: &World) {
        lock(&world.hub).take();
        self.crash(world, Crash::Forget);
    }

    fn options(&self, world: &World) -> NodeOptions {
        let clock = self.clock.clone();
        let mut options = NodeOptions::new(
            self.name.clone(),
            match self.role {
                Role::Content => "content",
                Role::Gateway => "gateway",
                Role::Thresholds => "threshold",
            },
            self.folder(),
            world.keys.clone(),
        );
        options.storage = Arc::new(self.storage.clone());
        options.clock = self.clock.clone();
        options.entropy = self.entropy.clone();
        options.acknowledge = self.acknowledge;
        options.agent.mode = self.agent;
        if self.role != Role::Content {
            options.memory = MemoryOptions::positions_only();
        }
        options.journal = JournalOptions {
            driver: Driver::Manual,
            segment_bytes: self.segment_bytes,
            allocate_bytes: 4 << 10,
            // Small, so that readers that fall behind read from the disk.
            recent_bytes: 8 << 10,
            clock: Arc::new(move || clock.system_time()),
            durability: match world.options.plant {
                Plant::AckBeforeSync => Durability::Os,
                _ => Durability::Sync,
            },
            ..JournalOptions::default()
        };
        options
    }
}

/// Content servers wait for none, one or two others; drawn from a server's own stream.
fn acknowledge(role: Role, mut random: Random) -> AcknowledgeOptions {
    let mut options = AcknowledgeOptions::default();
    let count = [0, 0, 1, 2][random.index(4)];
    if let (Role::Content, Some(count)) = (role, NonZeroU8::new(count)) {
        options.level = Acknowledge::Peers(count);
    }
    options
}

/// Starts a server and keeps trying.
pub(crate) async fn start(world: Arc<World>, server: Arc<Server>) {
    loop {
        server.upset();
        let bus = world.dial(&server.host);
        let network: Arc<dyn Bus> = match world.options.plant {
            Plant::LostDelivery => Arc::new(Leaky(bus.clone())),
            _ => Arc::new(bus.clone()),
        };
        match begin(&world, &server, network).await {
            Ok((node, watching)) => {
                let recovered = node.journal().recovered().clone();
                world.trace.event(
                    &server.host,
                    format_args!(
                        "lives in epoch {}, after {:?}{}",
                        node.journal().epoch(),
                        recovered.previous,
                        if recovered.torn.is_some() {
                            ", torn tail cut"
                        } else {
                            ""
                        }
                    ),
                );
                if !recovered.damage.is_empty() {
                    let damage = format!(
                        "{}: damaged after a crash: {:?}",
                        server.host, recovered.damage
                    );
                    world.trace.violation(damage);
                }
                let random = Random::new(world.seed, &format!("disk {}", node.journal().epoch()));
                let disk = tokio::spawn(disk(server.clone(), node.clone(), random));
                server.upset();
                *lock(&server.live) = Some(Live {
                    node,
                    bus,
                    tasks: vec![disk.abort_handle()],
                    watching,
                });
                return;
            }
            Err(error) => {
                world
                    .trace
                    .event(&server.host, format_args!("does not start: {error}"));
                bus.stop();
                world.network.reset(&server.host);
                server.storage.crash(Crash::Process);
                sleep(START_AGAIN).await;
            }
        }
    }
}

/// A node, and what runs beside it.
async fn begin(
    world: &Arc<World>,
    server: &Arc<Server>,
    network: Arc<dyn Bus>,
) -> Result<(Node, Option<Watching>), String> {
    let node = Node::start(server.options(world), network.clone()).await;
    let node = node.map_err(|error| error.to_string())?;
    let watching = match server.role {
        Role::Content | Role::Gateway => None,
        Role::Thresholds => {
            let began = thresholds::watch(world, server, node.clone(), network).await;
            Some(began.map_err(|error| error.to_string())?)
        }
    };
    Ok((node, watching))
}

/// The disk: commits what is queued, now and then slowly.
async fn disk(server: Arc<Server>, node: Node, mut random: Random) {
    loop {
        sleep(random.ms(1, 4)).await;
        let stalled = *lock(&server.stalled_until);
        if let Some(until) = stalled {
            sleep_until(until).await;
        }
        node.journal().step();
    }
}

/// The way from a host to the hub.
pub(crate) struct Dialer {
    pub(crate) world: Arc<World>,
    pub(crate) host: String,
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> std::io::Result<LinkStream> {
        let network = &self.world.network;
        sleep(Duration::from_millis(2)).await;
        if network.is_cut(&self.host) || network.is_cut(HUB) {
            std::future::pending::<()>().await;
        }
        let Some(hub) = self.world.hub() else {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        };
        let (mine, theirs) = network.connect(&self.host, HUB);
        hub.accept(theirs, &self.host, KEY);
        Ok(mine)
    }
}

/// The planted bugs of the lost delivery.
pub(crate) struct Leaky(pub(crate) TcpBus);

#[async_trait]
impl Bus for Leaky {
    async fn join(&self, source: Arc<dyn Source>) -> Result<Box<dyn Publisher>, BusError> {
        self.0.join(source).await
    }

    async fn subscribe(&self, request: Subscribe) -> Result<Subscription, BusError> {
        let subscription = self.0.subscribe(request).await?;
        Ok(Subscription::new(Box::new(Leaking::new(subscription))))
    }

    async fn ask(&self, server: &ServerName, question: Bytes) -> Result<Found, BusError> {
        self.0.ask(server, question).await
    }

    fn tells(&self) -> Tells {
        self.0.tells()
    }
}
