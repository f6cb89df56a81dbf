//! How long a hop takes: read an identifier, advance it, write it. Aim: below 100 ns.
//!
//! `cargo run --release -p selvedge-identity --example hop` prints nanoseconds for the whole and
//! for its parts, at the default shape, as the best of several rounds (the machine is shared).

use std::hint::black_box;
use std::time::Instant;

use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

const ROUNDS: u32 = 2_000;
const HOPS_IN_ROUND: u32 = 1_000;

fn main() {
    let shape = Shape::default();
    let interaction = |n: u8| Interaction::from_random([n.wrapping_mul(37); 8]);
    let mut id = RequestIdentifier::root(
        Origin::new(1_800_000_000_000, [7; 10]),
        interaction(1),
        shape,
    );
    for n in 2..=9 {
        id = id.advance(interaction(n), shape);
    }
    let header = id.encode();
    let own = interaction(99);
    println!("{} bytes: {header}", header.len());
    report("parse", || {
        RequestIdentifier::parse(black_box(header.as_bytes()))
    });
    report("advance", || black_box(&id).advance(black_box(own), shape));
    report("encode", || black_box(&id).encode());
    report("hop", || {
        let inbound =
            RequestIdentifier::parse(black_box(header.as_bytes())).expect("it was written");
        inbound.advance(black_box(own), shape).encode()
    });
}

fn report<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut best_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..HOPS_IN_ROUND {
            // By reference: moving the result into the box would be measured with it.
            black_box(&work());
        }
        let ns = start.elapsed().as_nanos() as f64 / f64::from(HOPS_IN_ROUND);
        best_ns = best_ns.min(ns);
    }
    println!("{name:8} {best_ns:6.1} ns");
}
