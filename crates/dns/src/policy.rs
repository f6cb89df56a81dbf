//! Which of a name's addresses an asker gets (B4, C6).
//!
//! A steered name has its addresses in the zone as any other; its policy says which of them an
//! answer holds. `race` lets the sites race for each resolver's network, and gives the winner's
//! address from then on; `round-robin`, `random` and `load` choose by themselves. A site that is
//! down is left out, unless all are.

use core::net::IpAddr;
use std::collections::HashMap;

use serde::Deserialize;

use crate::body::{Body, Compiler, Owner, Section};
use crate::name::Name;
use crate::query::kind;
use crate::record::{Data, Record};

/// Bytes of a site's name at most: it is part of a label, beside 25 bytes that prove it.
pub const SITE_MAX: usize = 32;

/// How a name's answers are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The sites race.
    #[default]
    Race,
    /// One after the other.
    RoundRobin,
    /// By chance.
    Random,
    /// Of two drawn by chance the less loaded.
    Load,
}

/// What a raced answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RaceForm {
    /// An alias that names the site; whoever asks for its address next tells who won.
    #[default]
    Alias,
    /// The address: one question less, but nobody learns who won. For names that cannot be an
    /// alias, such as a zone's own.
    Address,
}

/// A place that answers can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name: lower-case letters, digits and hyphens, at most 32.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What is asked of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// How its answers are chosen.
    pub policy: Policy,
    /// How many addresses an answer holds; one where it races.
    pub answers: usize,
    /// What a raced answer is.
    pub form: RaceForm,
}

/// All that is steered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// The sites.
    pub sites: Vec<Site>,
    /// The names.
    pub names: HashMap<Name, Steered>,
}

/// How a site does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It works; a request more costs so much, in any unit that all sites share.
    Up(f64),
    /// It does not.
    Down,
}

/// Tells how sites do, by name.
pub type Standings = dyn Fn(&str) -> Standing + Send + Sync;

/// A steered name, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Policed {
    pub(crate) name: Name,
    pub(crate) steered: Steered,
    v4: Choices,
    v6: Choices,
}

/// What a name's answers of one type are chosen from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    pub(crate) ttl: u32,
    pub(crate) choices: Vec<Choice>,
}

#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Which site it leads to; none where no site has the address.
    pub(crate) site: Option<usize>,
    pub(crate) body: Body,
}

impl Policed {
    pub(crate) fn new(
        owner: &Name,
        records: &[&Record],
        steered: &Steered,
        sites: &[Site],
    ) -> Result<Self, String> {
        let races = steered.policy == Policy::Race;
        let others = records
            .iter()
            .find(|record| !matches!(record.kind, kind::A | kind::AAAA));
        if races
            && steered.form == RaceForm::Alias
            && let Some(other) = others
        {
            let other = crate::record::kind_name(other.kind);
            return Err(format!(
                "{owner} races as an alias, which cannot have {other} beside it; take it away, or \
                 set form = \"address\""
            ));
        }
        let choices = |kind| choices(owner, records, kind, steered, sites);
        Ok(Self {
            name: owner.clone(),
            steered: *steered,
            v4: choices(kind::A)?,
            v6: choices(kind::AAAA)?,
        })
    }

    pub(crate) fn races(&self) -> bool {
        self.steered.policy == Policy::Race
    }

    /// Whether it has addresses of that type.
    pub(crate) fn has(&self, kind: u16) -> bool {
        !self.choices(kind).choices.is_empty()
    }

    pub(crate) fn choices(&self, asked: u16) -> &Choices {
        match asked {
            kind::AAAA => &self.v6,
            _ => &self.v4,
        }
    }
}

impl Choices {
    /// The choice that leads to a site.
    pub(crate) fn of_site(&self, site: usize) -> Option<&Choice> {
        self.choices.iter().find(|choice| choice.site == Some(site))
    }

    /// The place of the choice from `from` on whose site works; `from` itself if none does.
    pub(crate) fn working(
        &self,
        from: usize,
        sites: &[Site],
        standings: &dyn Fn(&str) -> Standing,
    ) -> usize {
        let count = self.choices.len();
        let around = (0..count).map(|step| (from + step) % count);
        let mut working = around.filter(|at| self.cost(*at, sites, standings).is_some());
        working.next().unwrap_or(from % count)
    }

    /// Of two places the one whose site costs less.
    pub(crate) fn cheaper(
        &self,
        one: usize,
        other: usize,
        sites: &[Site],
        standings: &dyn Fn(&str) -> Standing,
    ) -> usize {
        let cost = |at| self.cost(at, sites, standings).unwrap_or(f64::INFINITY);
        match cost(other) < cost(one) {
            true => other,
            false => one,
        }
    }

    fn cost(&self, at: usize, sites: &[Site], standings: &dyn Fn(&str) -> Standing) -> Option<f64> {
        let Some(site) = self.choices[at].site else {
            return Some(0.0);
        };
        match standings(&sites[site].name) {
            Standing::Up(cost) => Some(cost),
            Standing::Down => None,
        }
    }
}

fn choices(
    owner: &Name,
    records: &[&Record],
    kind: u16,
    steered: &Steered,
    sites: &[Site],
) -> Result<Choices, String> {
    let races = steered.policy == Policy::Race;
    let of_kind: Vec<&&Record> = records.iter().filter(|r| r.kind == kind).collect();
    let ttl = of_kind.iter().map(|record| record.ttl).min();
    let mut out = Choices {
        ttl: ttl.unwrap_or(0),
        choices: Vec::new(),
    };
    let mut set: Vec<(&Data, Option<usize>)> = Vec::new();
    for record in of_kind {
        let address = record.data.as_address();
        let of = |site: &Site| address.is_some_and(|a| site.addresses.contains(&a));
        let site = sites.iter().position(of);
        let named = races || steered.policy == Policy::Load;
        if site.is_none() && named {
            let address = address.map_or_else(String::new, |address| address.to_string());
            return Err(format!(
                "{owner} leads to {address}, which is an address of no [[dns.site]]"
            ));
        }
        if races && set.iter().any(|(_, there)| *there == site) {
            return Err(format!(
                "{owner} has two addresses of one site, and it races"
            ));
        }
        if !set.iter().any(|(data, _)| **data == record.data) {
            set.push((&record.data, site));
        }
    }
    let answers = match races {
        true => 1,
        false => steered.answers.clamp(1, set.len().max(1)),
    };
    for first in 0..set.len() {
        let mut compiler = Compiler::new(&Name::root());
        for step in 0..answers {
            let (data, _) = set[(first + step) % set.len()];
            compiler.record(Section::Answer, Owner::Question, kind, out.ttl, data);
        }
        let body = compiler.finish();
        out.choices.push(Choice {
            site: set[first].1,
            body: body.ok_or_else(|| format!("the addresses of {owner} fill no message"))?,
        });
    }
    Ok(out)
}
