//! One thread's loop over UDP.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::Clock;
use super::batch::Batch;
use crate::authority::Authority;
use crate::counts::Count;
use crate::respond::{Reply, Responder, Via};

/// Answers until it is told to stop.
pub(super) fn run(
    socket: &UdpSocket,
    service: SocketAddr,
    authority: Arc<Authority>,
    stopping: &AtomicBool,
    seed: u64,
) {
    let mut responder = Responder::new(authority);
    let mut batch = Batch::new();
    let mut random = seed;
    let clock = Clock::new();
    let mut failing = false;
    while !stopping.load(Relaxed) {
        let count = match batch.receive(socket) {
            Ok(count) => {
                failing = false;
                count
            }
            Err(error) => {
                // Told once, not for each of many; the next may be well.
                if !failing {
                    tracing::warn!(%service, %error, "cannot receive queries");
                    std::thread::sleep(super::STOP_LATENCY);
                }
                failing = true;
                continue;
            }
        };
        let now = clock.now();
        for at in 0..count {
            let (message, from, out) = batch.message(at);
            random = next(random);
            let Some(message) = message else {
                responder.count(Count::Malformed);
                continue;
            };
            let reply = responder.respond(message, from, Via::Udp(service), now, random, out);
            if reply == Reply::Send {
                batch.answered(from);
            }
        }
        for _ in 0..batch.send(socket) {
            responder.count(Count::Unsent);
        }
        responder.hand_in();
    }
}

/// The next of a row of numbers that nobody needs to be unable to guess (SplitMix64).
fn next(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
