//! Those beside the content servers that keep something for good: as faults see them, all alike.

use std::sync::Arc;

use selvedge_journal::testing::{Crash, FaultyStorage};

use crate::world::World;
use crate::{gateway, repository, server, thresholds, transactions};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    Repository,
    Transactions,
    Thresholds,
    Gateway(usize),
}

impl Keeper {
    pub(crate) const ALL: [Keeper; 5] = [
        Keeper::Repository,
        Keeper::Transactions,
        Keeper::Thresholds,
        Keeper::Gateway(0),
        Keeper::Gateway(1),
    ];

    /// As the network names it.
    pub(crate) fn host(self) -> &'static str {
        match self {
            Self::Repository => repository::HOST,
            Self::Transactions => transactions::HOST,
            Self::Thresholds => thresholds::HOST,
            Self::Gateway(at) => gateway::HOSTS[at],
        }
    }

    /// Its machine's disk, where it is the simulation's.
    pub(crate) fn storage(self, world: &World) -> Option<&FaultyStorage> {
        match self {
            Self::Repository => Some(&world.repository.storage),
            Self::Transactions => None,
            Self::Thresholds => Some(&world.thresholds.storage),
            Self::Gateway(at) => Some(&world.gateways[at].server.storage),
        }
    }

    /// Its process ends at this instant; false if there is none.
    pub(crate) fn crash(self, world: &World, crash: Crash) -> bool {
        match self {
            Self::Repository => world.repository.crash(world, crash),
            Self::Transactions => world.transactions.crash(world, crash),
            Self::Thresholds => world.thresholds.crash(world, crash),
            Self::Gateway(at) => world.gateways[at].crash(world, crash),
        }
    }

    /// Starts it and keeps trying.
    pub(crate) async fn start(self, world: &Arc<World>) {
        match self {
            Self::Repository => repository::start(world).await,
            Self::Transactions => transactions::start(world).await,
            Self::Thresholds => server::start(world.clone(), world.thresholds.clone()).await,
            Self::Gateway(at) => {
                server::start(world.clone(), world.gateways[at].server.clone()).await;
            }
        }
    }

    /// Whether its process is there.
    pub(crate) fn lives(self, world: &World) -> bool {
        match self {
            Self::Repository => world.repository.store().is_some(),
            Self::Transactions => world.transactions.lives(),
            Self::Thresholds => world.thresholds.node().is_some(),
            Self::Gateway(at) => world.gateways[at].server.node().is_some(),
        }
    }
}
