//! What a zone must be before it is served.

use super::{Names, by_name, delegation, fault};
use crate::master::{Fault, Master};
use crate::name::{Name, text};
use crate::query::kind;
use crate::record::{Record, kind_name};

/// The type DNAME (RFC 6672), which is not served.
const DNAME: u16 = 39;

/// All that is wrong with a zone.
pub(super) fn check(origin: &Name, master: &Master) -> Vec<Fault> {
    let mut faults = Vec::new();
    let names = by_name(master);
    let mut say = |record: Option<&Record>, sentence: String| {
        faults.push(fault(master, record, sentence));
    };
    let mut authorities = master.records.iter().filter(|r| r.kind == kind::SOA);
    match authorities.next() {
        None => say(None, format!("the zone {origin} has no SOA record")),
        Some(first) if first.owner != *origin => say(
            Some(first),
            format!("the SOA is of {}, the zone is {origin}", first.owner),
        ),
        Some(_) => {}
    }
    for more in authorities {
        say(Some(more), "a second SOA record".to_owned());
    }
    let at_apex = |r: &&Record| r.kind == kind::NS && r.owner == *origin;
    if !master.records.iter().any(|r| at_apex(&r)) {
        say(
            None,
            format!("the zone {origin} has no NS record of its own"),
        );
    }
    for (key, records) in &names {
        for record in records {
            if !record.owner.is_under(origin) {
                let sentence = format!("{} is not in the zone {origin}", record.owner);
                say(Some(record), sentence);
            } else if let Some(sentence) = one(&names, key, record, origin) {
                say(Some(record), sentence);
            }
        }
        let alias = records.iter().find(|r| r.kind == kind::CNAME);
        if let Some(alias) = alias
            && let Some(other) = records
                .iter()
                .find(|r| r.data != alias.data || r.kind != alias.kind)
        {
            let sentence = format!(
                "{} is a CNAME (line {}) and cannot have {} beside it",
                text(key),
                alias.line,
                kind_name(other.kind)
            );
            say(Some(other), sentence);
        }
    }
    faults
}

/// What is wrong with one record.
fn one(names: &Names<'_>, key: &[u8], record: &Record, origin: &Name) -> Option<String> {
    if record.kind == DNAME {
        return Some("DNAME is not served".to_owned());
    }
    if let Some(cut) = delegation(names, key, origin) {
        let glue = matches!(record.kind, kind::A | kind::AAAA);
        let own = *cut == *key && matches!(record.kind, kind::NS | kind::DS);
        if !glue && !own {
            return Some(format!(
                "{} is delegated: only NS, DS and its servers' addresses stand here",
                text(cut)
            ));
        }
    }
    if record.owner.is_wildcard() && record.kind == kind::NS {
        return Some("a wildcard cannot be delegated".to_owned());
    }
    // A server or mail server with a name of this zone has addresses in it, and no other name.
    let target = record.data.target()?;
    if record.kind == kind::CNAME || record.kind == kind::PTR || !target.is_under(origin) {
        return None;
    }
    let has = |records: &Vec<&Record>, kinds: &[u16]| {
        records.iter().any(|record| kinds.contains(&record.kind))
    };
    let target_key = target.key();
    let at = names.get(&target_key);
    if at.is_some_and(|records| has(records, &[kind::CNAME])) {
        return Some(format!(
            "{target} is a CNAME; RFC 2181 wants addresses here"
        ));
    }
    let addresses = at.is_some_and(|records| has(records, &[kind::A, kind::AAAA]));
    let below = delegation(names, &target_key, origin);
    // Servers below another delegation are found there.
    let needed = record.kind == kind::NS && below.is_none_or(|cut| *cut == *key);
    (needed && !addresses).then(|| format!("{target} has no address in this zone"))
}
