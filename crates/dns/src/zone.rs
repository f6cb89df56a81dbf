//! Zones, and what each of their names answers.
//!
//! A zone is read from a master file, checked as a whole, and compiled: every name gets a body for
//! each type that it has and one for all others, so that an answer is one look into one table and a
//! copy. A name that is not there is searched for from below: the nearest name above it that exists
//! is a delegation (referral), has a wildcard, or proves that nothing is there.

mod check;
mod compile;

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::body::Body;
use crate::hash::Quick;
use crate::master::{Fault, Master};
use crate::name::{Name, suffixes};
use crate::policy::{Policed, Site, Steering};
use crate::query::kind;
use crate::record::Record;

/// All zones that are served.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    names: HashMap<Box<[u8]>, Node, Quick>,
    zones: Vec<Zone>,
    pub(crate) sites: Vec<Site>,
}

/// What is said for a whole zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) origin: Name,
    pub(crate) serial: u32,
    /// The name does not exist.
    absent: Body,
    /// The name exists, but not with that type.
    empty: Body,
}

/// What one name answers.
#[derive(Clone, Debug)]
struct Node {
    zone: usize,
    delegation: bool,
    kinds: SmallVec<[(u16, Body); 2]>,
    /// Of all other types; without one, the zone's `empty`.
    other: Option<Body>,
    policy: Option<Box<Policed>>,
}

/// What is known of a question's name and type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// In none of the zones.
    Elsewhere,
    /// An answer, and what it is one of: the same number for the same.
    Body(&'a Body, u64),
    /// A name whose answers are steered.
    Steered(&'a Policed),
    /// A name one label below one that races: that label's length.
    BelowRace(&'a Policed),
    /// A name that exists, asked for everything.
    Everything,
}

/// The records of a zone by name, in the order of keys; the first step of compiling.
type Names<'a> = BTreeMap<Box<[u8]>, Vec<&'a Record>>;

impl Zones {
    /// Checks and compiles zones, each with its origin, and the steering of their names.
    ///
    /// # Errors
    /// All that is wrong, with files and lines; of the steering with the name.
    pub fn new(masters: &[(Name, Master)], steering: &Steering) -> Result<Self, Vec<Fault>> {
        let mut zones = Self {
            sites: steering.sites.clone(),
            ..Self::default()
        };
        let mut faults = Vec::new();
        for (origin, master) in masters {
            let twice = zones.zones.iter().any(|zone| zone.origin == *origin);
            if twice {
                let sentence = format!("the zone {origin} is given twice");
                faults.push(fault(master, None, sentence));
                continue;
            }
            let found = check::check(origin, master);
            if found.is_empty() {
                match compile::compile(origin, master, steering) {
                    Ok(compiled) => zones.add(compiled),
                    Err(found) => faults.extend(found),
                }
            }
            faults.extend(found);
        }
        for name in steering.names.keys() {
            let known = zones.names.get(&*name.key());
            if faults.is_empty() && known.is_none_or(|node| node.policy.is_none()) {
                faults.push(Fault {
                    file: "dns.name".to_owned(),
                    line: 0,
                    sentence: format!("{name} has no A or AAAA records in any zone"),
                });
            }
        }
        match faults.is_empty() {
            true => Ok(zones),
            false => Err(faults),
        }
    }

    fn add(&mut self, compiled: compile::Compiled) {
        let number = self.zones.len();
        self.zones.push(compiled.zone);
        for (key, mut node) in compiled.names {
            node.zone = number;
            // A zone's apex goes before the delegation to it in its parent.
            match self.names.get(&key) {
                Some(there) if !there.delegation => {}
                _ => {
                    self.names.insert(key, node);
                }
            }
        }
    }

    /// Origins and serial numbers.
    pub fn zones(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.zones.iter().map(|zone| (&zone.origin, zone.serial))
    }

    /// What says that a name of one of the zones does not exist.
    pub(crate) fn absent_at(&self, key: &[u8]) -> &Body {
        &self.zone_of(key).absent
    }

    /// What says that a name of one of the zones has no such type.
    pub(crate) fn empty_at(&self, key: &[u8]) -> &Body {
        &self.zone_of(key).empty
    }

    fn zone_of(&self, key: &[u8]) -> &Zone {
        let node = suffixes(key).find_map(|above| self.names.get(above));
        &self.zones[node.expect("a name of a zone").zone]
    }

    /// Looks a question up; `key` is its name in lower case.
    pub(crate) fn find(&self, key: &[u8], asked: u16) -> Found<'_> {
        if let Some(node) = self.names.get(key) {
            return self.of_node(node, asked, key.len());
        }
        for (depth, above) in suffixes(key).enumerate().skip(1) {
            let Some(node) = self.names.get(above) else {
                continue;
            };
            if node.delegation {
                return self.of_node(node, kind::NS, above.len());
            }
            if let Some(policy) = &node.policy
                && policy.races()
                && depth == 1
            {
                return Found::BelowRace(policy);
            }
            return match self.wildcard(above) {
                Some(node) => self.of_node(node, asked, above.len()),
                None => Found::Body(&self.zones[node.zone].absent, identity(node.zone, 0, 1)),
            };
        }
        Found::Elsewhere
    }

    fn wildcard(&self, above: &[u8]) -> Option<&Node> {
        let mut key = SmallVec::<[u8; 256]>::from_slice(b"\x01*");
        key.extend_from_slice(above);
        self.names.get(&*key)
    }

    fn of_node<'a>(&'a self, node: &'a Node, asked: u16, length: usize) -> Found<'a> {
        let place = std::ptr::from_ref(node) as usize ^ length;
        if node.delegation && asked == kind::DS {
            return Found::Body(&self.zones[node.zone].empty, identity(node.zone, place, 2));
        }
        if let Some((_, body)) = node.kinds.iter().find(|(kind, _)| *kind == asked) {
            return Found::Body(body, identity(node.zone, place, asked));
        }
        if let Some(policy) = &node.policy
            && (asked == kind::A || asked == kind::AAAA)
            && policy.has(asked)
        {
            return Found::Steered(policy);
        }
        if asked == kind::ANY && !node.delegation {
            return Found::Everything;
        }
        let other = node.other.as_ref();
        let body = other.unwrap_or(&self.zones[node.zone].empty);
        Found::Body(body, identity(node.zone, place, 0))
    }
}

/// A number that answers share which are one answer to whoever floods.
fn identity(zone: usize, place: usize, kind: u16) -> u64 {
    (zone as u64) << 48 ^ (place as u64) << 8 ^ u64::from(kind)
}

/// A fault at a record, or of the whole file.
fn fault(master: &Master, record: Option<&Record>, sentence: String) -> Fault {
    let file = master.files.get(record.map_or(0, |record| record.file));
    Fault {
        file: file.cloned().unwrap_or_default(),
        line: record.map_or(1, |record| record.line),
        sentence,
    }
}

/// The records of each name.
fn by_name(master: &Master) -> Names<'_> {
    let mut names = Names::new();
    for record in &master.records {
        names.entry(record.owner.key()).or_default().push(record);
    }
    names
}

/// The delegation that a name is at or below, in a zone; the apex is none.
fn delegation<'a>(names: &Names<'_>, key: &'a [u8], origin: &Name) -> Option<&'a [u8]> {
    let apex = origin.key();
    let mut found = None;
    for suffix in suffixes(key) {
        if *suffix == *apex {
            break;
        }
        let records = names.get(suffix);
        if records.is_some_and(|records| records.iter().any(|r| r.kind == kind::NS)) {
            found = Some(suffix);
        }
    }
    found
}

#[cfg(test)]
mod tests;
