//! From records to bodies.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use smallvec::SmallVec;

use super::{Names, Node, Zone, by_name, delegation, fault};
use crate::body::{Body, Compiler, Owner, Section};
use crate::master::{Fault, Master};
use crate::name::{Name, suffixes};
use crate::policy::{Policed, Steering};
use crate::query::{kind, rcode};
use crate::record::{Data, Record, kind_name};

/// How many CNAMEs are followed.
const ALIASES_MAX: usize = 8;

/// A zone that is ready to be served.
pub(super) struct Compiled {
    pub(super) zone: Zone,
    pub(super) names: BTreeMap<Box<[u8]>, Node>,
}

/// What the steps share.
struct Context<'a> {
    origin: &'a Name,
    names: Names<'a>,
    authority: &'a Record,
    negative_ttl: u32,
    steering: &'a Steering,
    master: &'a Master,
    /// Names with something at or below them.
    existing: HashSet<Box<[u8]>>,
}

/// Compiles a zone that was checked.
pub(super) fn compile(
    origin: &Name,
    master: &Master,
    steering: &Steering,
) -> Result<Compiled, Vec<Fault>> {
    let authority = master.records.iter().find(|r| r.kind == kind::SOA);
    let authority = authority.expect("a checked zone has one");
    let minimum = authority.data.minimum().unwrap_or(authority.ttl);
    let names = by_name(master);
    let above = names.keys().flat_map(|key| suffixes(key));
    let context = Context {
        origin,
        existing: above.map(Into::into).collect(),
        names,
        authority,
        negative_ttl: minimum.min(authority.ttl),
        steering,
        master,
    };
    let mut faults = Vec::new();
    let mut names = BTreeMap::new();
    for (key, records) in &context.names {
        if delegation(&context.names, key, origin).is_some_and(|cut| *cut != **key) {
            continue; // Only an address beside a delegation.
        }
        match context.node(key, records) {
            Ok(node) => {
                names.insert(key.clone(), node);
            }
            Err(fault) => faults.push(fault),
        }
    }
    // Names that exist because something below them does.
    let apex = origin.key();
    for key in context.names.keys() {
        if delegation(&context.names, key, origin).is_some_and(|cut| *cut != **key) {
            continue;
        }
        for above in suffixes(key).take_while(|above| **above != *apex) {
            names.entry(above.into()).or_insert_with(empty);
        }
    }
    let serial = context.serial();
    let zone = Zone {
        origin: origin.clone(),
        serial,
        absent: context.negative(rcode::NAME_ERROR),
        empty: context.negative(rcode::NO_ERROR),
    };
    match faults.is_empty() {
        true => Ok(Compiled { zone, names }),
        false => Err(faults),
    }
}

fn empty() -> Node {
    Node {
        zone: 0,
        delegation: false,
        kinds: SmallVec::new(),
        other: None,
        policy: None,
    }
}

/// Without duplicates (RFC 2181, 5), with the smallest time to live that any of them has.
fn set<'a>(records: &[&'a Record], kind: u16) -> (Vec<&'a Data>, u32) {
    let mut set: Vec<&Data> = Vec::new();
    let mut ttl = u32::MAX;
    for record in records.iter().filter(|record| record.kind == kind) {
        ttl = ttl.min(record.ttl);
        if !set.contains(&&record.data) {
            set.push(&record.data);
        }
    }
    (set, ttl)
}

fn answers(compiler: &mut Compiler, records: &[&Record], kind: u16) {
    let (set, ttl) = set(records, kind);
    for data in set {
        compiler.record(Section::Answer, Owner::Question, kind, ttl, data);
    }
}

impl Context<'_> {
    fn serial(&self) -> u32 {
        let numbers = self.authority.data.parts().last();
        match numbers {
            Some(crate::record::Part::Bytes(bytes)) => bytes
                .first_chunk()
                .map_or(0, |serial| u32::from_be_bytes(*serial)),
            _ => 0,
        }
    }

    fn negative(&self, code: u16) -> Body {
        let mut compiler = Compiler::new(self.origin);
        compiler.rcode(code);
        self.authority(&mut compiler);
        compiler.finish().expect("one record fits")
    }

    fn authority(&self, compiler: &mut Compiler) {
        let (owner, data) = (Owner::Name(self.origin), &self.authority.data);
        compiler.record(
            Section::Authority,
            owner,
            kind::SOA,
            self.negative_ttl,
            data,
        );
    }

    fn node(&self, key: &[u8], records: &[&Record]) -> Result<Node, Fault> {
        let owner = &records[0].owner;
        let too_large = |kind: u16| {
            let sentence = format!("the {} records of {owner} fill no message", kind_name(kind));
            fault(self.master, Some(records[0]), sentence)
        };
        if delegation(&self.names, key, self.origin).is_some() {
            let referral = self.referral(owner, records);
            return Ok(Node {
                delegation: true,
                other: Some(referral.ok_or_else(|| too_large(kind::NS))?),
                ..empty()
            });
        }
        let mut node = empty();
        if let Some(alias) = records.iter().find(|r| r.kind == kind::CNAME) {
            let mut kinds = self.kinds_behind(alias);
            kinds.remove(&kind::CNAME);
            for asked in kinds {
                node.kinds.push((asked, self.alias(alias, Some(asked))));
            }
            let mut compiler = self.compiler(owner);
            answers(&mut compiler, &[alias], kind::CNAME);
            let itself = compiler.finish().ok_or_else(|| too_large(kind::CNAME))?;
            node.kinds.push((kind::CNAME, itself));
            node.other = Some(self.alias(alias, None));
            return Ok(node);
        }
        if let Some(steered) = self.steering.names.get(owner) {
            let policed = Policed::new(owner, records, steered, &self.steering.sites)
                .map_err(|sentence| fault(self.master, Some(records[0]), sentence))?;
            node.policy = Some(Box::new(policed));
        }
        let steered = |kind: u16| {
            let policy = node.policy.as_ref();
            policy.is_some_and(|policy| policy.has(kind))
        };
        let kinds: BTreeSet<u16> = records.iter().map(|record| record.kind).collect();
        let mut bodies = SmallVec::new();
        for kind in kinds.into_iter().filter(|kind| !steered(*kind)) {
            let mut compiler = self.compiler(owner);
            answers(&mut compiler, records, kind);
            bodies.push((kind, compiler.finish().ok_or_else(|| too_large(kind))?));
        }
        node.kinds = bodies;
        Ok(node)
    }

    /// For questions of that name; a wildcard's are those below what is above it.
    fn compiler(&self, owner: &Name) -> Compiler {
        match owner.parent() {
            Some(above) if owner.is_wildcard() => Compiler::new(&above),
            _ => Compiler::new(owner),
        }
    }

    fn referral(&self, cut: &Name, records: &[&Record]) -> Option<Body> {
        let mut compiler = Compiler::new(cut);
        compiler.not_authoritative();
        let (servers, ttl) = set(records, kind::NS);
        for data in &servers {
            compiler.record(Section::Authority, Owner::Name(cut), kind::NS, ttl, data);
        }
        // Addresses of servers of this zone, in it or below its delegations.
        for server in servers.iter().filter_map(|data| data.target()) {
            let Some(at) = self.names.get(&server.key()) else {
                continue;
            };
            for kind in [kind::A, kind::AAAA] {
                let (addresses, ttl) = set(at, kind);
                for data in addresses {
                    compiler.record(Section::Additional, Owner::Name(server), kind, ttl, data);
                }
            }
        }
        compiler.finish()
    }

    /// The types that a CNAME leads to within the zone.
    fn kinds_behind(&self, alias: &Record) -> BTreeSet<u16> {
        let end = self.follow(alias).1;
        let End::Records(_, records) = end else {
            return BTreeSet::new();
        };
        let steered = records
            .iter()
            .any(|r| self.steering.names.contains_key(&r.owner));
        match steered {
            true => BTreeSet::new(),
            false => records.iter().map(|record| record.kind).collect(),
        }
    }

    /// A CNAME's answer to a type that its end has, or to all others.
    fn alias(&self, alias: &Record, asked: Option<u16>) -> Body {
        let mut compiler = self.compiler(&alias.owner);
        let (chain, end) = self.follow(alias);
        for (place, (owner, link)) in chain.iter().enumerate() {
            let owner = match place {
                0 => Owner::Question,
                _ => Owner::Name(owner),
            };
            compiler.record(Section::Answer, owner, kind::CNAME, link.ttl, &link.data);
        }
        match end {
            End::Records(name, records) => {
                let steered = records
                    .iter()
                    .any(|r| self.steering.names.contains_key(&r.owner));
                if let Some(kind) = asked {
                    let (set, ttl) = set(records, kind);
                    for data in set {
                        compiler.record(Section::Answer, Owner::Name(&name), kind, ttl, data);
                    }
                } else if !steered {
                    self.authority(&mut compiler);
                }
            }
            End::Empty => self.authority(&mut compiler),
            End::Absent => {
                compiler.rcode(rcode::NAME_ERROR);
                self.authority(&mut compiler);
            }
            End::Elsewhere => {}
        }
        // One that is too large is cut to its first link, which whoever asked can follow.
        compiler.finish().unwrap_or_else(|| {
            let mut compiler = self.compiler(&alias.owner);
            let (ttl, data) = (alias.ttl, &alias.data);
            compiler.record(Section::Answer, Owner::Question, kind::CNAME, ttl, data);
            compiler.finish().expect("one record fits")
        })
    }

    /// The CNAMEs from one on, each with the name it is found at, and what is at their end.
    fn follow<'a>(&'a self, alias: &'a Record) -> (Vec<(Name, &'a Record)>, End<'a>) {
        let mut chain = vec![(alias.owner.clone(), alias)];
        loop {
            let (_, last) = &chain[chain.len() - 1];
            let target = last.data.target().expect("a CNAME is one name").clone();
            let end = self.at(&target);
            match end {
                End::Records(_, records) => {
                    let more = records.iter().find(|record| record.kind == kind::CNAME);
                    match more {
                        Some(more) if chain.len() < ALIASES_MAX => chain.push((target, more)),
                        // A loop, or too long: who asked follows it, or does not.
                        Some(_) => return (chain, End::Elsewhere),
                        None => return (chain, end),
                    }
                }
                end => return (chain, end),
            }
        }
    }

    /// What is at a name of this zone.
    fn at(&self, name: &Name) -> End<'_> {
        let key = name.key();
        if !name.is_under(self.origin) || delegation(&self.names, &key, self.origin).is_some() {
            return End::Elsewhere;
        }
        if let Some(records) = self.names.get(&key) {
            return End::Records(name.clone(), records);
        }
        let exists = |key: &[u8]| self.existing.contains(key);
        if exists(&key) {
            return End::Empty;
        }
        for above in suffixes(&key).skip(1) {
            if exists(above) {
                // A raced name's children are made when it races.
                let raced = |r: &&Record| self.steering.names.contains_key(&r.owner);
                let there = self.names.get(above);
                if there.is_some_and(|records| records.iter().any(raced)) {
                    return End::Elsewhere;
                }
                let wildcard = [b"\x01*", above].concat();
                return match self.names.get(&*wildcard) {
                    Some(records) => End::Records(name.clone(), records),
                    None => End::Absent,
                };
            }
        }
        End::Absent
    }
}

/// What is at the end of a chain of CNAMEs.
enum End<'a> {
    /// Records, found at that name.
    Records(Name, &'a [&'a Record]),
    /// A name without records.
    Empty,
    /// No such name.
    Absent,
    /// Outside the zone, or not to be followed.
    Elsewhere,
}
