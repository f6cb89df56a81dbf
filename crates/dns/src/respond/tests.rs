//! What goes over the wire for each kind of message.

use super::*;
use crate::authority::{AuthorityOptions, AuthorityParts};
use crate::build::{Decoded, OptionOf, QueryBuilder};
use crate::cookie::Secrets;
use crate::master::{self, Master};
use crate::name::Name;
use crate::policy::{Policy, RaceForm, Site, Standing, Steered, Steering};

const ZONE: &str = "\
$TTL 300
@ SOA ns1 admin 7 3600 600 86400 30
@ NS ns1
@ NS ns2
@ MX 10 mail
ns1 60 A 192.0.2.1
ns2 A 192.0.2.2
mail AAAA 2001:db8::25
txt TXT one two
alias CNAME second
second CNAME ns1
gone CNAME nothing
away CNAME www.other.
loop CNAME loop2
loop2 CNAME loop
wilder CNAME x.wild
shop CNAME www
*.wild A 192.0.2.77
*.wild MX 5 mail
there.wild TXT x
y.deep A 192.0.2.9
sub NS ns.sub
sub NS ns.other.
ns.sub A 192.0.2.53
www 120 A 198.51.100.1
www 120 A 198.51.100.2
www 120 A 198.51.100.3
www 120 AAAA 2001:db8::1
*.raced 120 A 198.51.100.1
*.raced 120 A 198.51.100.2
rr A 198.51.100.1
rr A 198.51.100.2
rr A 198.51.100.3
random A 198.51.100.1
random A 198.51.100.2
random A 198.51.100.3
load A 198.51.100.1
load A 198.51.100.2
load A 198.51.100.3
mixed A 198.51.100.1
mixed TXT x
big TXT ";

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text.as_bytes(), None).expect("a name")
}

pub(crate) fn masters() -> Vec<(Name, Master)> {
    let origin = name("example.");
    let long = format!("\"{}\" ", "x".repeat(200)).repeat(8);
    let text = format!("{ZONE}{long}\n");
    let master = master::read("zone", &text, &origin, &mut |_| Err(String::new()));
    vec![(origin, master.expect("a zone"))]
}

pub(crate) fn steering() -> Steering {
    let site = |number: u8| Site {
        name: format!("site-{number}"),
        addresses: match number {
            1 => vec![[198, 51, 100, 1].into(), "2001:db8::1".parse().expect("v6")],
            number => vec![[198, 51, 100, number].into()],
        },
    };
    let names = [
        ("www.example.", Policy::Race),
        ("*.raced.example.", Policy::Race),
        ("rr.example.", Policy::RoundRobin),
        ("random.example.", Policy::Random),
        ("load.example.", Policy::Load),
    ];
    let steered = |policy| Steered {
        policy,
        answers: 1,
        form: RaceForm::Alias,
    };
    Steering {
        sites: (1..=3).map(site).collect(),
        names: names
            .map(|(text, policy)| (name(text), steered(policy)))
            .into(),
    }
}

pub(crate) fn zones() -> Zones {
    Zones::new(&masters(), &steering()).expect("right")
}

pub(crate) fn authority(zones: Zones, options: AuthorityOptions) -> Authority {
    Authority::new(AuthorityParts {
        options,
        zones,
        secrets: Secrets::new([1; 16], &[]),
        race_secret: [2; 16],
        seed: 3,
    })
}

/// One question over UDP, and its answer, which is well-formed.
pub(crate) fn ask(zones: &Zones, name: &str, kind: u16) -> Decoded {
    let mut asker = Asker::new(zones.clone(), AuthorityOptions::default());
    asker
        .ask(&QueryBuilder::new(name, kind).edns(1232))
        .expect("an answer")
}

/// Asks a responder at a time of its own.
struct Asker {
    responder: Responder,
    from: SocketAddr,
    via: Via,
    now: Now,
    random: u64,
    bytes: Vec<u8>,
}

const UDP: Via = Via::Udp(SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
    53,
));

impl Asker {
    fn new(zones: Zones, options: AuthorityOptions) -> Self {
        Self::of(authority(zones, options))
    }

    fn of(authority: Authority) -> Self {
        Self {
            responder: Responder::new(Arc::new(authority)),
            from: SocketAddr::from(([203, 0, 113, 9], 4000)),
            via: UDP,
            now: Now {
                unix_s: 1_800_000_000,
                steady_ms: 10_000,
            },
            random: 0,
            bytes: Vec::new(),
        }
    }

    fn ask(&mut self, query: &QueryBuilder) -> Option<Decoded> {
        let message = query.build();
        let (from, via, now) = (self.from, self.via, self.now);
        let random = self.random;
        let reply = self
            .responder
            .respond(&message, from, via, now, random, &mut self.bytes);
        if reply == Reply::Silent {
            return None;
        }
        // The question comes back byte for byte.
        let question = read_question(&message);
        assert_eq!(read_question(&self.bytes), question);
        Some(Decoded::read(&self.bytes).expect("well-formed"))
    }

    fn passes(&mut self, seconds: u64) {
        self.now.unix_s += seconds;
        self.now.steady_ms += seconds * 1000;
    }

    fn of_count(&self, count: Count) -> u64 {
        self.responder.counts.of(count)
    }
}

fn read_question(message: &[u8]) -> &[u8] {
    let rest = &message[12..];
    let length = crate::name::length(rest).map_or(0, |length| length + 4);
    &rest[..if message[5] == 0 { 0 } else { length }]
}

fn www() -> QueryBuilder {
    QueryBuilder::new("www.example.", kind::A).edns(1232)
}

#[test]
fn edns_is_answered_in_kind() {
    let mut asker = Asker::new(
        zones(),
        AuthorityOptions {
            nsid: b"here".to_vec(),
            ..AuthorityOptions::default()
        },
    );
    let ns1 = || QueryBuilder::new("ns1.example.", kind::A);
    let plain = asker.ask(&ns1().recursion_desired()).expect("an answer");
    assert_eq!((plain.edns, plain.flags), (None, 0x8500));
    let edns = asker
        .ask(&ns1().edns(4096).option(OptionOf::Nsid))
        .expect("an answer");
    assert_eq!(edns.edns.as_ref().map(|edns| edns.size), Some(1232));
    assert_eq!(edns.option(3), Some(&b"here"[..]));
    let future = asker.ask(&ns1().edns(512).version(1)).expect("an answer");
    assert_eq!(
        (future.rcode, future.sections[0].len()),
        (rcode::BAD_VERSION, 0)
    );
}

#[test]
fn an_answer_that_does_not_fit_is_cut_short_and_whole_over_tcp() {
    let mut asker = Asker::new(zones(), AuthorityOptions::default());
    let big = |size| {
        let query = QueryBuilder::new("big.example.", kind::TXT);
        if size > 0 { query.edns(size) } else { query }
    };
    for size in [0, 100, 1232, 4096, 65535] {
        let got = asker.ask(&big(size)).expect("an answer");
        assert!(got.is_truncated() && got.sections[0].is_empty(), "{size}");
        assert!(asker.bytes.len() < 100);
    }
    assert_eq!(asker.of_count(Count::Truncated), 5);
    asker.via = Via::Tcp;
    let got = asker.ask(&big(0)).expect("an answer");
    assert!(!got.is_truncated() && got.sections[0].len() == 1);
}

#[test]
fn everything_is_nothing_and_transfers_are_refused() {
    let zones = zones();
    let any = ask(&zones, "ns1.example.", kind::ANY);
    assert_eq!(any.sections[0], ["ns1.example. 3600 TYPE13 \u{7}RFC8482\0"]);
    assert_eq!(ask(&zones, "no.example.", kind::ANY).rcode, 3);
    assert_eq!(
        ask(&zones, "alias.example.", kind::ANY).sections[0].len(),
        1
    );
    for transfer in [251, 252, 250, 128] {
        assert_eq!(ask(&zones, "example.", transfer).rcode, rcode::REFUSED);
    }
    let mut asker = Asker::new(zones, AuthorityOptions::default());
    let chaos = QueryBuilder::new("version.bind.", kind::TXT).class(3);
    assert_eq!(asker.ask(&chaos).expect("an answer").rcode, rcode::REFUSED);
}

#[test]
fn cookies_are_given_taken_and_renewed() {
    let mut asker = Asker::new(zones(), AuthorityOptions::default());
    let ask = |asker: &mut Asker, cookie: &[u8]| {
        let query = QueryBuilder::new("ns1.example.", kind::A)
            .edns(1232)
            .option(OptionOf::Cookie(cookie));
        let got = asker.ask(&query).expect("an answer");
        assert_eq!(got.sections[0].len(), 1);
        got.option(10).expect("a cookie").to_vec()
    };
    let first = ask(&mut asker, &[7; 8]);
    assert_eq!((first.len(), &first[..8]), (24, &[7; 8][..]));
    assert_eq!(asker.of_count(Count::Cookies), 0);
    assert_eq!(ask(&mut asker, &first), first);
    assert_eq!(asker.of_count(Count::Cookies), 1);
    asker.passes(2000);
    assert_ne!(ask(&mut asker, &first), first);
    asker.from.set_ip([203, 0, 113, 10].into());
    ask(&mut asker, &first);
    assert_eq!(asker.of_count(Count::Cookies), 2);
    // A query for a cookie alone.
    let bare = QueryBuilder::bare()
        .edns(512)
        .option(OptionOf::Cookie(&[7; 8]));
    let got = asker.ask(&bare).expect("an answer");
    assert_eq!((got.rcode, got.question.as_str()), (0, ""));
    assert_eq!(got.option(10).map(<[u8]>::len), Some(24));
}

#[test]
fn who_nobody_can_be_is_not_answered() {
    let mut asker = Asker::new(zones(), AuthorityOptions::default());
    for from in [
        "192.0.2.1:0",
        "255.255.255.255:53",
        "224.0.0.1:53",
        "0.0.0.0:53",
        "[ff02::1]:53",
        "[::]:53",
    ] {
        asker.from = from.parse().expect("an address");
        assert_eq!(asker.ask(&www()), None, "{from}");
    }
    assert_eq!(asker.of_count(Count::NoSource), 6);
}

#[test]
fn equal_answers_to_one_network_are_limited_unless_a_cookie_proves_it() {
    let mut asker = Asker::new(zones(), AuthorityOptions::default());
    let query = QueryBuilder::new("ns1.example.", kind::A).edns(1232);
    let answered = (0..1000).filter(|_| asker.ask(&query).is_some_and(|got| !got.is_truncated()));
    assert_eq!(answered.count(), 200);
    assert_eq!(asker.of_count(Count::Limited), 400);
    assert_eq!(asker.of_count(Count::Slipped), 400);
    let given =
        asker
            .responder
            .authority
            .secrets
            .make(&[7; 8], asker.from.ip(), asker.now.unix_s as u32);
    let proven = query
        .clone()
        .option(OptionOf::Cookie(&[&[7; 8][..], &given].concat()));
    assert!((0..1000).all(|_| asker.ask(&proven).is_some()));
    // Names that do not exist are one answer, however many they are; malformed queries too.
    asker.from.set_ip([203, 0, 114, 9].into());
    let absent = (0..1000).filter(|n| {
        let query = QueryBuilder::new(&format!("x{n}.example."), kind::A);
        asker.ask(&query).is_some_and(|got| !got.is_truncated())
    });
    assert_eq!(absent.count(), 200);
    asker.from.set_ip([127, 0, 0, 1].into());
    assert!((0..1000).all(|_| asker.ask(&query).is_some()));
}

#[test]
fn nothing_is_allocated_for_a_static_name() {
    let mut responder = Responder::new(Arc::new(authority(zones(), AuthorityOptions::default())));
    let queries: Vec<Vec<u8>> = [
        ("ns1.example.", kind::A),
        ("no.such.example.", kind::A),
        ("x.sub.example.", kind::AAAA),
        ("a.wild.example.", kind::A),
        ("alias.example.", kind::A),
    ]
    .map(|(name, kind)| {
        QueryBuilder::new(name, kind)
            .edns(1232)
            .option(OptionOf::Cookie(&[1; 8]))
            .build()
    })
    .into();
    let from = SocketAddr::from(([127, 0, 0, 1], 4000));
    let mut out = Vec::with_capacity(4096);
    let info = allocation_counter::measure(|| {
        for query in &queries {
            let reply = responder.respond(query, from, UDP, Now::default(), 0, &mut out);
            assert_eq!(reply, Reply::Send);
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn plain_policies_choose_and_leave_out_what_is_down() {
    let down = |site: &str| match site {
        "site-2" => Standing::Down,
        "site-1" => Standing::Up(5.0),
        _ => Standing::Up(1.0),
    };
    let mut all = Asker::new(zones(), AuthorityOptions::default());
    let mut some = Asker::new(zones(), AuthorityOptions::default());
    some.responder.authority.set_standings(Box::new(down));
    let chosen = |asker: &mut Asker, name: &str| -> Vec<String> {
        (0..6_u64)
            .map(|turn| {
                asker.random = turn << 32 | (turn + 1);
                let got = asker
                    .ask(&QueryBuilder::new(name, kind::A))
                    .expect("an answer");
                assert_eq!(got.sections[0].len(), 1);
                got.sections[0][0]
                    .rsplit('.')
                    .next()
                    .expect("a byte")
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(
        chosen(&mut all, "rr.example."),
        ["1", "2", "3", "1", "2", "3"]
    );
    assert_eq!(
        chosen(&mut some, "rr.example."),
        ["1", "3", "3", "1", "3", "3"]
    );
    assert_eq!(
        chosen(&mut all, "random.example."),
        ["1", "2", "3", "1", "2", "3"]
    );
    assert_eq!(
        chosen(&mut some, "random.example."),
        ["1", "3", "3", "1", "3", "3"]
    );
    // Of 1 and 2, 2 and 3, 3 and 1, …: never the one that is down, the dear one only against it.
    assert_eq!(
        chosen(&mut some, "load.example."),
        ["1", "3", "3", "1", "3", "3"]
    );
}

#[test]
fn more_than_one_address_is_given_where_asked() {
    let mut steering = steering();
    let steered = steering
        .names
        .get_mut(&name("rr.example."))
        .expect("steered");
    steered.answers = 2;
    let mut asker = Asker::new(
        Zones::new(&masters(), &steering).expect("right"),
        AuthorityOptions::default(),
    );
    let query = QueryBuilder::new("rr.example.", kind::A);
    let first = asker.ask(&query).expect("an answer").sections[0].clone();
    assert_eq!(
        first,
        [
            "rr.example. 300 A 198.51.100.1",
            "rr.example. 300 A 198.51.100.2"
        ]
    );
    let second = asker.ask(&query).expect("an answer").sections[0].clone();
    assert_eq!(
        second,
        [
            "rr.example. 300 A 198.51.100.2",
            "rr.example. 300 A 198.51.100.3"
        ]
    );
}

#[test]
fn a_raced_name_bounces_a_stranger_once_a_day_and_then_answers_plainly() {
    let mut asker = Asker::new(zones(), AuthorityOptions::default());
    let bounced = asker.ask(&www()).expect("an answer");
    assert!(bounced.is_truncated() && bounced.sections[0].is_empty());
    let plain = asker.ask(&www()).expect("an answer");
    assert_eq!(plain.sections[0].len(), 1);
    assert!(
        plain.sections[0][0].starts_with("www.example. 5 A 198.51.100."),
        "{plain:?}"
    );
    for _ in 0..10 {
        asker.passes(3600);
        assert_eq!(asker.ask(&www()).expect("an answer"), plain);
    }
    assert_eq!(asker.of_count(Count::Bounced), 1);
    asker.passes(15 * 3600);
    assert!(asker.ask(&www()).expect("an answer").is_truncated());
    // Over TCP it is proven, and answered.
    asker.via = Via::Tcp;
    assert_eq!(
        asker.ask(&www()).expect("an answer").sections[0],
        plain.sections[0]
    );
}

mod bad_input;
mod race;
