//! Those who follow the back-end network and keep something of it for good: as faults and checks
//! see them, all alike.

use std::sync::Arc;

use selvedge_journal::testing::{Crash, FaultyStorage};

use crate::world::World;
use crate::{repository, server, thresholds, transactions};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    Repository,
    Transactions,
    Thresholds,
}

impl Keeper {
    pub(crate) const ALL: [Keeper; 3] =
        [Keeper::Repository, Keeper::Transactions, Keeper::Thresholds];

    /// As the network names it.
    pub(crate) fn host(self) -> &'static str {
        match self {
            Self::Repository => repository::HOST,
            Self::Transactions => transactions::HOST,
            Self::Thresholds => thresholds::HOST,
        }
    }

    /// Its machine's disk, where it is the simulation's.
    pub(crate) fn storage(self, world: &World) -> Option<&FaultyStorage> {
        match self {
            Self::Repository => Some(&world.repository.storage),
            Self::Transactions => None,
            Self::Thresholds => Some(&world.thresholds.storage),
        }
    }

    /// Its process ends at this instant; false if there is none.
    pub(crate) fn crash(self, world: &World, crash: Crash) -> bool {
        match self {
            Self::Repository => world.repository.crash(world, crash),
            Self::Transactions => world.transactions.crash(world, crash),
            Self::Thresholds => world.thresholds.crash(world, crash),
        }
    }

    /// Starts it and keeps trying.
    pub(crate) async fn start(self, world: &Arc<World>) {
        match self {
            Self::Repository => repository::start(world).await,
            Self::Transactions => transactions::start(world).await,
            Self::Thresholds => server::start(world.clone(), world.thresholds.clone()).await,
        }
    }

    /// Whether its process is there.
    pub(crate) fn lives(self, world: &World) -> bool {
        match self {
            Self::Repository => world.repository.store().is_some(),
            Self::Transactions => world.transactions.lives(),
            Self::Thresholds => world.thresholds.node().is_some(),
        }
    }
}
