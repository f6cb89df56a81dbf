//! Alone in its process: it takes a processor away, which other tests would notice.

use std::time::{Duration, Instant};

use selvedge_lab::{Pause, Pulse, possible};

/// Whoever is before the thread that watches stands for the machine's owner, who takes it away.
#[test]
fn a_processor_that_is_taken_away_is_seen_to_stand_still() {
    if let Err(error) = possible() {
        eprintln!("skipped: {error}");
        return;
    }
    let pulse = Pulse::start(Duration::from_millis(1)).expect("threads before all others");
    let before = Instant::now();
    let count = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let mut taker = std::process::Command::new("chrt");
    taker.args(["--fifo", "99", "sh", "-c", count]);
    assert!(taker.status().expect("it ran").success());
    let took = before.elapsed();
    let pauses = pulse.between(before, Instant::now());
    let still: Duration = pauses.iter().map(Pause::length).sum();
    assert!(still > took / 2, "{still:?} of {took:?}: {pauses:?}");
}
