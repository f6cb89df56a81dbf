//! The fleet that the tests here share.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_identity::KeyRing;
use selvedge_lab::{Lab, Plan, possible};
use selvedge_race::client::{ClientOptions, Raced, race};
use selvedge_race::{
    Answers, HostClock, Master, MasterOptions, Outlets, Pacer, Races as _, Replica, ReplicaAddress,
    ReplicaOptions, RunningMaster, RunningReplica, SPIN, Serving,
};

pub(crate) const MS: i64 = 1_000_000;

/// From the master to each site, one way.
pub(crate) const TO_SITES: [f64; 5] = [10.0, 20.0, 30.0, 45.0, 60.0];

/// From each site to each place of clients, one way. The nearest is nearer by 15 ms and more: what a
/// busy machine adds must not decide.
pub(crate) const TO_CLIENTS: [[f64; 4]; 5] = [
    [5.0, 40.0, 70.0, 80.0],
    [25.0, 6.0, 50.0, 75.0],
    [45.0, 30.0, 8.0, 60.0],
    [60.0, 55.0, 25.0, 40.0],
    [80.0, 70.0, 33.0, 12.0],
];

/// Who is nearest to each.
pub(crate) const NEAREST: [&str; 4] = ["site-0", "site-1", "site-2", "site-4"];

/// Where the master hears.
const PORT: u16 = 7700;

pub(crate) struct Fleet {
    pub(crate) lab: Lab,
    pub(crate) master: RunningMaster,
    pub(crate) replicas: Vec<Option<RunningReplica>>,
    keys: Arc<KeyRing>,
    pacer: Arc<Pacer>,
}

/// Seconds off, and drifting.
pub(crate) fn clock(site: usize) -> HostClock {
    let offset = [3_000, -7_000, 0, 10_000, -1_500][site] * MS;
    let drift = [30e-6, -30e-6, 10e-6, -20e-6, 25e-6][site];
    HostClock::skewed(offset, drift)
}

pub(crate) fn plan() -> Plan {
    let mut plan = Plan::default().host("master", [10, 9, 0, 1]);
    for site in 0..5u8 {
        plan = plan.host(&format!("site-{site}"), [10, 9, 1, site + 1]);
    }
    for client in 0..4u8 {
        plan = plan.host(&format!("client-{client}"), [10, 9, 2, client + 1]);
        plan = plan.path("master", &format!("client-{client}"), 5.0);
    }
    for (site, ways) in TO_CLIENTS.iter().enumerate() {
        plan = plan.path("master", &format!("site-{site}"), TO_SITES[site]);
        for (client, way) in ways.iter().enumerate() {
            plan = plan.path(&format!("site-{site}"), &format!("client-{client}"), *way);
        }
    }
    plan
}

impl Fleet {
    /// None where there can be no lab.
    pub(crate) fn start(
        plan: &Plan,
        clocks: &[HostClock],
        change: impl FnOnce(&mut MasterOptions),
    ) -> Option<Self> {
        if let Err(error) = possible() {
            eprintln!("skipped: {error}");
            return None;
        }
        let lab = Lab::start(plan).expect("the lab starts");
        let keys = Arc::new(KeyRing::single([3; 32]));
        let pacer = Arc::new(Pacer::start(SPIN).expect("thread"));
        let listen = SocketAddr::from((lab.address("master"), PORT));
        let site = |site: usize| ReplicaAddress {
            site: format!("site-{site}"),
            address: SocketAddr::from((lab.address(&format!("site-{site}")), 7701)),
        };
        let mut options = MasterOptions::new(listen, (0..clocks.len()).map(site).collect());
        options.probe_every = Duration::from_millis(50);
        // A busy machine's noise leaves nobody out here.
        options.noise_max = 1_000 * MS;
        options.timing.delay = selvedge_race::Delay::Longest(30 * MS);
        change(&mut options);
        let master = Master {
            keys: Arc::clone(&keys),
            answers: Arc::new(Serving::new("http://master", None)),
            outlets: Arc::default(),
        };
        let master = lab
            .host("master")
            .inside(move || master.start(options))
            .expect("started");
        let mut fleet = Self {
            lab,
            master,
            replicas: Vec::new(),
            keys,
            pacer,
        };
        for (site, clock) in clocks.iter().enumerate() {
            let replica = fleet.replica(site, *clock);
            fleet.replicas.push(Some(replica));
        }
        fleet.until_racing(clocks.len());
        Some(fleet)
    }

    /// Starts a site. Its content is its name, served over HTTP.
    pub(crate) fn replica(&self, site: usize, clock: HostClock) -> RunningReplica {
        let name = format!("site-{site}");
        let address = self.lab.address(&name);
        let service = self.master.address();
        let (keys, pacer) = (Arc::clone(&self.keys), Arc::clone(&self.pacer));
        self.lab.host(&name.clone()).inside(move || {
            let content = content(address, &name);
            let answers: Arc<dyn Answers> =
                Arc::new(Serving::new(&format!("http://{content}"), Some(content)));
            let replica = Replica {
                keys,
                answers,
                outlets: Arc::new(Outlets::default()),
                pacer,
            };
            let options = ReplicaOptions {
                services: Some(vec![service]),
                clock,
                // As above: late by a busy machine is not silent.
                tolerance: 10 * MS,
                ..ReplicaOptions::new(&name, SocketAddr::from((address, 7701)))
            };
            replica.start(options).expect("started")
        })
    }

    pub(crate) fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{what}: {:#?}",
                self.master.status(2)
            );
            std::thread::yield_now();
        }
    }

    pub(crate) fn until_racing(&self, sites: usize) {
        self.until("sites race", |fleet| fleet.master.sites().len() == sites);
    }

    /// A race to a place of clients.
    pub(crate) fn race(&self, client: usize, change: impl FnOnce(&mut ClientOptions)) -> Raced {
        let mut options = ClientOptions::new(self.master.address());
        options.first = Duration::from_secs(5);
        change(&mut options);
        let raced = self
            .lab
            .host(&format!("client-{client}"))
            .inside(move || race(&options));
        raced.expect("raced")
    }

    /// Who wins most of five races. What a busy machine adds to a way now and then is as long as the
    /// ways here.
    pub(crate) fn winner(&self, client: usize) -> String {
        let win = |_| {
            let raced = self.race(client, |options| options.rest = Duration::from_millis(1));
            raced.winner().site.clone()
        };
        let wins: Vec<String> = (0..5).map(win).collect();
        let most = wins
            .iter()
            .max_by_key(|site| wins.iter().filter(|other| other == site).count());
        most.expect("five").clone()
    }

    /// A site's answer after the first, the middle one of five races.
    pub(crate) fn gap(&self, client: usize, site: &str) -> i64 {
        let gap = |_| {
            let raced = self.race(client, |_| {});
            let came = raced.came.iter().find(|came| came.answer.site == site);
            came.map_or(i64::MAX, |came| came.gap)
        };
        let mut gaps: Vec<i64> = (0..5).map(gap).collect();
        gaps.sort_unstable();
        gaps[2]
    }
}

/// A server whose content is its site's name.
fn content(address: Ipv4Addr, name: &str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("bound");
    let served = listener.local_addr().expect("address");
    let name = name.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = write!(
                stream,
                "HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
                name.len()
            );
        }
    });
    served
}
