//! The repository: the real one, on a disk of its own that outlives it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_bus::{Bus, TcpBus};
use selvedge_journal::testing::{Crash, FaultyStorage};
use selvedge_repository::{Repository, RepositoryOptions, Store, StoreOptions};
use tokio::time::sleep;

use crate::Plant;
use crate::random::Random;
use crate::server::Leaky;
use crate::world::{World, lock};

/// The repository, as the network names it.
pub(crate) const HOST: &str = "repository";
/// Between two tries to start.
const START_AGAIN: Duration = Duration::from_millis(250);

/// The machine that it runs on.
pub(crate) struct Machine {
    pub(crate) storage: FaultyStorage,
    segment_bytes: u64,
    live: Mutex<Option<Live>>,
}

/// Its process.
struct Live {
    repository: Repository,
    bus: TcpBus,
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, HOST);
        Self {
            storage: FaultyStorage::new(),
            segment_bytes: [2 << 10, 64 << 10, 1 << 20][random.index(3)],
            live: Mutex::default(),
        }
    }

    /// What it keeps, while it lives.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        let live = lock(&self.live);
        live.as_ref().map(|live| live.repository.store().clone())
    }

    /// Why its answers may not be fresh.
    pub(crate) fn trouble(&self) -> Option<String> {
        let live = lock(&self.live);
        live.as_ref()
            .and_then(|live| live.repository.state().trouble())
    }

    /// The process ends at this instant, whatever it does; false if there is none.
    pub(crate) fn crash(&self, world: &World, crash: Crash) -> bool {
        let Some(live) = lock(&self.live).take() else {
            return false;
        };
        world.trace.event(HOST, format_args!("crash {crash:?}"));
        match crash {
            Crash::Process => world.network.reset(HOST),
            _ => world.network.vanish(HOST),
        }
        live.bus.stop();
        drop(live.repository);
        self.storage.crash(crash);
        true
    }
}

/// Starts it and keeps trying.
pub(crate) async fn start(world: &Arc<World>) {
    let machine = &world.repository;
    loop {
        let bus = world.dial(HOST);
        let options = RepositoryOptions {
            storage: Arc::new(machine.storage.clone()),
            store: StoreOptions {
                segment_bytes: machine.segment_bytes,
            },
            in_tasks: true,
            ..RepositoryOptions::new("/repository")
        };
        let network: Arc<dyn Bus> = match world.options.plant {
            Plant::LostAtRepository => Arc::new(Leaky(bus.clone())),
            _ => Arc::new(bus.clone()),
        };
        match Repository::start(options, network).await {
            Ok(repository) => {
                let counts = repository.store().counts();
                world
                    .trace
                    .event(HOST, format_args!("lives, with {} records", counts.records));
                *lock(&machine.live) = Some(Live { repository, bus });
                return;
            }
            Err(error) => {
                world
                    .trace
                    .event(HOST, format_args!("does not start: {error}"));
                bus.stop();
                world.network.reset(HOST);
                machine.storage.crash(Crash::Process);
                sleep(START_AGAIN).await;
            }
        }
    }
}
