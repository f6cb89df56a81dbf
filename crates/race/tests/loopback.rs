//! Master, replicas and client as they run, on this machine's loopback: who wins is left to the lab,
//! here it is who answers, and who must not.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_clock::Common;
use selvedge_identity::KeyRing;
use selvedge_race::client::{ClientError, ClientOptions, race};
use selvedge_race::wire::{
    Ask, COOKIE_LENGTH, ClientFrame, Forward, Frame, Header, Probe, Side, Silence, Wanted,
};
use selvedge_race::{
    Answers, Asked, ByKind, Call, Delay, Event, HostClock, Kind, Master, MasterOptions, Outlets,
    Pacer, Races as _, Refused, Replica, ReplicaAddress, ReplicaOptions, RunningMaster,
    RunningReplica, SPIN, Serving, Stamp, Timing, TransmitIdentifier,
};

const MS: i64 = 1_000_000;

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A replica answers with its own name.
struct Named;

impl Answers for Named {
    fn answer(&self, asked: &Asked<'_>) -> Option<Vec<u8>> {
        Some(
            format!(
                "{}:{}",
                asked.site.unwrap_or("master"),
                String::from_utf8_lossy(asked.request)
            )
            .into_bytes(),
        )
    }
}

struct Fleet {
    master: RunningMaster,
    replicas: Vec<RunningReplica>,
    keys: Arc<KeyRing>,
}

fn by_kind(url: &str) -> Arc<dyn Answers> {
    Arc::new(ByKind {
        dns: Some(Arc::new(Named)),
        client: Some(Arc::new(Serving::new(url, None))),
    })
}

impl Fleet {
    /// Replicas whose clocks are seconds off and drift, one each.
    fn start(clocks: &[HostClock], change: impl FnOnce(&mut MasterOptions)) -> Self {
        let keys = Arc::new(KeyRing::single([5; 32]));
        let outlets = Arc::new(Outlets::default());
        let pacer = Arc::new(Pacer::start(SPIN).expect("thread"));
        let mut addresses = Vec::new();
        let mut replicas = Vec::new();
        for (number, clock) in clocks.iter().enumerate() {
            let site = format!("site-{number}");
            let replica = Replica {
                keys: Arc::clone(&keys),
                answers: by_kind(&format!("http://{site}")),
                outlets: Arc::clone(&outlets),
                pacer: Arc::clone(&pacer),
            };
            let options = ReplicaOptions {
                clock: *clock,
                // A busy machine's scheduler is not what these tests are about.
                tolerance: i64::MAX,
                ..ReplicaOptions::new(&site, any())
            };
            let running = replica.start(options).expect("started");
            addresses.push(ReplicaAddress {
                site,
                address: running.address(),
            });
            replicas.push(running);
        }
        let mut options = MasterOptions::new(any(), addresses);
        options.probe_every = Duration::from_millis(20);
        // On a busy machine loopback is noisy.
        options.noise_max = 1_000 * MS;
        options.timing.delay = Delay::Constant(250 * MS);
        change(&mut options);
        let master = Master {
            keys: Arc::clone(&keys),
            answers: by_kind("http://master"),
            outlets,
        };
        let master = master.start(options).expect("started");
        Self {
            master,
            replicas,
            keys,
        }
    }

    fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{what}: {:#?}",
                self.master.status(5)
            );
            std::thread::yield_now();
        }
    }

    fn ready(self) -> Self {
        let all = self.replicas.len();
        self.until("all race", |fleet| fleet.master.sites().len() == all);
        self
    }

    fn call(&self, client: &UdpSocket) -> Call {
        Call {
            kind: Kind::Dns,
            client: client.local_addr().expect("address"),
            service: self.master.address(),
            request: b"who".to_vec(),
            received: None,
            incumbent: None,
        }
    }
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind(any()).expect("bound");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    socket
}

fn heard(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 1500];
    let (length, from) = socket.recv_from(&mut buffer).expect("an answer");
    (
        String::from_utf8_lossy(&buffer[..length]).into_owned(),
        from,
    )
}

fn skewed() -> Vec<HostClock> {
    vec![
        HostClock::skewed(10_000 * MS, 30e-6),
        HostClock::skewed(-7_000 * MS, -30e-6),
        HostClock::skewed(3_600_000 * MS, 0.0),
    ]
}

#[test]
fn every_replica_answers_the_client_at_the_instant_from_the_services_address() {
    let fleet = Fleet::start(&skewed(), |_| {}).ready();
    let client = client();
    let before = fleet.master.now();
    let id = fleet.master.start(fleet.call(&client)).expect("started");
    // A replica arms by one estimate and reports by a later one: both are within the widest bound
    // that it has about then.
    let mut widest = vec![0; fleet.replicas.len()];
    let mut widen = |fleet: &Fleet| {
        for (widest, replica) in widest.iter_mut().zip(&fleet.replicas) {
            let (estimate, clock) = replica.estimate().expect("known");
            *widest = estimate.bound_at(clock).max(*widest);
        }
    };
    fleet.until("it left the queue", |fleet| {
        widen(fleet);
        !fleet.master.status(1).races.is_empty()
    });
    let mut answers: Vec<String> = (0..3)
        .map(|_| {
            let (answer, from) = heard(&client);
            assert_eq!(from, fleet.master.address());
            answer
        })
        .collect();
    answers.sort();
    assert_eq!(answers, ["site-0:who", "site-1:who", "site-2:who"]);
    assert!(
        fleet.master.now() - before >= 250 * MS,
        "none before the delay"
    );
    fleet.until("all report", |fleet| {
        widen(fleet);
        fleet.master.status(1).races[0]
            .sites
            .iter()
            .all(|site| site.sent.is_some())
    });
    let race = &fleet.master.status(1).races[0];
    assert_eq!(race.race, id.to_string());
    assert!(race.instant >= before.0 + 250 * MS, "{race:#?}");
    for (site, widest) in race.sites.iter().zip(&widest) {
        assert!(
            site.sent.expect("sent") >= race.instant - 2 * widest,
            "± {widest}: {race:#?}"
        );
    }
}

#[test]
fn clocks_seconds_off_and_drifting_are_known_within_their_bounds() {
    let clocks = skewed();
    let fleet = Fleet::start(&clocks, |_| {}).ready();
    fleet.until("exchanges", |fleet| {
        fleet
            .master
            .status(0)
            .replicas
            .iter()
            .all(|replica| replica.exchanges > 60)
    });
    for (replica, clock) in fleet.replicas.iter().zip(&clocks) {
        let (estimate, _) = replica.estimate().expect("known");
        let before = fleet.master.now();
        let local = clock.now();
        let after = fleet.master.now();
        let told = estimate.common(local);
        let bound = estimate.bound_at(local);
        assert!(
            told >= before - bound && told <= after + bound,
            "{before:?} {told:?} {after:?} ± {bound}"
        );
    }
}

#[test]
fn our_client_takes_the_first_and_measures_the_rest_and_the_master_keeps_it() {
    let fleet = Fleet::start(&skewed(), |_| {}).ready();
    let raced = race(&ClientOptions::new(fleet.master.address())).expect("raced");
    assert_eq!(raced.came.len(), 3);
    assert!(raced.came.is_sorted_by_key(|came| came.gap) && raced.came[0].gap == 0);
    assert!(raced.took >= 249 * MS, "{}", raced.took);
    let winner = raced.winner().site.clone();
    assert_eq!(raced.winner().url, format!("http://{winner}"));
    raced.tell(Some(winner.clone())).expect("told");
    fleet.until("told", |fleet| {
        fleet.master.status(1).races[0].winner.as_ref() == Some(&winner)
    });
    let status = fleet.master.status(1);
    assert_eq!(
        (
            status.counts.outcomes,
            status.counts.dns_compared,
            status.counts.dns_right
        ),
        (1, 1, 1)
    );
    assert_eq!(status.races[0].evidence, Some("client"));
    raced.tell(None).expect("told");
    fleet.until("told twice", |fleet| {
        fleet.master.status(0).counts.unasked == 1
    });
}

#[test]
fn a_source_that_is_not_proven_gets_less_than_it_sent() {
    let fleet = Fleet::start(&skewed(), |_| {}).ready();
    let client = client();
    let ask = Ask {
        nonce: 1,
        cookie: [9; COOKIE_LENGTH],
        wanted: Wanted::Address,
        path: String::new(),
    };
    let question = ClientFrame::Ask(ask).encode();
    for _ in 0..10 {
        client
            .send_to(&question, fleet.master.address())
            .expect("sent");
        let mut buffer = [0; 1500];
        let (length, _) = client.recv_from(&mut buffer).expect("a challenge");
        assert!(matches!(
            ClientFrame::decode(&buffer[..length]),
            Some(ClientFrame::Challenge { .. })
        ));
        assert!(length < question.len());
    }
    let counts = fleet.master.status(0).counts;
    assert_eq!((counts.challenged, counts.races), (10, 0));
    // Another client's cookie proves nothing: it is of its address.
    let other = UdpSocket::bind("127.0.0.2:0").expect("bound");
    other
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    let mut cookies = Vec::new();
    for socket in [&client, &other] {
        socket
            .send_to(&question, fleet.master.address())
            .expect("sent");
        let mut buffer = [0; 1500];
        let (length, _) = socket.recv_from(&mut buffer).expect("a challenge");
        let Some(ClientFrame::Challenge { cookie, .. }) = ClientFrame::decode(&buffer[..length])
        else {
            panic!("no challenge");
        };
        cookies.push(cookie);
    }
    let stolen = Ask {
        nonce: 2,
        cookie: cookies[0],
        wanted: Wanted::Address,
        path: String::new(),
    };
    other
        .send_to(&ClientFrame::Ask(stolen).encode(), fleet.master.address())
        .expect("sent");
    let mut buffer = [0; 1500];
    let (length, _) = other.recv_from(&mut buffer).expect("a challenge");
    assert!(matches!(
        ClientFrame::decode(&buffer[..length]),
        Some(ClientFrame::Challenge { .. })
    ));
    assert_eq!(fleet.master.status(0).counts.races, 0);
}

#[test]
fn the_masters_signal_is_an_event_too_and_needs_no_clock() {
    let fleet = Fleet::start(&skewed(), |options| options.event = Event::Signal).ready();
    let client = client();
    fleet.master.start(fleet.call(&client)).expect("started");
    let mut answers: Vec<String> = (0..3).map(|_| heard(&client).0).collect();
    answers.sort();
    assert_eq!(answers, ["site-0:who", "site-1:who", "site-2:who"]);
    assert_eq!(fleet.master.status(1).races[0].event, "signal");
}

#[test]
fn when_all_replicas_are_silent_the_master_answers_and_the_reason_is_kept() {
    // With no delay every forward comes after its instant.
    let fleet = Fleet::start(&skewed(), |options| {
        options.timing = Timing {
            stamp: Stamp::Receipt,
            delay: Delay::Constant(0),
        };
    })
    .ready();
    let client = client();
    fleet.master.start(fleet.call(&client)).expect("started");
    assert_eq!(heard(&client).0, "master:who");
    let status = fleet.master.status(1);
    assert!(status.races[0].by_master);
    assert!(
        status.races[0]
            .sites
            .iter()
            .all(|site| site.silent == Some("late")),
        "{:#?}",
        status.races[0]
    );
    assert!(
        status
            .warning
            .is_some_and(|warning| warning.contains("not above the longest way"))
    );
    assert_eq!(status.counts.short_delays, 1);
}

#[test]
fn a_dead_replica_is_left_out_and_named_and_the_others_race_on() {
    let mut fleet = Fleet::start(&skewed(), |_| {}).ready();
    drop(fleet.replicas.pop());
    let client = client();
    // Before its silence is noticed it is still handed races, of which it says nothing.
    fleet.master.start(fleet.call(&client)).expect("started");
    let mut answers = [heard(&client).0, heard(&client).0];
    answers.sort();
    assert_eq!(answers, ["site-0:who", "site-1:who"]);
    fleet.until("left out", |fleet| fleet.master.sites().len() == 2);
    let status = fleet.master.status(0);
    let dead = status
        .replicas
        .iter()
        .find(|replica| !replica.racing)
        .expect("named");
    assert_eq!(
        (dead.site.as_str(), dead.left_out),
        ("site-2", Some("answers no probes"))
    );
    drop(fleet.replicas.pop());
    fleet.until("too few", |fleet| fleet.master.sites().len() == 1);
    assert_eq!(
        fleet.master.start(fleet.call(&client)),
        Err(Refused::TooFew)
    );
}

#[test]
fn frames_that_are_spoofed_replayed_past_or_far_make_no_answer() {
    let fleet = Fleet::start(&skewed()[..1], |options| options.replicas.clear());
    let replica = &fleet.replicas[0];
    let master = client();
    let victim = client();
    let forward = |at: i64| Forward {
        race: 1,
        identifier: TransmitIdentifier::At(Common(at)),
        handicap: 0,
        kind: Kind::Dns,
        client: victim.local_addr().expect("address"),
        service: fleet.master.address(),
        request: b"who".to_vec(),
    };
    let send = |frame: &Frame, epoch, sequence, keys: &KeyRing, site| {
        let bytes = frame.seal(Header { epoch, sequence }, site, keys);
        master.send_to(&bytes, replica.address()).expect("sent");
    };
    let hear = || {
        let mut buffer = [0; 1500];
        let (length, _) = master.recv_from(&mut buffer).expect("heard");
        Frame::open(&buffer[..length], Side::Replica, "site-0", &fleet.keys)
            .expect("opens")
            .1
    };
    let now = || fleet.master.now().0;
    // A master that the replica follows: its nonce, and a clock that is the master's.
    let mut probe = Probe {
        nonce: 0,
        sent: Common(0),
        estimate: None,
    };
    send(&Frame::Probe(probe), 7, 1, &fleet.keys, "site-0");
    let Frame::Echo(echo) = hear() else {
        panic!("no echo")
    };
    probe.nonce = echo.nonce;
    let offset = now() - replica_now();
    probe.estimate = Some(selvedge_clock::Estimate {
        at: echo.answered,
        offset,
        rate: 0.0,
        noise: 1,
        bound: 1,
    });
    send(&Frame::Probe(probe), 7, 2, &fleet.keys, "site-0");
    hear();

    let stranger = KeyRing::single([6; 32]);
    let good = Frame::Forward(forward(now() + 50 * MS));
    send(&good, 7, 3, &stranger, "site-0");
    send(&good, 7, 3, &fleet.keys, "site-1");
    send(&good, 8, 3, &fleet.keys, "site-0");
    send(&good, 7, 2, &fleet.keys, "site-0");
    master
        .send_to(b"SVR\x01nonsense", replica.address())
        .expect("sent");
    let bad = [
        (now() - MS, Silence::Late),
        (now() + 10_000 * MS, Silence::Far),
        (i64::MAX, Silence::Far),
    ];
    for (sequence, (at, why)) in (10..).zip(bad) {
        send(
            &Frame::Forward(forward(at)),
            7,
            sequence,
            &fleet.keys,
            "site-0",
        );
        let Frame::Report(report) = hear() else {
            panic!("no report")
        };
        assert_eq!(report.outcome, Err(why));
    }
    let counts = replica.counts();
    assert_eq!(
        (counts.forged, counts.epoch, counts.replayed, counts.foreign),
        (2, 1, 1, 1),
        "{counts:?}"
    );
    assert_eq!(counts.sent, 0);
    // The same forward twice makes one answer.
    let good = Frame::Forward(forward(now() + 250 * MS));
    send(&good, 7, 60, &fleet.keys, "site-0");
    send(&good, 7, 60, &fleet.keys, "site-0");
    assert_eq!(heard(&victim).0, "site-0:who");
    let Frame::Report(report) = hear() else {
        panic!("no report")
    };
    assert!(report.outcome.is_ok());
    assert_eq!((replica.counts().sent, replica.counts().replayed), (1, 2));
    victim.set_nonblocking(true).expect("set");
    assert!(victim.recv(&mut [0; 16]).is_err(), "no second answer");
}

fn replica_now() -> i64 {
    // The only skewed clock of that test is ten seconds ahead of the raw one.
    HostClock::default().now().0 + 10_000 * MS
}

#[test]
fn who_asks_without_a_master_is_told() {
    let nobody = client();
    let mut options = ClientOptions::new(nobody.local_addr().expect("address"));
    options.first = Duration::from_millis(20);
    assert!(matches!(race(&options), Err(ClientError::Silent(_))));
    options.wanted = Wanted::Content;
    options.path = "no slash".to_owned();
    assert!(matches!(race(&options), Err(ClientError::Path(_))));
}

#[test]
fn a_client_that_races_too_often_is_refused_and_too_few_replicas_are_said() {
    let fleet = Fleet::start(&skewed(), |options| options.asks_per_second = 1).ready();
    let options = ClientOptions {
        rest: Duration::from_millis(1),
        ..ClientOptions::new(fleet.master.address())
    };
    race(&options).expect("the first");
    let Err(ClientError::Refused(reason)) = race(&options) else {
        panic!("raced")
    };
    assert_eq!(reason, "this address asks too often");
    let alone = Fleet::start(&skewed()[..1], |_| {}).ready();
    let options = ClientOptions::new(alone.master.address());
    let Err(ClientError::Refused(reason)) = race(&options) else {
        panic!("raced")
    };
    assert_eq!(
        reason,
        "fewer than two replicas can race; /api/v1/races says of each why it cannot"
    );
}
