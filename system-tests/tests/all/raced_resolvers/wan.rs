//! A wide-area network with the service's five sites and four places that users ask from, each with
//! all resolvers.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use selvedge_dns::build::{Decoded, QueryBuilder};
use selvedge_dns::kind;
use selvedge_lab::{Lab, Plan, Pulse};
use selvedge_system_tests::{
    Resolver, ResolverKind, Server, Upstream, dns_counter, run, selvedge, until_sites_race,
};

pub(super) const SITES: usize = 5;
pub(super) const CLIENTS: usize = 4;

/// The service's address: the master's host has it, the sites send from it.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// Sites run at a real-time priority and wake in time; five that spin on this machine's few processors
/// hold one another up.
const SPIN_US: u32 = 30;

/// A race counts if no processor stood still for a fifth of the gap that it tells apart, and so long
/// at least: threads wake late by half of it.
const PAUSE: Duration = Duration::from_micros(200);

/// Where more races than so many for each that counts met a pause, the machine is not quiet enough.
const DISTURBED_MAX: usize = 10;

/// From the master to each site, one way, in milliseconds; the farthest is asked for.
const MASTER_MS: [f64; SITES - 1] = [5.0, 12.0, 25.0, 30.0];

/// A network, and how races run in it.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// By how much the nearest site is nearer than the next, in milliseconds.
    pub(super) gap: f64,
    /// From the master to the farthest site.
    pub(super) farthest: f64,
    /// After so much longer than the longest way the sites answer.
    pub(super) margin_ms: u32,
    /// How late they may.
    pub(super) tolerance_us: u32,
    pub(super) clocks: [&'static str; SITES],
    /// For how long an answer holds, in seconds.
    pub(super) ttl_s: u32,
}

/// With room for a machine that is busy with other tests.
pub(super) const ROOMY: Terms = Terms {
    gap: 15.0,
    farthest: 40.0,
    margin_ms: 10,
    tolerance_us: 10_000,
    clocks: OFF_CLOCKS,
    ttl_s: 30,
};

/// Off by seconds, and drifting.
pub(super) const OFF_CLOCKS: [&str; SITES] = [
    "+3s,30ppm",
    "-7s,-30ppm",
    "+0s,15ppm",
    "+40s,0ppm",
    "-1s,30ppm",
];

pub(super) const TRUE_CLOCKS: [&str; SITES] = ["+0s,0ppm"; SITES];

/// From the master to each client.
const ASKING_MS: [f64; CLIENTS] = [10.0, 15.0, 20.0, 25.0];

/// From each site to each client, where the nearest is nearer by `gap`.
fn distances(gap: f64) -> [[f64; SITES]; CLIENTS] {
    [
        [5.0, 5.0 + gap, 20.0, 50.0, 80.0],
        [40.0, 30.0, 12.0, 12.0 + gap, 60.0],
        [80.0, 60.0, 45.0, 30.0 + gap, 30.0],
        [35.0 + gap, 35.0, 70.0, 55.0, 75.0],
    ]
}

fn nearest(distances: &[f64; SITES]) -> usize {
    let sites = (0..SITES).min_by(|a, b| distances[*a].total_cmp(&distances[*b]));
    sites.expect("there are sites")
}

pub(super) struct Wan {
    // In the order of their ends.
    pub(super) resolvers: Vec<(usize, Resolver)>,
    replicas: Vec<Option<Server>>,
    _master: Server,
    pub(super) lab: Lab,
    terms: Terms,
    folder: tempfile::TempDir,
}

/// The address that answers have of a site.
pub(super) fn led_to(site: usize) -> String {
    Ipv4Addr::new(192, 0, 2, 1 + site as u8).to_string()
}

fn site_address(site: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, 1 + site as u8)
}

fn plan(terms: &Terms) -> Plan {
    let mut plan = Plan::default().host("master", [10, 0, 0, 1]);
    plan.hosts[0].also.push(SERVICE);
    for site in 0..SITES {
        let name = format!("site-{site}");
        plan = plan.host(&name, site_address(site).octets());
        let host = plan.hosts.last_mut().expect("one was added");
        host.loopback.push(SERVICE);
        let delay = MASTER_MS.get(site).copied().unwrap_or(terms.farthest);
        plan = plan.path("master", &name, delay);
    }
    for (client, distances) in distances(terms.gap).iter().enumerate() {
        let name = format!("client-{client}");
        plan = plan.host(&name, [10, 0, 2, 1 + client as u8]);
        let host = plan.hosts.last_mut().expect("one was added");
        let addresses = (0..ResolverKind::ALL.len()).map(|place| resolver_address(client, place));
        host.also.extend(addresses);
        plan = plan.path("master", &name, ASKING_MS[client]);
        for (site, distance) in distances.iter().enumerate() {
            plan = plan.path(&format!("site-{site}"), &name, *distance);
        }
    }
    plan
}

fn resolver_address(client: usize, place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 1 + client as u8, 1 + place as u8)
}

fn config(terms: &Terms) -> String {
    let mut text = format!(
        "[dns]\nlisten = [\"{SERVICE}:53\"]\n\
         [[dns.zone]]\norigin = \".\"\nfile = \"root.zone\"\n\
         [[dns.zone]]\norigin = \"shop.net\"\nfile = \"shop.zone\"\n\
         [[dns.name]]\nname = \"*.raced.shop.net\"\npolicy = \"race\"\n\
         [race]\nlisten = \"10.0.0.1:7700\"\ndelay = \"longest+{}ms\"\n\
         [race.replica]\nservices = [\"{SERVICE}:53\"]\ntolerance_us = {}\n\
         spin_us = {SPIN_US}\n",
        terms.margin_ms, terms.tolerance_us
    );
    for site in 0..SITES {
        text += &format!(
            "[[dns.site]]\nname = \"site-{site}\"\naddresses = [\"192.0.2.{number}\"]\n\
             [[race.site]]\nname = \"site-{site}\"\naddress = \"{address}:7701\"\n",
            number = 1 + site,
            address = site_address(site),
        );
    }
    text
}

fn zones(ttl_s: u32) -> (String, String) {
    let head = "$TTL 1h\n@ SOA ns.shop.net. admin.shop.net. 1 2h 15m 2w 60\n@ NS ns.shop.net.\n";
    let root = format!("{head}shop.net. NS ns.shop.net.\nns.shop.net. A {SERVICE}\n");
    let mut shop = format!("{head}ns A {SERVICE}\n");
    for site in 0..SITES {
        shop += &format!("*.raced {ttl_s} A 192.0.2.{}\n", 1 + site);
    }
    (root, shop)
}

impl Wan {
    pub(super) fn start(terms: &Terms) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let (root, shop) = zones(terms.ttl_s);
        for (file, text) in [
            ("root.zone", root),
            ("shop.zone", shop),
            ("selvedge.toml", config(terms)),
        ] {
            std::fs::write(path.join(file), text).expect("written");
        }
        let lab = Lab::start(&plan(terms)).expect("a lab");
        let mut master = selvedge(&["gateway", "--upstream", "http://10.0.1.1:9000"]);
        master.arg("--data").arg(path.join("master"));
        let master = start(&lab, &path, "master", master);
        let mut wan = Self {
            resolvers: Vec::new(),
            replicas: (0..SITES).map(|_| None).collect(),
            _master: master,
            lab,
            terms: *terms,
            folder,
        };
        for site in 0..SITES {
            wan.begin(site);
        }
        wan.wait_for_sites();
        for client in 0..CLIENTS {
            for (place, kind) in ResolverKind::ALL.into_iter().enumerate() {
                let address = resolver_address(client, place);
                let folder = path.join(format!("{kind:?}-{client}"));
                std::fs::create_dir(&folder).expect("made");
                let host = wan.lab.host(&format!("client-{client}"));
                let resolver = host.inside(move || {
                    let upstream = Upstream {
                        server: SERVICE,
                        name: "ns.shop.net.",
                        zone: "shop.net",
                    };
                    Resolver::start(kind, address, upstream, &folder, |program| {
                        Command::new(program)
                    })
                });
                wan.resolvers.push((client, resolver));
            }
        }
        wan
    }

    /// Starts a site's replica.
    pub(super) fn begin(&mut self, site: usize) {
        let name = format!("site-{site}");
        let address = site_address(site);
        let mut command = selvedge(&["race-replica", "--name", &name]);
        command.args(["--url", &format!("http://{address}:9000")]);
        command.args(["--listen", &format!("{address}:7701")]);
        command.args(["--test-clock", self.terms.clocks[site]]);
        let folder = self.folder.path().to_owned();
        command.arg("--data").arg(folder.join(&name));
        self.replicas[site] = Some(start(&self.lab, &folder, &name, command));
    }

    /// Kills a site's replica.
    pub(super) fn end(&mut self, site: usize) {
        self.replicas[site] = None;
    }

    /// Until all clocks are known well enough to race; the master says so.
    pub(super) fn wait_for_sites(&self) {
        until_sites_race(SITES, |path| admin(&self.lab, path));
    }

    /// How late the sites' answers left in the newest races, in microseconds: half at most, 99 of
    /// 100, and the greatest.
    pub(super) fn lateness(&self) -> [i64; 3] {
        let races: serde_json::Value =
            serde_json::from_str(&admin(&self.lab, "/api/v1/races?limit=1000")).expect("JSON");
        let races = races["races"].as_array().expect("races");
        let sites = races.iter().flat_map(|race| race["sites"].as_array());
        let mut late: Vec<_> = sites
            .flatten()
            .filter_map(|site| site["late"].as_i64())
            .collect();
        late.sort_unstable();
        let share = |share: usize| late[(late.len() - 1) * share / 100] / 1_000;
        [share(50), share(99), share(100)]
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        dns_counter(name, |path| admin(&self.lab, path))
    }

    /// Answers that a resolver did not want, as far as resolvers count them, by client.
    pub(super) fn unwanted_replies(&self) -> [u64; CLIENTS] {
        let mut unwanted = [0; CLIENTS];
        for (client, resolver) in &self.resolvers {
            unwanted[*client] += resolver.unwanted_replies().unwrap_or_default();
        }
        unwanted
    }

    /// The answers that lost come to a port that nobody listens at any more, unless the resolver has
    /// drawn the same port, of some 60,000, for its next question.
    pub(super) fn assert_none_unwanted(&self, since: Instant) {
        let unwanted = self.unwanted_replies();
        let drawn_again = self.replies_to_ports_drawn_again(since);
        assert!(
            (0..CLIENTS).all(|client| unwanted[client] <= drawn_again[client]),
            "{unwanted:?} unwanted, {drawn_again:?} to ports drawn again"
        );
    }

    /// Answers that came, within a second, to a port at which a client's unbound already waited for
    /// another one.
    fn replies_to_ports_drawn_again(&self, since: Instant) -> [u64; CLIENTS] {
        let mut drawn_again = [0; CLIENTS];
        let unbounds = self.resolvers.iter();
        for (client, unbound) in unbounds.filter(|(_, one)| one.kind == ResolverKind::Unbound) {
            let mut asked: BTreeMap<u16, Vec<Instant>> = BTreeMap::new();
            for question in self.lab.delivered_since("master", since) {
                if let Some((from, to)) = question.ends
                    && (*from.ip(), *to.ip()) == (unbound.address, SERVICE)
                {
                    asked.entry(from.port()).or_default().push(question.left);
                }
            }
            for reply in self.lab.delivered_since(&format!("client-{client}"), since) {
                if let Some((from, to)) = reply.ends
                    && (*from.ip(), *to.ip()) == (SERVICE, unbound.address)
                {
                    let asked = asked.get(&to.port()).map_or(&[][..], |asked| asked);
                    let again = asked.windows(2).any(|pair| {
                        pair[1] < reply.came && reply.came < pair[0] + Duration::from_secs(1)
                    });
                    drawn_again[*client] += u64::from(again);
                }
            }
        }
        drawn_again
    }

    /// Asks every resolver for names until `races` of its races met no pause of this machine, all
    /// clients at once; how often each resolver led to the nearest site. Of those that were led
    /// elsewhere, what the network saw is printed.
    pub(super) fn race(&self, gap: f64, races: usize) -> BTreeMap<String, Led> {
        let (lab, resolvers) = (&self.lab, &self.resolvers);
        let least = Duration::from_secs_f64(gap / 5e3).max(PAUSE);
        let pulse = &Pulse::start(least).expect("threads before all others");
        let mut led: BTreeMap<String, Led> = BTreeMap::new();
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn(move || race_of(lab, resolvers, pulse, client, gap, races))
                })
                .collect();
            for asked in asking {
                for (kind, one) in asked.join().expect("no panic") {
                    let all = led.entry(kind).or_default();
                    all.races += one.races;
                    all.right += one.right;
                    all.disturbed += one.disturbed;
                    all.disturbed_right += one.disturbed_right;
                }
            }
        });
        led
    }
}

/// What the master's admin port answers.
fn admin(lab: &Lab, path: &str) -> String {
    let url = format!("http://127.0.0.1:8090{path}");
    let host = lab.host("master");
    host.inside(move || run(Command::new("curl").args(["-s", &url])))
}

/// Of one client's resolvers.
fn race_of(
    lab: &Lab,
    resolvers: &[(usize, Resolver)],
    pulse: &Pulse,
    client: usize,
    gap: f64,
    races: usize,
) -> Vec<(String, Led)> {
    let expected = led_to(nearest(&distances(gap)[client]));
    let resolvers = resolvers.iter().filter(|(at, _)| *at == client);
    let of_resolver = |(_, resolver): &(usize, Resolver)| {
        let kind = resolver.kind;
        // The first proves its address, and is not raced.
        let first = format!("{kind:?}{client}first");
        let first = ask(lab, client, resolver, &first);
        assert!(first.is_some(), "{kind:?} at client {client} has no answer");
        let mut led = Led::default();
        while led.races < races {
            let since = Instant::now();
            let name = format!("{kind:?}{client}n{}", led.races + led.disturbed);
            let address = ask(lab, client, resolver, &name);
            let right = address.as_deref() == Some(&*expected);
            let disturbed = !pulse.between(since, Instant::now()).is_empty();
            if disturbed {
                led.disturbed += 1;
                led.disturbed_right += usize::from(right);
                assert!(
                    led.disturbed <= races * DISTURBED_MAX,
                    "this machine stood still in {} of {} races",
                    led.disturbed,
                    led.disturbed + led.races
                );
            } else {
                led.races += 1;
                led.right += usize::from(right);
            }
            if !right {
                println!("  {name} was led to {address:?}, not {expected}; disturbed: {disturbed}");
                seen(lab, pulse, client, resolver, since);
            }
        }
        (format!("{kind:?}"), led)
    };
    resolvers.map(of_resolver).collect()
}

/// Prints what came from the sites to a client and when, whether this machine stood still, and what
/// the sites say of the client's newest races.
fn seen(lab: &Lab, pulse: &Pulse, client: usize, resolver: &Resolver, since: Instant) {
    let after = |at: Instant| at.duration_since(since).as_secs_f64() * 1e3;
    for passage in lab.delivered_since(&format!("client-{client}"), since) {
        println!(
            "    {}: {} bytes left after {:.3} ms, came after {:.3} ms, {:?} late",
            passage.from,
            passage.length,
            after(passage.left),
            after(passage.came),
            passage.late
        );
    }
    for pause in pulse.between(since, Instant::now()) {
        let (processor, length) = (pause.processor, pause.length());
        let from = pause.from.saturating_duration_since(since);
        println!("    processor {processor} stood still after {from:?} for {length:?}");
    }
    let races: serde_json::Value =
        serde_json::from_str(&admin(lab, "/api/v1/races?limit=1000")).expect("JSON");
    let client = format!("{}:", resolver.address);
    let of_client = |race: &&serde_json::Value| {
        let asked = race["client"].as_str();
        asked.is_some_and(|asked| asked.starts_with(&client))
    };
    let races = races["races"].as_array().expect("races");
    for race in races.iter().filter(of_client).take(2) {
        println!("    race {}:", race["race"]);
        for site in race["sites"].as_array().expect("sites") {
            println!(
                "      {}: {} ns late, silent: {}",
                site["site"], site["late"], site["silent"]
            );
        }
    }
}

/// Where a kind of resolver was led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Led {
    /// In which this machine ran all the time.
    pub(super) races: usize,
    /// To the nearest site.
    pub(super) right: usize,
    /// Races beside those, whichever way they went.
    pub(super) disturbed: usize,
    /// Of these, to the nearest site.
    pub(super) disturbed_right: usize,
}

/// Runs the program on a host, with the network's configuration and keys, before all that runs on
/// the other hosts of this machine: a site shares its processors with no resolver.
fn start(lab: &Lab, folder: &Path, host: &str, program: Command) -> Server {
    let folder = folder.to_owned();
    let mut command = Command::new("chrt");
    command.args(["--rr", "20"]).arg(program.get_program());
    command.args(program.get_args());
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.arg("--config").arg(folder.join("selvedge.toml"));
    command.arg("--keys").arg(folder.join("keys"));
    lab.host(host)
        .inside(move || Server::start(command, &folder))
}

/// The last address that a resolver names; none for anything but an answer.
fn ask(lab: &Lab, client: usize, resolver: &Resolver, label: &str) -> Option<String> {
    let (address, _) = ask_with_ttl(lab, client, resolver, label)?;
    Some(address)
}

/// Each question has an id of its own.
static QUESTIONS: AtomicU16 = AtomicU16::new(0);

/// The last address that a resolver names, and for how many seconds it says that it holds.
pub(super) fn ask_with_ttl(
    lab: &Lab,
    client: usize,
    resolver: &Resolver,
    label: &str,
) -> Option<(String, u32)> {
    let host = lab.host(&format!("client-{client}"));
    let socket = host.inside(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
    let to = SocketAddr::from((resolver.address, 53));
    let name = format!("{}.raced.shop.net.", label.to_lowercase());
    let id = QUESTIONS.fetch_add(1, Ordering::Relaxed);
    let query = QueryBuilder::new(&name, kind::A).recursion_desired().id(id);
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    socket.send_to(&query.build(), to).expect("sent");
    let mut room = [0; 2048];
    // A port that was used a moment ago may get what was meant for its user.
    let mut answer = loop {
        let length = match socket.recv(&mut room) {
            // The end of a child of this process's interrupts.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            received => received.ok()?,
        };
        let answer = Decoded::read(&room[..length])?;
        if answer.id == id {
            break answer;
        }
        println!("  an answer to another question came to that of {name}");
    };
    if answer.is_truncated() {
        // A forwarder passes on that it should come over TCP.
        let mut stream = host.inside(move || TcpStream::connect(to).expect("connected"));
        let query = query.build();
        let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat();
        stream.write_all(&framed).expect("sent");
        stream.read_exact(&mut room[..2]).ok()?;
        let length = usize::from(u16::from_be_bytes([room[0], room[1]]));
        stream.read_exact(&mut room[..length]).ok()?;
        answer = Decoded::read(&room[..length])?;
    }
    assert_eq!(answer.rcode, 0, "{:?} {name}", resolver.kind);
    let mut last = answer.answers().last()?.split(' ');
    let ttl = last.nth(1)?.parse().ok()?;
    Some((last.next_back()?.to_owned(), ttl))
}
