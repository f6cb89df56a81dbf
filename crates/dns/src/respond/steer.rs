//! Answers of steered names: which of its addresses an asker gets, and whether the sites race for
//! it first.

use core::net::SocketAddr;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::Ordering::Relaxed;

use selvedge_race::contest::{Call, Evidence};

use super::{Asked, Reply, Responder, Via};
use crate::authority::{Authority, Books, any_contains};
use crate::books::WinnerKey;
use crate::counts::Count;
use crate::hash::Quick;
use crate::limit::Verdict;
use crate::name::{labels, parent};
use crate::policy::{Choices, Policed, Policy, Site, Standing};
use crate::query::kind;
use crate::token::{self, RaceMark};
use crate::zone::Zones;

/// How often a question that comes again is raced again. A resolver waits for a race as long as for
/// any other answer of this server, which may be too short, and it is deaf to answers to what it
/// asked before: the next time it waits longer. A plain answer would come before the race's, and
/// name anybody.
const RACED_AGAIN_MAX: u32 = 4;

/// How long after a race began its winner is learned.
const LEARNED_WITHIN_MS: u64 = 10_000;

impl Responder {
    pub(super) fn steered(
        &mut self,
        asked: &Asked<'_>,
        zones: &Zones,
        policed: &Policed,
        out: &mut Vec<u8>,
    ) -> Reply {
        let choices = policed.choices(asked.query.kind);
        if policed.races() {
            if policed.name.is_wildcard()
                && let Some(reply) = self.followed(asked, zones, policed, out)
            {
                return reply;
            }
            return self.race(asked, zones, policed, out);
        }
        let count = choices.choices.len();
        let by_chance = |part: u64| (part as usize) % count;
        let authority = self.authority.clone();
        let standings = &|site: &str| authority.standing(site);
        let sites = &zones.sites;
        let first = match policed.steered.policy {
            Policy::Load => {
                let one = by_chance(asked.random >> 32);
                let other = by_chance(asked.random & 0xffff_ffff);
                let cheaper = choices.cheaper(one, other, sites, standings);
                choices.working(cheaper, sites, standings)
            }
            Policy::Random => choices.working(by_chance(asked.random >> 32), sites, standings),
            _ => {
                let turn = self.authority.turn.fetch_add(1, Relaxed);
                choices.working(turn % count, sites, standings)
            }
        };
        self.counts.add(Count::Chosen);
        self.addresses(asked, choices, first, choices.ttl, out)
    }

    /// A name whose sites race.
    fn race(
        &mut self,
        asked: &Asked<'_>,
        zones: &Zones,
        policed: &Policed,
        out: &mut Vec<u8>,
    ) -> Reply {
        let authority = self.authority.clone();
        let (address, now) = (asked.from.ip(), asked.now);
        let choices = policed.choices(asked.query.kind);
        let key = WinnerKey {
            network: authority.network(address),
            name: asked.key.into(),
            kind: asked.query.kind,
        };
        let mut books = authority.books();
        if asked.via == Via::Tcp {
            books.sources.prove(address, now.steady_ms);
        }
        let site_of = |name: &str| zones.sites.iter().position(|site| site.name == name);
        if let Some(winner) = books.winners.now(&key, now.unix_s)
            && let Some(site) = site_of(&winner.site)
            && let Some(place) = place_of(choices, site)
        {
            let left = winner.until_s.saturating_sub(now.unix_s) as u32;
            drop(books);
            self.counts.add(Count::FromTable);
            return self.addresses(asked, choices, place, choices.ttl.min(left), out);
        }
        let incumbent = books.winners.incumbent(&key).and_then(site_of);
        let options = &authority.options;
        let (now_ms, within_ms) = (now.steady_ms, options.again_ms);
        let recent = &books.recent;
        let raced = recent.times(address, asked.key, key.kind, now_ms, within_ms);
        let again = raced > RACED_AGAIN_MAX;
        let proven = asked.cookie_proves
            || any_contains(&options.proven, address)
            || books.sources.is_proven(address, now.steady_ms);
        let why = match asked.via {
            Via::Tcp => Count::Unraced,
            Via::Udp(_) if again => Count::Again,
            Via::Udp(_) if !proven => {
                if options.bounce && books.sources.bounce(address, now.steady_ms) {
                    drop(books);
                    self.counts.add(Count::Bounced);
                    return self.cut_short(asked, out);
                }
                Count::Unproven
            }
            Via::Udp(service) => {
                let answers = choices.choices.len() as u32;
                let identity = std::ptr::from_ref(choices) as u64;
                let proves = asked.cookie_proves;
                match self.charge(asked.from, asked.via, now, identity, proves, answers) {
                    Verdict::Send if self.start(asked, service, choices, &key, &mut books) => {
                        self.counts.add(Count::Raced);
                        return Reply::Silent;
                    }
                    Verdict::Send => Count::Unraced,
                    Verdict::Slip => {
                        self.counts.add(Count::Slipped);
                        asked.answer.cut_short(out);
                        return Reply::Send;
                    }
                    Verdict::Drop => {
                        self.counts.add(Count::Limited);
                        return Reply::Silent;
                    }
                }
            }
        };
        drop(books);
        self.counts.add(why);
        let place = incumbent.and_then(|site| place_of(choices, site));
        let place = place.unwrap_or_else(|| {
            steady(&key, choices, &zones.sites, &|site| {
                authority.standing(site)
            })
        });
        let ttl = choices.ttl.min(options.unraced_ttl);
        self.addresses(asked, choices, place, ttl, out)
    }

    /// Begins a race; whether one runs.
    fn start(
        &self,
        asked: &Asked<'_>,
        service: SocketAddr,
        choices: &Choices,
        key: &WinnerKey,
        books: &mut Books,
    ) -> bool {
        let Some(races) = self.authority.races() else {
            return false;
        };
        let (address, now_ms) = (asked.from.ip(), asked.now.steady_ms);
        // The books are locked meanwhile, so nobody can name the winner of a race that is not in
        // them yet.
        let started = races.start(Call {
            kind: selvedge_race::contest::Kind::Dns,
            client: asked.from,
            service,
            request: asked.message.to_vec(),
            received: None,
            incumbent: books.winners.incumbent(key).map(str::to_owned),
        });
        let Ok(race) = started else { return false };
        let within_ms = self.authority.options.again_ms;
        let recent = &mut books.recent;
        recent.mark(address, asked.key, key.kind, now_ms, within_ms);
        let ttl = choices.ttl;
        books.open.begin(race, key.clone(), ttl, now_ms);
        true
    }

    /// A name one label below one that races: a race's, or none.
    pub(super) fn below_race(
        &mut self,
        asked: &Asked<'_>,
        zones: &Zones,
        policed: &Policed,
        out: &mut Vec<u8>,
    ) -> Reply {
        if let Some(reply) = self.followed(asked, zones, policed, out) {
            return reply;
        }
        self.counts.add(Count::Negative);
        self.body(asked, zones.absent_at(asked.key), 0, out)
    }

    /// The name that a raced alias pointed to: whoever asks for it tells which site won.
    fn followed(
        &mut self,
        asked: &Asked<'_>,
        zones: &Zones,
        policed: &Policed,
        out: &mut Vec<u8>,
    ) -> Option<Reply> {
        let authority = self.authority.clone();
        let label = labels(asked.key).next()?;
        let raced = parent(asked.key)?;
        let (name, mark) = token::read(&authority.race_secret, label, raced)?;
        let site = zones.sites.iter().position(|site| site.name == name)?;
        self.learn(&authority, asked, mark, name);
        let kind = asked.query.kind;
        let choice = match kind {
            kind::A | kind::AAAA => policed.choices(kind).of_site(site),
            _ => None,
        };
        let Some(place) = choice.and_then(|_| place_of(policed.choices(kind), site)) else {
            self.counts.add(Count::Negative);
            return Some(self.body(asked, zones.empty_at(asked.key), 0, out));
        };
        self.counts.add(Count::Answered);
        let choices = policed.choices(kind);
        Some(self.addresses(asked, choices, place, choices.ttl, out))
    }

    fn learn(&mut self, authority: &Authority, asked: &Asked<'_>, mark: RaceMark, site: &str) {
        let mut books = authority.books();
        let Some(open) = books.open.end(mark) else {
            return; // Known already, or another master's.
        };
        let late = asked.now.steady_ms.saturating_sub(open.began_ms) > LEARNED_WITHIN_MS;
        if late || open.key.network != authority.network(asked.from.ip()) {
            self.counts.add(Count::NotLearned);
            return;
        }
        books
            .winners
            .won(open.key, site, asked.now.unix_s, open.ttl);
        drop(books);
        self.counts.add(Count::Learned);
        if let Some(races) = authority.races() {
            races.won(open.race, site, Evidence::Dns);
        }
    }

    fn addresses(
        &mut self,
        asked: &Asked<'_>,
        choices: &Choices,
        place: usize,
        ttl: u32,
        out: &mut Vec<u8>,
    ) -> Reply {
        let body = &choices.choices[place].body;
        let identity = std::ptr::from_ref(choices) as u64;
        self.send(asked, identity, out, |out| {
            asked.answer.addresses(body, ttl, out)
        })
    }

    /// Tells the asker to come over TCP.
    fn cut_short(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) -> Reply {
        let verdict = self.charge(asked.from, asked.via, asked.now, 1, asked.cookie_proves, 1);
        if verdict == Verdict::Drop {
            self.counts.add(Count::Limited);
            return Reply::Silent;
        }
        asked.answer.cut_short(out);
        Reply::Send
    }
}

pub(super) fn place_of(choices: &Choices, site: usize) -> Option<usize> {
    let mut places = choices.choices.iter();
    places.position(|choice| choice.site == Some(site))
}

/// The place that a network is led to while no race has decided: always the same, as long as the
/// same sites work.
pub(super) fn steady(
    key: &WinnerKey,
    choices: &Choices,
    sites: &[Site],
    standings: &dyn Fn(&str) -> Standing,
) -> usize {
    let mut hasher = Quick(0).build_hasher();
    hasher.write_u64((key.network.bits >> 64) as u64);
    hasher.write_u64(key.network.bits as u64);
    hasher.write(&key.name);
    let from = hasher.finish() as usize % choices.choices.len();
    choices.working(from, sites, standings)
}
