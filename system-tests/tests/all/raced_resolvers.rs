//! Debian's resolvers, unmodified, on four sites of a wide-area network, each led to the nearest of
//! five servers by the race (C1, C6, C7, E5). Needs root.
//!
//! The lab holds packets for as long as their paths are, but a site whose process has to wait for
//! the machine misses its instant: sites run at a higher priority than all else. Still what is always
//! asked for has room (a gap of 15 ms); gaps of 1 ms and 0.3 ms are asked for by name, on a machine
//! that does nothing else, as in `chrt --rr 10 TEST --ignored raced_resolvers::resolvers_are_led`.
//!
//! A virtual machine's processors are taken away now and then, for longer than the gap. Races that
//! met such a pause do not count, whichever way they went, and others are run in their place: a
//! thread before all others on each processor tells (`selvedge_lab::Pulse`), not the outcome.

mod changes;
mod wan;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use selvedge_system_tests::{ResolverKind, run};

use self::wan::{CLIENTS, OFF_CLOCKS, ROOMY, TRUE_CLOCKS, Terms, Wan};

/// Whether there is a lab to be had, and all resolvers.
fn possible() -> bool {
    let lab = selvedge_lab::possible().map_err(|error| error.to_string());
    let unbound = Path::new("/usr/sbin/unbound").exists();
    let unbound = unbound
        .then_some(())
        .ok_or("there is no unbound".to_owned());
    match lab.and(unbound) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("skipped: {why}");
            false
        }
    }
}

/// A machine that is busy with other tests would be measured, and not the race: the lab and all its
/// hosts go before them, in a process of their own, one at a time.
fn ahead(test: &str) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let this = std::env::current_exe().expect("this test");
    let mut command = Command::new("chrt");
    command.args(["--rr", "10"]).arg(this);
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    let said = run(&mut command);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn resolvers_of_four_sites_are_each_led_to_the_nearest_of_five() {
    if possible() {
        ahead("raced_resolvers::in_a_roomy_network");
    }
}

#[test]
#[ignore = "run by the test before it, ahead of whatever else the machine does"]
fn in_a_roomy_network() {
    let wan = Wan::start(&ROOMY);
    let since = Instant::now();
    for (kind, led) in wan.race(ROOMY.gap, 5) {
        // There is room for pauses: those races count, too.
        let right = led.right + led.disturbed_right;
        let races = led.races + led.disturbed;
        assert_eq!(right, races, "{kind}: {:?}", wan.lab.lateness());
    }
    // One each to prove its address; none of BIND, which has its cookie by then.
    let resolvers = (CLIENTS * ResolverKind::ALL.len()) as u64;
    assert!(wan.count("messages_tcp") <= resolvers);
    assert_eq!(wan.count("malformed"), 0);
    wan.assert_none_unwanted(since);
}

/// The acceptance: 200 races of each resolver, gaps of 1 ms (all right) and 0.3 ms (99 of 100),
/// with true clocks and with clocks off by seconds that drift by 30 ppm.
#[test]
#[ignore = "tells gaps of 1 ms apart, which wants a machine with nothing else to do"]
fn resolvers_are_led_right_in_200_races_at_gaps_of_1_ms_and_less() {
    if !possible() {
        return;
    }
    let mut faults = Vec::new();
    for (gap, clocks, wrong_of_100) in [
        (1.0, TRUE_CLOCKS, 0),
        (1.0, OFF_CLOCKS, 0),
        (0.3, TRUE_CLOCKS, 1),
        (0.3, OFF_CLOCKS, 1),
    ] {
        // Knot waits for four round trips to a name server, then it comes over TCP: no more than
        // that may pass.
        let wan = Wan::start(&Terms {
            gap,
            farthest: 60.0,
            margin_ms: 2,
            // What holds up the whole machine holds up all sites alike.
            tolerance_us: 3000,
            clocks,
            ttl_s: 30,
        });
        println!("gap {gap} ms, clocks {clocks:?}");
        let since = Instant::now();
        for (kind, led) in wan.race(gap, 50) {
            println!("  {kind}: {led:?}");
            if (led.races - led.right) * 100 > led.races * wrong_of_100 {
                faults.push((gap, clocks, kind, led));
            }
        }
        println!("  {:?}, sites {:?} us", wan.lab.lateness(), wan.lateness());
        for name in [
            "raced",
            "messages_tcp",
            "races_learned",
            "raced_again",
            "raced_without",
        ] {
            println!("  {name}: {}", wan.count(name));
        }
        println!("  unwanted replies: {:?}", wan.unwanted_replies());
        wan.assert_none_unwanted(since);
        let resolvers = (CLIENTS * ResolverKind::ALL.len()) as u64;
        assert!(wan.count("messages_tcp") <= resolvers);
    }
    assert!(faults.is_empty(), "{faults:?}");
}
