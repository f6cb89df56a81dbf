//! The response race: how exactly replicas hit their instant, beside a bare loop that spins for it on
//! the same machine in the same run; and how often the nearest site wins in the WAN lab, by the gap.
//!
//! Five sites in one process send five datagrams at one instant, so the fifth waits for four. The
//! bare loop is shown without and with that: it spins, and then sends five of the same size to a
//! socket that nobody reads meanwhile, as fast as one thread may. On a machine that does other work
//! all suffer alike, so the ratio is what counts.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use selvedge_identity::KeyRing;
use selvedge_lab::{Lab, Plan};
use selvedge_race::client::{ClientOptions, race};
use selvedge_race::wire::Silence;
use selvedge_race::{
    Answers, Asked, Call, Delay, HostClock, Kind, Master, MasterOptions, Outlets, Pacer,
    RaceStatus, Races as _, Replica, ReplicaAddress, ReplicaOptions, RunningMaster, RunningReplica,
    SPIN, Serving,
};

const SITES: usize = 5;
const RACES: usize = 400;
const LAB_RACES: usize = 200;
const MS: i64 = 1_000_000;

fn main() {
    let spinning: Vec<i64> = (0..RACES).flat_map(|_| bare(None)).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let sending: Vec<i64> = (0..RACES).flat_map(|_| bare(Some(&socket))).collect();
    let (late, spread) = replicas();
    let row = |name: &str, values: &[i64]| {
        println!(
            "{name:<28} p50 {:>8.1} µs  p99 {:>8.1} µs",
            micro(values, 50),
            micro(values, 99)
        );
    };
    row("bare spin loop, late by", &spinning);
    row("the same, 5 sends, late by", &sending);
    row("a site's answer, late by", &late);
    row("5 sites, first to last", &spread);
    for (share, name) in [(50, "p50"), (99, "p99")] {
        let (ours, beside) = (micro(&late, share), micro(&sending, share));
        println!(
            "| an answer of one of 5 sites after its instant, {name} | {ours:.1} µs | bare spin loop that sends 5: {beside:.1} µs (sends none: {:.1} µs) | {:.2} |",
            micro(&spinning, share),
            ours / beside.max(0.001)
        );
    }
    if let Err(error) = selvedge_lab::possible() {
        println!("the lab: skipped: {error}");
        return;
    }
    for gap_ms in [5.0, 1.0, 0.3] {
        let (nearest, lab) = lab(gap_ms);
        println!(
            "nearest by {gap_ms} ms wins {nearest} of {LAB_RACES} races in the lab ({} packets, late p50 {:?} p99 {:?})",
            lab.packets, lab.p50, lab.p99
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn micro(values: &[i64], share: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len().saturating_sub(1) * share / 100)
        .copied()
        .unwrap_or(0) as f64
        / 1e3
}

/// Sleeps until shortly before an instant, spins, and says how late it was; with a socket, how late
/// it was before each of as many datagrams as there are sites.
fn bare(socket: Option<&UdpSocket>) -> Vec<i64> {
    let clock = HostClock::default();
    let due = clock.now() + 20 * MS;
    std::thread::sleep(Duration::from_nanos((due - clock.now()).unsigned_abs()) - SPIN);
    while clock.now() < due {
        std::hint::spin_loop();
    }
    let Some(socket) = socket else {
        return vec![clock.now() - due];
    };
    let to = socket.local_addr().expect("an address");
    let mut late = Vec::with_capacity(SITES);
    for _ in 0..SITES {
        late.push(clock.now() - due);
        socket.send_to(&[0; 64], to).expect("sent");
    }
    for _ in 0..SITES {
        socket.recv(&mut [0; 64]).expect("received");
    }
    late
}

struct Fixed;

impl Answers for Fixed {
    fn answer(&self, _: &Asked<'_>) -> Option<Vec<u8>> {
        Some(vec![0; 64])
    }
}

fn replica(
    site: &str,
    listen: SocketAddr,
    answers: Arc<dyn Answers>,
    outlets: Arc<Outlets>,
    pacer: Arc<Pacer>,
    clock: HostClock,
) -> RunningReplica {
    let replica = Replica {
        keys: keys(),
        answers,
        outlets,
        pacer,
    };
    let options = ReplicaOptions {
        tolerance: 100 * MS,
        clock,
        ..ReplicaOptions::new(site, listen)
    };
    replica.start(options).expect("the replica starts")
}

fn keys() -> Arc<KeyRing> {
    Arc::new(KeyRing::single([1; 32]))
}

fn master(
    listen: SocketAddr,
    replicas: Vec<ReplicaAddress>,
    outlets: Arc<Outlets>,
) -> RunningMaster {
    let mut options = MasterOptions::new(listen, replicas);
    options.timing.delay = Delay::Longest(20 * MS);
    options.probe_every = Duration::from_millis(100);
    options.noise_max = 100 * MS;
    options.asks_per_second = 1_000;
    let master = Master {
        keys: keys(),
        answers: Arc::new(Fixed),
        outlets,
    };
    master.start(options).expect("the master starts")
}

fn wait(master: &RunningMaster, what: impl Fn(&RunningMaster) -> bool) {
    let start = std::time::Instant::now();
    while !what(master) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{:#?}",
            master.status(1)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How late each answer of the replicas of one process is, and how far apart those of a race are.
fn replicas() -> (Vec<i64>, Vec<i64>) {
    let outlets = Arc::new(Outlets::default());
    let pacer = Arc::new(Pacer::start(SPIN).expect("thread"));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut running = Vec::new();
    let mut addresses = Vec::new();
    for site in 0..SITES {
        let site = format!("site-{site}");
        let clock = HostClock::default();
        let replica = replica(
            &site,
            any,
            Arc::new(Fixed),
            Arc::clone(&outlets),
            Arc::clone(&pacer),
            clock,
        );
        addresses.push(ReplicaAddress {
            site,
            address: replica.address(),
        });
        running.push(replica);
    }
    let master = master(any, addresses, outlets);
    wait(&master, |master| master.sites().len() == SITES);
    let client = UdpSocket::bind(any).expect("bound");
    let (mut late, mut spread) = (Vec::new(), Vec::new());
    for _ in 0..RACES {
        let call = Call {
            kind: Kind::Dns,
            client: client.local_addr().expect("address"),
            service: master.address(),
            request: vec![0; 40],
            received: None,
            incumbent: None,
        };
        // The newest is this one, and all have said what became of it.
        let id = master.start(call).expect("a race starts").to_string();
        let done = |master: &RunningMaster| {
            let races = master.status(1).races;
            let said = |race: &RaceStatus| {
                race.sites
                    .iter()
                    .all(|site| site.silent != Some("nothing heard"))
            };
            races
                .first()
                .is_some_and(|race| race.race == id && said(race))
        };
        wait(&master, done);
        let status = master.status(1);
        let sites = &status.races[0].sites;
        late.extend(sites.iter().filter_map(|site| site.late));
        // By the machine's own clock: instants as the sites tell them differ by what their clocks do.
        let sent: Vec<i64> = sites.iter().filter_map(|site| site.late).collect();
        if let (Some(first), Some(last)) = (sent.iter().min(), sent.iter().max()) {
            spread.push(last - first);
        }
    }
    let silent: u64 = running
        .iter()
        .map(|replica| replica.counts().silent.iter().sum::<u64>())
        .sum();
    if silent > 0 {
        println!(
            "{silent} answers were not sent, of reasons {:?}",
            Silence::all().map(Silence::name)
        );
    }
    (late, spread)
}

/// How often the nearest of five sites wins; the second is farther by the gap. Clocks are seconds off
/// and drift.
fn lab(gap_ms: f64) -> (usize, selvedge_lab::Lateness) {
    let mut plan = Plan::default()
        .host("master", [10, 8, 0, 1])
        .host("client", [10, 8, 2, 1]);
    plan = plan.path("master", "client", 5.0);
    for site in 0..SITES {
        let name = format!("site-{site}");
        let number = u8::try_from(site).unwrap_or(0);
        plan = plan.host(&name, [10, 8, 1, number + 1]);
        plan = plan.path("master", &name, 10.0 + 12.0 * f64::from(number));
        plan = plan.path(&name, "client", 20.0 + gap_ms * f64::from(number));
    }
    let lab = Lab::start(&plan).expect("the lab starts");
    let pacer = Arc::new(Pacer::start(SPIN).expect("thread"));
    let mut addresses = Vec::new();
    let mut running = Vec::new();
    for site in 0..SITES {
        let name = format!("site-{site}");
        let address = SocketAddr::from((lab.address(&name), 7701));
        let pacer = Arc::clone(&pacer);
        addresses.push(ReplicaAddress {
            site: name.clone(),
            address,
        });
        running.push(lab.host(&name.clone()).inside(move || {
            let seconds = [3, -7, 0, 10, -2][site];
            let clock = HostClock::skewed(
                seconds * 1_000 * MS,
                if site % 2 == 0 { 30e-6 } else { -30e-6 },
            );
            let answers = Arc::new(Serving::new(&format!("http://{name}"), None));
            replica(&name, address, answers, Arc::default(), pacer, clock)
        }));
    }
    let listen = SocketAddr::from((lab.address("master"), 7700));
    let master = lab
        .host("master")
        .inside(move || master(listen, addresses, Arc::default()));
    wait(&master, |master| {
        let replicas = master.status(0).replicas;
        replicas
            .iter()
            .all(|replica| replica.racing && replica.exchanges >= 100)
    });
    let nearest = lab.host("client").inside(move || {
        let options = ClientOptions {
            rest: Duration::from_millis(20),
            ..ClientOptions::new(listen)
        };
        let won = |_: &usize| race(&options).is_ok_and(|raced| raced.winner().site == "site-0");
        (0..LAB_RACES).filter(won).count()
    });
    for replica in master.status(0).replicas {
        println!(
            "  {} noise {:.1} µs, bound {:.1} ms",
            replica.site,
            replica.noise.map_or(0.0, |noise| micro(&[noise], 50)),
            replica.bound.map_or(0.0, |bound| micro(&[bound], 50) / 1e3)
        );
    }
    let lateness = lab.lateness();
    drop(running);
    (nearest, lateness)
}
