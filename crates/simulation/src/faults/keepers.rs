//! What goes wrong with those who keep something. Drawn apart from the servers' faults, so that each
//! seed has both kinds in its own measure.

use std::sync::Arc;

use selvedge_journal::testing::Crash;
use tokio::time::sleep;

use crate::keepers::Keeper;
use crate::random::Random;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    Tear,
    Cut,
    Break,
    FailDisk,
    FillDisk,
}

const ALL: [Fault; 7] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Tear,
    Fault::Cut,
    Fault::Break,
    Fault::FailDisk,
    Fault::FillDisk,
];

/// Makes things go wrong until the visits are over; then waits until what it began has ended.
pub(crate) async fn run(world: Arc<World>) {
    let random = Random::new(world.seed, "faults of keepers");
    let strike = |kind, random: &mut Random| {
        let keeper = Keeper::ALL[random.index(Keeper::ALL.len())];
        strike(world.clone(), keeper, kind, random.split())
    };
    super::at_a_pace(&world, random, "keepers", &ALL, strike).await;
}

async fn strike(world: Arc<World>, keeper: Keeper, kind: Fault, mut random: Random) {
    let host = keeper.host();
    world.ledger.book().faults += 1;
    world.trace.event("faults", format_args!("{kind:?} {host}"));
    let long = random.ms(20, 1500);
    match kind {
        Fault::Kill | Fault::Stop | Fault::Tear => {
            let crash = match kind {
                Fault::Kill => Crash::Process,
                Fault::Stop => Crash::Forget,
                _ => Crash::Torn {
                    seed: random.next(),
                },
            };
            if keeper.crash(&world, crash) {
                sleep(long).await;
                keeper.start(&world).await;
            }
        }
        Fault::Cut => {
            world.network.cut(host);
            sleep(long).await;
            world.network.heal(host);
        }
        Fault::Break => world.network.reset(host),
        Fault::FailDisk => {
            let Some(storage) = keeper.storage(&world) else {
                return;
            };
            let count = 1 + random.below(3) as u32;
            match random.per_mille(500) {
                true => storage.fail_writes(count),
                false => storage.fail_syncs(count),
            }
        }
        Fault::FillDisk => {
            let Some(storage) = keeper.storage(&world) else {
                return;
            };
            storage.set_full(true);
            sleep(long).await;
            storage.set_full(false);
        }
    }
}

/// Undoes whatever is still wrong.
pub(crate) async fn heal(world: &Arc<World>) {
    for keeper in Keeper::ALL {
        world.network.heal(keeper.host());
        if let Some(storage) = keeper.storage(world) {
            storage.set_full(false);
            storage.fail_writes(0);
            storage.fail_syncs(0);
        }
        if !keeper.lives(world) {
            // The machine restarts: whatever an interrupted start left open is gone.
            if let Some(storage) = keeper.storage(world) {
                storage.crash(Crash::Process);
            }
            world.network.reset(keeper.host());
            keeper.start(world).await;
        }
    }
}

/// Stops each machine once more, when all is at rest, and starts it again.
pub(crate) async fn stop_all(world: &Arc<World>) {
    let mut random = Random::new(world.seed, "the last stop");
    for keeper in Keeper::ALL {
        let crash = match random.per_mille(500) {
            true => Crash::Forget,
            false => Crash::Torn {
                seed: random.next(),
            },
        };
        keeper.crash(world, crash);
        keeper.start(world).await;
    }
}
