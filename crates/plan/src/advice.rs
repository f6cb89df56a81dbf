//! Where the limits are, and what to do about them.

use serde::Serialize;

use crate::Fleet;
use crate::cost::{Bus, Server};

/// The share of a link that is planned for: traffic comes in bursts, and a server that was away
/// catches up beside it.
const LINK_SHARE: f64 = 0.5;
/// Cores that a server may spend on knowing of the others.
const SERVER_CORES: f64 = 0.5;
/// Cores that the hub may take of its gateway.
const HUB_CORES: f64 = 1.0;
/// Below this many seconds a memory forgets a visit while it lasts.
const REACHES_S: f64 = 600.0;

/// Something that has an end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// What.
    pub what: &'static str,
    /// How much of what is planned for it is used; over 1: too much.
    pub used: f64,
    /// Requests a second of this fleet at which all of it is.
    pub rate_max: f64,
    /// It is there with the embedded hub.
    pub with_hub: bool,
    /// It is there with JetStream.
    pub with_jetstream: bool,
}

pub(crate) fn limits(fleet: &Fleet, server: &Server, hub: &Bus, jetstream: &Bus) -> Vec<Limit> {
    let limit = |what, used: f64, with_hub, with_jetstream| Limit {
        what,
        used,
        rate_max: fleet.rate / used,
        with_hub,
        with_jetstream,
    };
    let link = |bus: &Bus| bus.out.of_link(fleet).max(bus.into.of_link(fleet)) / LINK_SHARE;
    let hub_cores = hub.cores.unwrap_or(0.0);
    let mut limits = vec![
        limit("the hub's link, at half", link(hub), true, false),
        limit(
            "the hub's processor, at one core",
            hub_cores / HUB_CORES,
            true,
            false,
        ),
        limit(
            "the JetStream leader's link, at half",
            link(jetstream),
            false,
            true,
        ),
        limit(
            "a server's link, at half",
            server.into.of_link(fleet) / LINK_SHARE,
            true,
            true,
        ),
        limit(
            "a server's processor, at half a core",
            server.cores / SERVER_CORES,
            true,
            true,
        ),
    ];
    limits.sort_by(|a, b| b.used.total_cmp(&a.used));
    limits
}

pub(crate) fn advice(fleet: &Fleet, server: &Server, limits: &[Limit]) -> Vec<String> {
    let mut advice = vec![bus(fleet, limits)];
    let memory = &server.memory;
    if memory.reaches_s < REACHES_S {
        advice.push(format!(
            "a memory of {} reaches {:.0} s back: a visit that is idle for longer finds no history \
             on its servers; {} would hold ten minutes",
            bytes(fleet.memory_bytes_max as f64),
            memory.reaches_s,
            bytes(memory.bytes / memory.reaches_s * REACHES_S),
        ));
    }
    if fleet.state_bytes > 0.0 && fleet.sessions as f64 > memory.state_sessions {
        advice.push(format!(
            "there is room for the state of {:.0} sessions of {}: set state_bytes_max to {}",
            memory.state_sessions,
            fleet.sessions,
            bytes(fleet.sessions as f64 * (crate::measured::STATE_BYTES + fleet.state_bytes)),
        ));
    }
    advice
}

/// Which bus, and whether any is enough.
fn bus(fleet: &Fleet, limits: &[Limit]) -> String {
    let first = |of: fn(&Limit) -> bool| limits.iter().find(|limit| of(limit));
    let (Some(hub), Some(jetstream)) = (first(|l| l.with_hub), first(|l| l.with_jetstream)) else {
        return String::new();
    };
    if hub.used <= 1.0 {
        return format!(
            "the embedded hub carries it, up to {:.0} requests/s: then {} is full",
            hub.rate_max, hub.what
        );
    }
    if jetstream.used <= 1.0 {
        return format!(
            "the embedded hub does not carry it ({} is full at {:.0} requests/s); JetStream does, \
             up to {:.0} requests/s: then {} is full",
            hub.what, hub.rate_max, jetstream.rate_max, jetstream.what
        );
    }
    let best = match hub.used < jetstream.used {
        true => hub,
        false => jetstream,
    };
    format!(
        "all-to-all is too much for one fleet: {} is full at {:.0} requests/s; split the {} servers \
         into {:.0} fleets, each with a bus of its own and its share of the sessions",
        best.what,
        best.rate_max,
        fleet.servers,
        fleets(fleet, best)
    )
}

/// Into how many fleets to split it. The half of a fleet has half its requests, which is what each
/// server gets; its bus carries them to half the servers, a quarter of what flowed.
fn fleets(fleet: &Fleet, limit: &Limit) -> f64 {
    let is_a_servers = limit.with_hub && limit.with_jetstream;
    let needed = match is_a_servers {
        true => limit.used,
        false => limit.used.sqrt(),
    };
    needed.ceil().min(fleet.servers.max(1) as f64)
}

/// Bytes with the unit that fits.
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut bytes = bytes;
    let mut unit = 0;
    while bytes >= 1024.0 && unit + 1 < UNITS.len() {
        bytes /= 1024.0;
        unit += 1;
    }
    format!("{bytes:.0} {}", UNITS[unit])
}
