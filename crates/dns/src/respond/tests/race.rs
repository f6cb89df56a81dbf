//! Raced names: who races, how the winner is learned, what the table answers.

use core::time::Duration;
use std::sync::Mutex;

use selvedge_race::contest::{self, Call, Evidence, RaceId, Races, Refused};

use super::*;

/// A master that notes what it is told; the replicas are asked by the test.
#[derive(Default)]
struct Master {
    calls: Mutex<Vec<Call>>,
    won: Mutex<Vec<(u64, String)>>,
    refuses: Mutex<Option<Refused>>,
}

impl Races for Master {
    fn start(&self, call: Call) -> Result<RaceId, Refused> {
        if let Some(refused) = *self.refuses.lock().expect("no panic") {
            return Err(refused);
        }
        let mut calls = self.calls.lock().expect("no panic");
        calls.push(call);
        Ok(race(calls.len() as u64))
    }

    fn won(&self, race: RaceId, site: &str, evidence: Evidence) {
        assert_eq!(evidence, Evidence::Dns);
        let mut won = self.won.lock().expect("no panic");
        won.push((race.sequence, site.to_owned()));
    }

    fn noise(&self, _: &str, _: &str) -> Duration {
        Duration::ZERO
    }

    fn sites(&self) -> Vec<String> {
        Vec::new()
    }
}

fn race(sequence: u64) -> RaceId {
    RaceId {
        epoch: 0x1234_5678,
        sequence,
    }
}

struct Racing {
    asker: Asker,
    master: Arc<Master>,
}

impl Racing {
    /// An asker whose address is proven by configuration.
    fn proven() -> Self {
        Self::new(AuthorityOptions {
            proven: vec!["203.0.113.0/24".parse().expect("a network")],
            ..AuthorityOptions::default()
        })
    }

    fn new(options: AuthorityOptions) -> Self {
        let (asker, master) = (Asker::new(zones(), options), Arc::<Master>::default());
        asker.responder.authority.set_races(Some(master.clone()));
        Self { asker, master }
    }

    fn calls(&self) -> usize {
        self.master.calls.lock().expect("no panic").len()
    }

    /// What a site answers to the last race.
    fn answer(&self, site: Option<&str>) -> Option<Decoded> {
        let calls = self.master.calls.lock().expect("no panic");
        let call = calls.last().expect("a race");
        let asked = contest::Asked {
            kind: call.kind,
            race: race(calls.len() as u64),
            client: call.client,
            service: call.service,
            request: &call.request,
            site,
        };
        let answer = self
            .asker
            .responder
            .authority
            .raced(&asked, self.asker.now)?;
        assert_eq!(read_question(&answer), read_question(&call.request));
        Some(Decoded::read(&answer).expect("well-formed"))
    }

    /// The name that a site's answer to the last race points to.
    fn alias(&self, site: &str) -> String {
        let got = self.answer(Some(site)).expect("it answers");
        assert_eq!(got.sections.each_ref().map(Vec::len), [1, 0, 0]);
        let target = got.sections[0][0]
            .split_once(" 120 CNAME ")
            .expect("an alias")
            .1;
        assert!(target.starts_with(&format!("{site}-")), "{target}");
        target.to_owned()
    }

    fn follow(&mut self, alias: &str) -> Decoded {
        let query = QueryBuilder::new(alias, kind::A).edns(1232);
        self.asker.ask(&query).expect("an answer")
    }
}

#[test]
fn a_race_is_run_learned_and_answered_from_the_table_until_its_time_is_over() {
    let mut racing = Racing::proven();
    assert_eq!(racing.asker.ask(&www()), None);
    assert_eq!(racing.calls(), 1);
    let alias = racing.alias("site-2");
    assert_ne!(alias, racing.alias("site-3"));
    let got = racing.follow(&alias);
    assert_eq!(got.sections[0], [format!("{alias} 120 A 198.51.100.2")]);
    assert_eq!(
        *racing.master.won.lock().expect("no panic"),
        [(1, "site-2".to_owned())]
    );
    // The whole network has it, as long as the answer may be kept.
    racing.asker.from.set_ip([203, 0, 113, 77].into());
    racing.asker.passes(100);
    let got = racing.asker.ask(&www()).expect("an answer");
    assert_eq!(got.sections[0], ["www.example. 20 A 198.51.100.2"]);
    racing.asker.passes(20);
    assert_eq!(racing.asker.ask(&www()), None);
    // The incumbent is named to the next race.
    let calls = racing.master.calls.lock().expect("no panic");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].incumbent.as_deref(), Some("site-2"));
    drop(calls);
    let alias = racing.alias("site-1");
    racing.follow(&alias);
    let got = racing.asker.ask(&www()).expect("an answer");
    assert_eq!(got.sections[0], ["www.example. 120 A 198.51.100.1"]);
}

#[test]
fn over_tcp_and_from_other_networks_it_is_the_tables_answer_or_a_plain_one() {
    let mut racing = Racing::proven();
    assert_eq!(racing.asker.ask(&www()), None);
    let alias = racing.alias("site-3");
    racing.follow(&alias);
    racing.asker.via = Via::Tcp;
    let got = racing.asker.ask(&www()).expect("an answer");
    assert_eq!(got.sections[0], ["www.example. 120 A 198.51.100.3"]);
    racing.asker.from.set_ip([203, 0, 114, 9].into());
    let got = racing.asker.ask(&www()).expect("an answer");
    assert!(
        got.sections[0][0].starts_with("www.example. 5 A "),
        "{got:?}"
    );
    assert_eq!(racing.calls(), 1);
}

#[test]
fn who_came_over_tcp_once_races_for_a_day_and_a_cookie_races_at_once() {
    let mut racing = Racing::new(AuthorityOptions::default());
    assert!(racing.asker.ask(&www()).expect("an answer").is_truncated());
    racing.asker.via = Via::Tcp;
    racing.asker.ask(&www()).expect("an answer");
    racing.asker.via = UDP;
    racing.asker.passes(6);
    assert_eq!(racing.asker.ask(&www()), None);
    racing.asker.passes(24 * 3600);
    assert!(racing.asker.ask(&www()).expect("an answer").is_truncated());
    assert_eq!(racing.calls(), 1);
    racing.asker.from.set_ip([203, 0, 114, 9].into());
    let (secrets, now) = (&racing.asker.responder.authority.secrets, racing.asker.now);
    let server = secrets.make(&[7; 8], racing.asker.from.ip(), now.unix_s as u32);
    let cookie = [&[7; 8][..], &server].concat();
    assert_eq!(
        racing.asker.ask(&www().option(OptionOf::Cookie(&cookie))),
        None
    );
    assert_eq!(racing.calls(), 2);
    // The site's answer has the cookie.
    let got = racing.answer(Some("site-1")).expect("an answer");
    assert_eq!(got.option(10), Some(&cookie[..]));
}

#[test]
fn who_asks_again_and_again_gets_one_and_the_same_plain_answer() {
    let mut racing = Racing::proven();
    // The first, and four more: it did not wait long enough.
    for calls in 1..=5 {
        racing.asker.from.set_port(racing.asker.from.port() + 1);
        assert_eq!(racing.asker.ask(&www()), None);
        assert_eq!(racing.calls(), calls);
    }
    let first = racing.asker.ask(&www()).expect("an answer");
    assert!(
        first.sections[0][0].starts_with("www.example. 5 A "),
        "{first:?}"
    );
    for _ in 0..5 {
        racing.asker.from.set_port(racing.asker.from.port() + 1);
        assert_eq!(racing.asker.ask(&www()).expect("an answer"), first);
    }
    racing.asker.passes(3);
    assert_eq!(racing.asker.ask(&www()), None);
    assert_eq!(
        (racing.calls(), racing.asker.of_count(Count::Again)),
        (6, 6)
    );
}

#[test]
fn a_winner_is_learned_only_where_the_race_was_and_soon() {
    let mut racing = Racing::proven();
    assert_eq!(racing.asker.ask(&www()), None);
    let alias = racing.alias("site-2");
    racing.asker.from.set_ip([203, 0, 114, 9].into());
    assert_eq!(racing.follow(&alias).sections[0].len(), 1);
    racing.asker.from.set_ip([203, 0, 113, 9].into());
    racing.asker.passes(3);
    assert_eq!(racing.asker.ask(&www()), None);
    let late = racing.alias("site-2");
    racing.asker.passes(11);
    assert_eq!(racing.follow(&late).sections[0].len(), 1);
    assert_eq!(racing.asker.of_count(Count::NotLearned), 2);
    assert!(
        racing
            .asker
            .responder
            .authority
            .winners(|winners| winners.is_empty())
    );
}

#[test]
fn a_made_up_label_names_nobody() {
    let mut racing = Racing::proven();
    assert_eq!(racing.asker.ask(&www()), None);
    let alias = racing.alias("site-2");
    let other = alias.replace("site-2", "site-3");
    for name in [&other, "x.www.example.", "site-2.www.example."] {
        assert_eq!(racing.follow(name).rcode, rcode::NAME_ERROR, "{name}");
    }
    // Mixed case is the same label (0x20).
    let got = racing.follow(&alias.to_ascii_uppercase());
    assert_eq!(got.sections[0].len(), 1);
    let none = QueryBuilder::new(&alias, kind::TXT);
    let none = racing.asker.ask(&none).expect("an answer");
    assert_eq!((none.rcode, none.sections[1].len()), (0, 1));
}

#[test]
fn names_of_a_raced_wildcard_race_each_for_itself() {
    let mut racing = Racing::proven();
    for name in ["a.raced.example.", "b.raced.example."] {
        let query = QueryBuilder::new(name, kind::A).edns(1232);
        assert_eq!(racing.asker.ask(&query), None);
        let alias = racing.alias("site-2");
        assert_eq!(racing.follow(&alias).sections[0].len(), 1);
        let got = racing.asker.ask(&query).expect("an answer");
        assert_eq!(got.sections[0], [format!("{name} 120 A 198.51.100.2")]);
    }
    assert_eq!(racing.calls(), 2);
}

#[test]
fn without_a_race_the_answer_is_plain() {
    let mut racing = Racing::proven();
    *racing.master.refuses.lock().expect("no panic") = Some(Refused::TooFew);
    let got = racing.asker.ask(&www()).expect("an answer");
    assert!(
        got.sections[0][0].starts_with("www.example. 5 A "),
        "{got:?}"
    );
    *racing.master.refuses.lock().expect("no panic") = None;
    assert_eq!(racing.asker.ask(&www()), None);
    // A site that has no address of that name is silent; when all are, the master answers plainly.
    assert_eq!(racing.answer(Some("site-9")), None);
    assert_eq!(
        racing.answer(None).expect("an answer").sections[0],
        got.sections[0]
    );
}

#[test]
fn a_race_is_charged_for_all_the_answers_it_draws() {
    let mut racing = Racing::proven();
    racing.asker.responder.limiter = Limiter::new(
        LimitOptions {
            per_s: 10,
            slip: 0,
            v4_bits: 24,
            v6_bits: 56,
        },
        1,
    );
    for port in 1000..1100 {
        racing.asker.from = SocketAddr::from(([203, 0, 113, (port % 100) as u8], port));
        racing.asker.ask(&www());
    }
    // Three sites: three races at ten answers a second.
    assert_eq!(racing.calls(), 3);
}

#[test]
fn a_zones_own_name_races_with_addresses() {
    let mut steering = steering();
    let www_name = name("www.example.");
    steering.names.get_mut(&www_name).expect("steered").form = RaceForm::Address;
    let zones = Zones::new(&masters(), &steering).expect("right");
    let mut racing = Racing::proven();
    racing.asker.responder.authority.set_zones(zones);
    assert_eq!(racing.asker.ask(&www()), None);
    let got = racing.answer(Some("site-2")).expect("an answer");
    assert_eq!(got.sections[0], ["www.example. 120 A 198.51.100.2"]);
}

#[test]
fn who_asks_for_recursion_gets_addresses_because_it_follows_no_alias() {
    let mut racing = Racing::proven();
    assert_eq!(racing.asker.ask(&www().recursion_desired()), None);
    let got = racing.answer(Some("site-2")).expect("an answer");
    assert_eq!(got.sections[0], ["www.example. 120 A 198.51.100.2"]);
}
