//! The answer that a race asks a site for.

use selvedge_race::contest::{ANSWER_MAX, Answers, Asked, Kind};

use super::steer::{place_of, steady};
use super::{Now, Via, prepare};
use crate::authority::Authority;
use crate::books::WinnerKey;
use crate::counts::{Count, Counts};
use crate::name::{NAME_MAX, lower};
use crate::policy::RaceForm;
use crate::query;
use crate::token::{self, LABEL_ROOM, RaceMark};
use crate::zone::Found;

impl Authority {
    /// What a site answers in a race: an alias that names it, or its address; at the master, where
    /// all sites were silent, a plain answer. `None` where this server would not race that query.
    #[must_use]
    pub fn raced(&self, asked: &Asked<'_>, now: Now) -> Option<Vec<u8>> {
        let query = query::read(asked.request).ok()?;
        let mut room = [0; NAME_MAX];
        let key = lower(query.name(), &mut room);
        let zones = self.zones();
        let Found::Steered(policed) = zones.find(key, query.kind) else {
            return None;
        };
        if asked.kind != Kind::Dns || !policed.races() || query.class != 1 {
            return None;
        }
        let choices = policed.choices(query.kind);
        let via = Via::Udp(asked.service);
        let (answer, _) = prepare(self, &query, asked.client, via, now);
        let site_of = |name: &str| zones.sites.iter().position(|site| site.name == name);
        let mut out = Vec::with_capacity(ANSWER_MAX);
        let whole = match asked.site {
            Some(name) => {
                let place = place_of(choices, site_of(name)?)?;
                // Who asks for recursion passes answers on as they are: it follows no alias.
                let form = match query.recursion_desired {
                    true => RaceForm::Address,
                    false => policed.steered.form,
                };
                match form {
                    RaceForm::Address => {
                        answer.addresses(&choices.choices[place].body, choices.ttl, &mut out)
                    }
                    RaceForm::Alias => {
                        let race = RaceMark::new(asked.race.epoch, asked.race.sequence);
                        let mut label = [0; LABEL_ROOM];
                        let length = token::write(&self.race_secret, name, race, key, &mut label);
                        answer.alias(&label[..length], choices.ttl, &mut out);
                        true
                    }
                }
            }
            None => {
                let key = WinnerKey {
                    network: self.network(asked.client.ip()),
                    name: key.into(),
                    kind: query.kind,
                };
                let incumbent = self.winners(|winners| winners.incumbent(&key).and_then(site_of));
                let place = incumbent.and_then(|site| place_of(choices, site));
                let place = place.unwrap_or_else(|| {
                    steady(&key, choices, &zones.sites, &|site| self.standing(site))
                });
                let ttl = choices.ttl.min(self.options.unraced_ttl);
                answer.addresses(&choices.choices[place].body, ttl, &mut out)
            }
        };
        (whole && out.len() <= ANSWER_MAX).then_some(out)
    }
}

impl Answers for Authority {
    fn answer(&self, asked: &Asked<'_>) -> Option<Vec<u8>> {
        let answer = self.raced(asked, crate::server::Clock::new().now())?;
        let mut counts = Counts::default();
        counts.add(Count::RaceAnswers);
        self.count(&mut counts);
        Some(answer)
    }
}
