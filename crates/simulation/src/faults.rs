//! What goes wrong, and when. Each seed has its own choice of kinds and its own pace, so that some
//! runs are calm and some are terrible in one way only.

pub(crate) mod keepers;

use std::fmt::Debug;
use std::sync::Arc;

use selvedge_journal::testing::Crash;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::random::Random;
use crate::server;
use crate::witness;
use crate::world::{HUB, World, lock};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillProcess,
    StopMachine,
    TearMachine,
    CrashHub,
    CutServer,
    CutHub,
    BreakLinks,
    RestartWitness,
    JumpClock,
    FailDisk,
    FillDisk,
    StallDisk,
    ForgetJars,
}

const ALL: [Fault; 13] = [
    Fault::KillProcess,
    Fault::StopMachine,
    Fault::TearMachine,
    Fault::CrashHub,
    Fault::CutServer,
    Fault::CutHub,
    Fault::BreakLinks,
    Fault::RestartWitness,
    Fault::JumpClock,
    Fault::FailDisk,
    Fault::FillDisk,
    Fault::StallDisk,
    Fault::ForgetJars,
];

/// Makes things go wrong until the visits are over; then waits until what it began has ended.
pub(crate) async fn run(world: Arc<World>) {
    let random = Random::new(world.seed, "faults");
    let strike = |kind, random: &mut Random| strike(world.clone(), kind, random.split());
    at_a_pace(&world, random, "servers", &ALL, strike).await;
}

/// Some of the kinds, at the pace that chance gives them.
async fn at_a_pace<Kind: Copy + Debug, Strike: Future<Output = ()> + Send + 'static>(
    world: &World,
    mut random: Random,
    whose: &str,
    all: &[Kind],
    strike: impl Fn(Kind, &mut Random) -> Strike,
) {
    let kinds = all.iter().copied().filter(|_| random.per_mille(350));
    let kinds: Vec<Kind> = kinds.collect();
    let pause_ms = random.between(100, 900);
    world.trace.event(
        "faults",
        format_args!("of {whose}: {kinds:?}, about every {pause_ms} ms"),
    );
    if kinds.is_empty() {
        return;
    }
    let mut over = world.visits_over.subscribe();
    let mut under_way = JoinSet::new();
    loop {
        let pause = random.ms(pause_ms / 2, pause_ms * 3 / 2);
        if timeout(pause, over.wait_for(|over| *over)).await.is_ok() {
            break;
        }
        while under_way.try_join_next().is_some() {}
        let kind = kinds[random.index(kinds.len())];
        under_way.spawn(strike(kind, &mut random));
    }
    while under_way.join_next().await.is_some() {}
}

async fn strike(world: Arc<World>, kind: Fault, mut random: Random) {
    let at = random.index(world.servers.len());
    let server = &world.servers[at];
    let name = &server.host;
    world.ledger.book().faults += 1;
    world
        .trace
        .event("faults", format_args!("{kind:?}, {name} if any"));
    let long = random.ms(20, 1500);
    match kind {
        Fault::KillProcess | Fault::StopMachine | Fault::TearMachine => {
            if server.node().is_none() {
                return;
            }
            server.crash(
                &world,
                match kind {
                    Fault::KillProcess => Crash::Process,
                    Fault::StopMachine => Crash::Forget,
                    _ => Crash::Torn {
                        seed: random.next(),
                    },
                },
            );
            sleep(long).await;
            server::start(world.clone(), server.clone()).await;
        }
        Fault::CrashHub => {
            let Some(hub) = lock(&world.hub).take() else {
                return;
            };
            world.trace.event(HUB, format_args!("crash"));
            hub_upset(&world);
            match random.per_mille(500) {
                true => world.network.reset(HUB),
                false => world.network.vanish(HUB),
            }
            hub.stop().await;
            sleep(long).await;
            world.start_hub();
            hub_upset(&world);
        }
        Fault::CutServer => {
            server.upset();
            world.network.cut(name);
            sleep(long).await;
            world.network.heal(name);
            server.upset();
        }
        Fault::CutHub => {
            hub_upset(&world);
            world.network.cut(HUB);
            sleep(long).await;
            world.network.heal(HUB);
            hub_upset(&world);
        }
        Fault::BreakLinks => {
            server.upset();
            world.network.reset(name);
        }
        Fault::RestartWitness => {
            world.network.vanish(witness::HOST);
            world.witness.restart.notify_one();
        }
        Fault::JumpClock => {
            let ns = random.between(0, 200_000_000_000_000).cast_signed();
            server.clock.jump(ns - 100_000_000_000_000);
        }
        Fault::FailDisk => {
            server.upset();
            match random.per_mille(500) {
                true => server.storage.fail_writes(1 + random.below(3) as u32),
                false => server.storage.fail_syncs(1 + random.below(3) as u32),
            }
        }
        Fault::FillDisk => {
            server.upset();
            server.storage.set_full(true);
            sleep(long).await;
            server.storage.set_full(false);
            server.upset();
        }
        Fault::StallDisk => {
            *lock(&server.stalled_until) = Some(Instant::now() + long);
        }
        Fault::ForgetJars => {
            world.gateways[random.index(world.gateways.len())].forget();
        }
    }
}

fn hub_upset(world: &World) {
    *lock(&world.hub_upset) = Some(Instant::now());
}

/// Undoes whatever is still wrong.
pub(crate) async fn heal(world: &Arc<World>) {
    world.trace.event("faults", format_args!("all is healed"));
    if world.hub().is_none() {
        world.start_hub();
    }
    hub_upset(world);
    world.network.heal(HUB);
    for server in &world.servers {
        world.network.heal(&server.host);
        server.storage.set_full(false);
        server.storage.fail_writes(0);
        server.storage.fail_syncs(0);
        if server.node().is_none() {
            // The machine restarts: whatever an interrupted start left open is gone.
            server.storage.crash(Crash::Process);
            world.network.reset(&server.host);
            server::start(world.clone(), server.clone()).await;
        }
    }
    keepers::heal(world).await;
}
