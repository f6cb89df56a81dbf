//! What the repository is compared with: a subscriber that keeps everything, by position, over its own restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use selvedge_bus::{Bus, Event, Subscribe, TcpBus};
use selvedge_identity::{Epoch, Position, ServerName};
use tokio::sync::Notify;

use crate::world::{World, lock};

/// The witness, as the network names it.
pub(crate) const HOST: &str = "witness";

/// What it keeps on its disk.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) kept: Mutex<Kept>,
    /// Told to restart.
    pub(crate) restart: Notify,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) records: BTreeMap<(ServerName, Epoch), BTreeMap<u64, Bytes>>,
    /// Records that it was told are gone: (server, epoch, from, to).
    pub(crate) gaps: Vec<(ServerName, Epoch, u64, u64)>,
    next: BTreeMap<ServerName, (Epoch, u64)>,
}

/// Follows everything, for ever.
pub(crate) async fn run(world: Arc<World>) {
    loop {
        let bus = world.dial(HOST);
        let from = {
            let kept = lock(&world.witness.kept);
            let position = |(server, (epoch, sequence)): (&ServerName, &(Epoch, u64))| Position {
                server: server.clone(),
                epoch: *epoch,
                sequence: *sequence,
            };
            kept.next.iter().map(position).collect()
        };
        world.trace.event(HOST, format_args!("starts"));
        let restart = world.witness.restart.notified();
        tokio::pin!(restart);
        tokio::select! {
            biased;
            () = restart => {}
            () = follow(&world, &bus, from) => {}
        }
        bus.stop();
        world.network.reset(HOST);
    }
}

async fn follow(world: &World, bus: &TcpBus, from: Vec<Position>) {
    let request = Subscribe::oldest(HOST).from(from).reports();
    let Ok(mut subscription) = bus.subscribe(request).await else {
        return;
    };
    while let Some(event) = subscription.next().await {
        take(world, event);
    }
}

fn take(world: &World, event: Event) {
    let mut kept = lock(&world.witness.kept);
    match event {
        Event::Batch(batch) => {
            let end = batch.end();
            let known = kept
                .records
                .entry((batch.server.clone(), batch.epoch))
                .or_default();
            for (sequence, payload) in (batch.first..).zip(&batch.records) {
                match known.get(&sequence) {
                    None => {
                        known.insert(sequence, payload.clone());
                    }
                    Some(before) if before == payload => {}
                    Some(_) => world.trace.violation(format!(
                        "{}/{}/{sequence} came twice and not the same",
                        batch.server, batch.epoch
                    )),
                }
            }
            kept.next.insert(batch.server, (batch.epoch, end));
        }
        Event::Gap {
            server,
            epoch,
            from,
            to,
        } => {
            world
                .trace
                .event(HOST, format_args!("gap {server}/{epoch} {from}..{to}"));
            kept.next.insert(server.clone(), (epoch, to));
            kept.gaps.push((server, epoch, from, to));
        }
        Event::Joined { server, epoch, .. } => {
            world
                .trace
                .event(HOST, format_args!("{server} is there, in {epoch}"));
        }
        Event::Left { server } => {
            world.trace.event(HOST, format_args!("{server} has left"));
        }
    }
}
