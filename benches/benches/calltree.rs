//! Tree building: entries a second, in one batch and one by one, beside a plain sort of the same
//! entries in the same run.
//!
//! Three loads: many trees of two hundred entries, as they come from a day's requests; one deep and
//! one wide tree of a million calls. Each is built from entries in the order of their journals and
//! from shuffled ones: in one batch, in pieces of a hundred as a bus brings them, and one by one.
//! Making and dropping the entries is not timed; making the tree is.
//!
//! What was found (a shared machine of two cores; its speed changes by half within minutes, so only
//! rows of one minute compare):
//! - A tree that stays in the cache costs instructions, not memory: counted by callgrind, an entry
//!   of a batch took 945 to place and 680 in the tree. The names of clocks were hashed (180) and
//!   sorted (60), a group's chain compared and copied in general ways (310), what stays in the
//!   cache looked ahead (100), and every pair of clocks looked at in each tree (220). 620 and 560
//!   are left, of which some 170 are the clocks' corrections.
//! - A million calls are 600 MB of observations of some 300 bytes: what counts is memory. A batch
//!   is put in order by depth and caller first, so callers come before those whom they called and
//!   siblings together, and is looked up so far ahead that misses overlap. So are the entries of
//!   nodes when the tree is made. Sampled by perf, of 370 ns an entry (wide, shuffled): 45 the
//!   kernel clearing fresh pages, 65 the observation's lines, 30 slots of the index, 25 groups, 45
//!   nodes' entries; the rest is spread, none of it above 15.
//! - A group is one line of a cache, and every line that placing reads is looked up ahead.
//! - Observations and entries lie in pieces that never move: one by one and in pieces no copy of
//!   everything at each doubling is made. Groups are small and looked up often: in pieces, too,
//!   small trees were a sixth slower (a million calls that come in pieces: faster or slower by an
//!   eighth, row by row).
//! - Two rows below say what fetching each observation once and clearing fresh pages cost alone:
//!   some 35 to 50 ns each, and in pieces or one by one an entry pays both beside its placing.
//! - One by one, a shuffled entry waits for three misses in a row, each some 140 ns: itself in the
//!   caller's memory, a slot of the index, the group in it. `add` says what became of the entry, so
//!   it cannot put off the work and let the misses of several overlap, as `extend` does.
//!   Reading all ancestors' groups ahead, not the caller's alone, made it slower.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use rustix::time::{ClockId, clock_gettime};
use selvedge_calltree::{Handle, Observation, Place, TreeBuilder};
use selvedge_entry::{Direction, Outcome, Text, Timestamp};
use selvedge_identity::{
    Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, StackId,
};

/// How calls hang together.
#[derive(Clone, Copy)]
enum Shape {
    /// Each was made by one of the twenty before it: some hundred thousand levels of a million.
    Deep,
    /// Each was made by any before it: some forty levels, most calls of a caller far away.
    Wide,
}

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: usize = 30;
const ROUNDS: usize = 3;
/// How many entries come at a time where they come in pieces.
const PIECE: usize = 100;

fn main() {
    println!("tree building, entries/s of core time (best of {ROUNDS})");
    println!(
        "{:<42}{:>12}{:>12}{:>12}{:>12}",
        "", "batch", "in pieces", "one by one", "plain sort"
    );
    limits();
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let mut random = Rng::with_seed(1);
    for (name, trees, calls, shape) in [
        ("5,000 trees of 100 calls", 5000, 100, Shape::Deep),
        ("1 deep tree of 1,000,000 calls", 1, 1_000_000, Shape::Deep),
        ("1 wide tree of 1,000,000 calls", 1, 1_000_000, Shape::Wide),
    ] {
        for shuffled in [false, true] {
            let order = if shuffled { "shuffled" } else { "in order" };
            let label = format!("{name}, {order}");
            if only.as_ref().is_some_and(|only| !label.contains(only)) {
                continue;
            }
            let mut load: Vec<(Origin, Vec<Observation>)> = (0..trees)
                .map(|at| tree(at, calls, shape, &mut random))
                .collect();
            if shuffled {
                load.iter_mut()
                    .for_each(|(_, entries)| random.shuffle(entries));
            }
            let entries: usize = load.iter().map(|(_, entries)| entries.len()).sum();
            let batch = best(&load, TreeBuilder::batch);
            let single = best(&load, |origin, entries| {
                let mut builder = TreeBuilder::new(origin);
                for entry in entries {
                    builder.add(entry);
                }
                builder
            });
            let pieces = best(&load, |origin, entries| {
                let mut builder = TreeBuilder::new(origin);
                let mut entries = entries.into_iter();
                while entries.len() > 0 {
                    builder.extend(entries.by_ref().take(PIECE));
                }
                builder
            });
            let sort = sort(&load);
            let rate =
                |time: Duration| format!("{:.2} M", entries as f64 / time.as_secs_f64() / 1e6);
            println!(
                "{label:<42}{:>12}{:>12}{:>12}{:>12}",
                rate(batch),
                rate(pieces),
                rate(single),
                rate(sort)
            );
            let ratio = |time: Duration| sort.as_secs_f64() / time.as_secs_f64();
            println!(
                "| tree building, {label}: entries/s in a batch; in pieces; one by one | {}; {}; {} | plain sort {} | {:.2}; {:.2}; {:.2} |",
                rate(batch),
                rate(pieces),
                rate(single),
                rate(sort),
                ratio(batch),
                ratio(pieces),
                ratio(single)
            );
        }
    }
}

fn best(
    load: &[(Origin, Vec<Observation>)],
    build: impl Fn(Origin, Vec<Observation>) -> TreeBuilder,
) -> Duration {
    best_of(load, |entries| {
        let mut built = Vec::with_capacity(entries.len());
        let start = core_time();
        for (origin, entries) in entries {
            let builder = build(origin, entries);
            let tree = builder.tree();
            assert!(tree.is_complete(), "{:?}", tree.flags());
            black_box(tree.len());
            drop(tree);
            built.push(builder);
        }
        core_time() - start
    })
}

fn sort(load: &[(Origin, Vec<Observation>)]) -> Duration {
    best_of(load, |mut entries| {
        let start = core_time();
        for (_, entries) in &mut entries {
            entries
                .sort_unstable_by_key(|entry| (entry.place.depth(), entry.place.own().to_bits()));
            black_box(entries.len());
        }
        core_time() - start
    })
}

/// The best round's time. Trees come a hundred at a time, so that the memory of those before is
/// used again.
fn best_of(
    load: &[(Origin, Vec<Observation>)],
    run: impl Fn(Vec<(Origin, Vec<Observation>)>) -> Duration,
) -> Duration {
    let round = || load.chunks(100).map(|some| run(some.to_vec())).sum();
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

/// What memory alone allows: each of two million records of an observation's size fetched once in
/// random order, and as many fresh ones written.
fn limits() {
    const LINE: usize = 64;
    const PAGE: usize = 4096;
    const RECORDS: usize = 2_000_000;
    let size = size_of::<Observation>();
    let mut order: Vec<u32> = (0..RECORDS as u32).collect();
    Rng::with_seed(2).shuffle(&mut order);
    let (mut fetched, mut cleared) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let start = core_time();
        let mut records = vec![0u8; RECORDS * size];
        records.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        cleared = cleared.min(core_time() - start);
        let start = core_time();
        let sum = order.iter().fold(0u8, |sum, &record| {
            let from = record as usize * size;
            let lines = records[from..from + size].iter().step_by(LINE);
            lines.fold(sum, |sum, byte| sum.wrapping_add(*byte))
        });
        black_box(sum);
        fetched = fetched.min(core_time() - start);
    }
    for (what, time) in [
        ("fetching each once, shuffled", fetched),
        ("clearing their pages", cleared),
    ] {
        let rate = RECORDS as f64 / time.as_secs_f64() / 1e6;
        println!("limit: 2,000,000 records of {size} bytes, {what}: {rate:.2} M/s");
    }
}

/// Time this thread has spent on a core: a busy machine does not count.
fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One request of `calls` calls over [`SERVICES`] services, both sides logged; default shape.
fn tree(number: usize, calls: usize, shape: Shape, random: &mut Rng) -> (Origin, Vec<Observation>) {
    let origin = Origin::new(number as u64, [3; 10]);
    let text = |kind: &str, at: usize| -> Text { Arc::from(format!("{kind}-{at}")) };
    let services: Vec<Text> = (0..SERVICES).map(|at| text("service", at)).collect();
    let hosts: Vec<Text> = (0..SERVICES).map(|at| text("host", at)).collect();
    let action: Text = "GET /".into();
    let servers: Vec<ServerName> = services
        .iter()
        .map(|name| ServerName::new(name).expect("a name"))
        .collect();
    let mut sequences = [0u64; SERVICES];
    let mut made: Vec<(RequestIdentifier, usize)> = Vec::with_capacity(calls);
    let mut entries = Vec::with_capacity(calls * 2);
    for at in 0..calls {
        let parent = (at > 0).then(|| match shape {
            Shape::Deep => at - 1 - random.usize(..at.min(20)),
            Shape::Wide => random.usize(..at),
        });
        let id = Interaction::from_random(random.u64(..).to_be_bytes());
        let depth = parent.map_or(0, |parent| made[parent].0.depth() + 1);
        let mut stack: Vec<StackId> =
            parent.map_or(Vec::new(), |parent| made[parent].0.stack().to_vec());
        stack.push(StackId::of(id, 4));
        let stack = &stack[stack.len().saturating_sub(6)..];
        let identifier =
            RequestIdentifier::from_parts(origin, depth, 6, stack).expect("of the default shape");
        let service = random.usize(..SERVICES);
        let caller = parent.map_or(0, |parent| made[parent].1);
        made.push((identifier.clone(), service));
        let sides = [
            (Direction::Outbound, caller, service),
            (Direction::Inbound, service, caller),
        ];
        for (direction, own, peer) in sides {
            if direction == Direction::Outbound && parent.is_none() {
                continue;
            }
            sequences[own] += 1;
            entries.push(Observation {
                handle: Handle::Entry(Position {
                    server: servers[own].clone(),
                    epoch: Epoch {
                        counter: 1,
                        random: (own as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    },
                    sequence: sequences[own],
                }),
                place: Place::new(
                    &identifier,
                    (direction == Direction::Outbound).then_some(id),
                ),
                direction,
                ignored_hop: false,
                one_way: false,
                outcome: Outcome::Ok,
                status: 200,
                service: services[own].clone(),
                host: hosts[own].clone(),
                action: action.clone(),
                peer: Some(services[peer].clone()),
                peer_host: None,
                generated: None,
                at: Timestamp(
                    at as i64 * 1000
                        + if direction == Direction::Inbound {
                            100
                        } else {
                            0
                        },
                ),
                head_ns: Some(if direction == Direction::Inbound {
                    500
                } else {
                    700
                }),
                duration_ns: Some(800),
                work: Some(1),
                error: None,
                details: None,
            });
        }
    }
    (origin, entries)
}
