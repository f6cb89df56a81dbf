//! The invariants.
//!
//! While everyone lives and all is healed: every peer and the witness know everything
//! ([`lack`], [`alive`]). After the last crash: the disks hold what was promised, and the
//! timelines made from them say what the clients know ([`after_crash`]).

mod repository;
mod thresholds;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use selvedge_entry::{Entry, Fold, Record};
use selvedge_identity::{Epoch, Position, ServerName, SessionId};
use selvedge_journal::{EpochStart, read_dir};
use selvedge_session::{Relation, Timeline, timeline};

use crate::Counts;
use crate::ledger::{Book, Promise, Tag};
use crate::server::Server;
use crate::service::TAG;
use crate::world::{World, client_counts, lock};

type Records = BTreeMap<(ServerName, Epoch), BTreeMap<u64, Bytes>>;

/// What someone does not know yet that he should; `None` once all know all.
pub(crate) async fn lack(world: &World) -> Option<String> {
    let lack = journals_lack(world).or_else(|| transactions::lack(world));
    match lack {
        None => thresholds::lack(world).await,
        lack => lack,
    }
}

fn journals_lack(world: &World) -> Option<String> {
    let nodes: Vec<_> = world
        .owners()
        .map(|server| (server, server.node()))
        .collect();
    for (owner, node) in &nodes {
        let Some(node) = node else {
            return Some(format!("{} does not live", owner.host));
        };
        for range in node.journal().epochs() {
            if range.durable_end == 0 {
                continue; // volatile
            }
            for (peer, memory) in &nodes {
                let Some(memory) = memory else { continue };
                let marks = memory.memory().watermarks();
                let seen = marks
                    .iter()
                    .find(|(server, epoch, _)| *server == owner.name && *epoch == range.epoch);
                let seen = seen.map_or(0, |(.., watermark)| *watermark);
                if seen < range.durable_end {
                    return Some(format!(
                        "{} knows {}/{} up to {seen}, not to {}",
                        peer.host, owner.host, range.epoch, range.durable_end
                    ));
                }
            }
            if let Some(lack) = repository::lack(world, &owner.name, &range) {
                return Some(lack);
            }
            let kept = lock(&world.witness.kept);
            let records = kept.records.get(&(owner.name.clone(), range.epoch));
            let have = records.map_or(0, |records| records.range(..range.durable_end).count());
            if (have as u64) < range.durable_end {
                return Some(format!(
                    "the witness has {have} of the {} records of {}/{}",
                    range.durable_end, owner.host, range.epoch
                ));
            }
        }
    }
    None
}

/// What those must have who keep something.
pub(crate) async fn kept(world: &World) {
    repository::holds_everything(world);
    transactions::once_each(world);
    thresholds::once_each(world).await;
}

/// Every living peer remembers what was promised, and the same visits.
pub(crate) async fn alive(world: &World) {
    kept(world).await;
    let book = world.ledger.book();
    for server in &world.servers {
        let Some(node) = server.node() else { continue };
        let mut histories: HashMap<SessionId, Vec<Entry>> = HashMap::new();
        for promise in book.promises.iter().filter(|promise| promise.durable) {
            let session = book.visits[promise.visit].session;
            let history = histories
                .entry(session)
                .or_insert_with(|| node.memory().history(session));
            let entry = history
                .iter()
                .find(|entry| entry.position == promise.position);
            if entry.is_none_or(|entry| entry.effect.is_none()) {
                world.trace.violation(format!(
                    "{} does not remember {} with its effect (request {})",
                    server.host, promise.position, promise.tag
                ));
            }
        }
        let lost = node.memory().counts().lost;
        let volatile = book.promises.iter().any(|promise| !promise.durable);
        if lost > 0 && !volatile && !any_volatile(world) {
            world
                .trace
                .violation(format!("{} counts {lost} records as lost", server.host));
        }
    }
}

/// Whether a journal was ever volatile in this run.
fn any_volatile(world: &World) -> bool {
    let kept = lock(&world.witness.kept);
    let volatile = |start: EpochStart| start.volatile;
    let started = |records: &BTreeMap<u64, Bytes>| {
        records
            .get(&0)
            .and_then(|payload| EpochStart::decode(payload))
            .is_some_and(volatile)
    };
    kept.records.values().any(started)
        || !kept.gaps.is_empty()
        || world.owners().any(|server| {
            server
                .node()
                .is_some_and(|node| node.journal().counters().volatile_records > 0)
        })
}

/// Everything has stopped; only the disks are left, and what the witness kept.
pub(crate) fn after_crash(world: &Arc<World>) -> Counts {
    let mut counts = client_counts(world);
    let mut disks = Records::new();
    for server in world.owners() {
        disks.extend(read_disk(world, server));
    }
    check_promises(world, &disks);
    check_witness(world, &disks);
    let entries = entries_of(&disks);
    check_parts(world, &entries);
    check_unheld(world, &entries);
    check_visits(world, &entries, &mut counts);
    counts
}

/// Reads a journal back: dense, each position once, epochs chained, counters growing.
fn read_disk(world: &World, server: &Server) -> Records {
    let mut records = Records::new();
    let storage = Arc::new(server.storage.clone());
    let read = match read_dir(storage, &server.folder()) {
        Ok(read) => read,
        Err(error) => {
            world.trace.violation(format!("{}: {error}", server.host));
            return records;
        }
    };
    let mut order: Vec<Epoch> = Vec::new();
    let mut counters: HashMap<SessionId, u64> = HashMap::new();
    for record in read {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                world.trace.violation(format!("{}: {error}", server.host));
                continue;
            }
        };
        if order.last() != Some(&record.epoch) {
            order.push(record.epoch);
        }
        let epoch = records
            .entry((record.server.clone(), record.epoch))
            .or_default();
        let next = epoch.len() as u64;
        if record.sequence != next {
            world.trace.violation(format!(
                "{}/{}: record {} where {next} should be",
                server.host, record.epoch, record.sequence
            ));
        }
        let counted = match Record::decode(&record.payload) {
            Ok(Record::Opening(opening) | Record::Whole(opening, _)) => {
                opening.session.zip(opening.counter)
            }
            _ => None,
        };
        if let Some((session, counter)) = counted
            && let Some(before) = counters.insert(session, counter)
            && before >= counter
        {
            world.trace.violation(format!(
                "{}: gave counter {counter} of session {session} after {before}",
                server.host
            ));
        }
        epoch.insert(record.sequence, record.payload);
    }
    let mut previous: Option<(Epoch, u64)> = None;
    for epoch in order {
        let Some(held) = records.get(&(server.name.clone(), epoch)) else {
            continue;
        };
        let start = held.get(&0).and_then(|payload| EpochStart::decode(payload));
        let chained = EpochStart {
            epoch,
            volatile: false,
            previous,
        };
        if start != Some(chained) {
            world.trace.violation(format!(
                "{}: epoch {epoch} starts as {start:?}, after {previous:?}",
                server.host
            ));
        }
        previous = Some((epoch, held.len() as u64));
    }
    records
}

/// No effect that was answered as durable is lost.
fn check_promises(world: &World, disks: &Records) {
    let book = world.ledger.book();
    let kept = lock(&world.witness.kept);
    for promise in book.promises.iter().filter(|promise| promise.durable) {
        let key = (promise.position.server.clone(), promise.position.epoch);
        for (whose, records) in [("the disk", disks), ("the witness", &kept.records)] {
            let held = records.get(&key);
            let has = |sequence| held.is_some_and(|records| records.contains_key(&sequence));
            if !has(promise.position.sequence) || !has(promise.effect) {
                world.trace.violation(format!(
                    "{} (effect {}) of request {} was answered, and {whose} has lost it",
                    promise.position, promise.effect, promise.tag
                ));
            }
        }
    }
}

/// The witness has what the disks have, the same, and nothing durable beyond.
fn check_witness(world: &World, disks: &Records) {
    let kept = lock(&world.witness.kept);
    for ((server, epoch), records) in disks {
        let Some(seen) = kept.records.get(&(server.clone(), *epoch)) else {
            continue; // an epoch that began with the end
        };
        for (sequence, payload) in records {
            if seen.get(sequence).is_some_and(|other| other != payload) {
                world.trace.violation(format!(
                    "{server}/{epoch}/{sequence} is another record on disk than on the network"
                ));
            }
        }
    }
}

fn entries_of(records: &Records) -> Vec<Entry> {
    let mut entries = Vec::new();
    for ((server, epoch), records) in records {
        let mut fold = Fold::new(server.clone(), *epoch);
        for (sequence, payload) in records {
            if let Ok(record) = Record::decode(payload) {
                fold.apply(*sequence, record);
            }
        }
        entries.extend(fold.into_entries());
    }
    entries
}

/// The entries of the journals' durable records, as the witness has them.
fn durable_entries(world: &World) -> Vec<Entry> {
    let kept = lock(&world.witness.kept);
    let mut durable = Records::new();
    for server in world.owners() {
        let Some(node) = server.node() else { continue };
        for range in node.journal().epochs() {
            let key = (server.name.clone(), range.epoch);
            if let Some(records) = kept.records.get(&key) {
                let records = records.range(..range.durable_end);
                let records = records.map(|(sequence, payload)| (*sequence, payload.clone()));
                durable.insert(key, records.collect());
            }
        }
    }
    entries_of(&durable)
}

/// An attribute of an entry's effect or end.
fn attribute<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    let effect = entry
        .effect
        .iter()
        .flat_map(|(_, effect)| &effect.attributes);
    let closing = entry.closing.iter().flat_map(|closing| &closing.attributes);
    let mut all = effect.chain(closing);
    let found = all.find(|(found, _)| &**found == name)?;
    Some(&found.1)
}

/// What was written of an entry's effect and end is that entry's.
fn check_parts(world: &World, entries: &[Entry]) {
    for entry in entries {
        let action = &entry.opening.action;
        let effect = entry
            .effect
            .iter()
            .flat_map(|(_, effect)| &effect.attributes);
        let closing = entry.closing.iter().flat_map(|closing| &closing.attributes);
        for (name, value) in effect.chain(closing) {
            if &**name == TAG && tag_of(action).is_none_or(|tag| tag.to_string() != **value) {
                world.trace.violation(format!(
                    "{} ({action}) was given the effect or the end of request {value}",
                    entry.position
                ));
            }
        }
    }
}

/// Which request an entry is of.
fn tag_of(action: &str) -> Option<Tag> {
    let deep = || action.strip_prefix("GET /deep/")?.parse().ok();
    part(action).map(|(tag, _)| tag).or_else(deep)
}

/// A head that was not held when the request was taken stands in the entry as unseen.
fn check_unheld(world: &World, entries: &[Entry]) {
    let book = world.ledger.book();
    let mains: HashMap<Tag, &Entry> = entries
        .iter()
        .filter(|entry| entry.opening.counter.is_some())
        .filter_map(|entry| match part(&entry.opening.action)? {
            (tag, Part::Main) => Some((tag, entry)),
            _ => None,
        })
        .collect();
    for unheld in book.unheld.iter().filter(|unheld| !unheld.excused) {
        let Some(entry) = mains.get(&unheld.tag) else {
            continue; // lost in a crash, unanswered
        };
        if !entry.opening.unseen.contains(&unheld.head) {
            world.trace.violation(format!(
                "request {} went on without {}, which its client has seen, and does not say so",
                unheld.tag, unheld.head
            ));
        }
    }
}

/// Which part of a request an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Main,
    Step(u64),
    Deep,
}

fn part(action: &str) -> Option<(Tag, Part)> {
    if let Some(tag) = action.strip_prefix("GET /visit/") {
        return Some((tag.parse().ok()?, Part::Main));
    }
    if let Some(tag) = action.strip_prefix("deep ") {
        return Some((tag.parse().ok()?, Part::Deep));
    }
    let (tag, step) = action.strip_prefix("step ")?.split_once(' ')?;
    Some((tag.parse().ok()?, Part::Step(step.parse().ok()?)))
}

/// Every visit's timeline is the model's.
fn check_visits(world: &World, entries: &[Entry], counts: &mut Counts) {
    let book = world.ledger.book();
    let witnessed = entries_of(&lock(&world.witness.kept).records);
    for (number, visit) in book.visits.iter().enumerate() {
        let line = timeline(visit.session, entries.iter().cloned());
        let mut orderings = HashSet::new();
        for action in line.actions() {
            if !orderings.insert(action.ordering()) {
                world.trace.violation(format!(
                    "visit {number}: ordering id {:?} was given twice",
                    action.ordering()
                ));
            }
        }
        let lossy = is_lossy(&book, number);
        compare(world, &book, number, &line, lossy, counts);
        // The repository may hold more: entries that were volatile and are gone from the disk.
        let other = timeline(visit.session, witnessed.iter().cloned());
        compare(world, &book, number, &other, lossy, &mut Counts::default());
        let missing: BTreeSet<&Position> = positions(&line)
            .difference(&positions(&other))
            .copied()
            .collect();
        if !missing.is_empty() {
            world
                .trace
                .violation(format!("visit {number}: the witness lacks {missing:?}"));
        }
    }
}

/// Whether the fabric may have lost something of a visit.
fn is_lossy(book: &Book, number: usize) -> bool {
    let volatile = |promise: &Promise| promise.visit == number && !promise.durable;
    book.visits[number].lossy || book.promises.iter().any(volatile)
}

fn positions(line: &Timeline) -> BTreeSet<&Position> {
    line.actions()
        .iter()
        .map(|action| &action.position)
        .collect()
}

/// Compares every pair of a timeline with what the client knows.
fn compare(
    world: &World,
    book: &Book,
    number: usize,
    line: &Timeline,
    lossy: bool,
    counts: &mut Counts,
) {
    let parts: Vec<Option<(Tag, Part)>> = line
        .actions()
        .iter()
        .map(|action| part(&action.opening.action))
        .collect();
    // Of a request that a crash interrupted, what other servers did may be all that is left: what
    // it followed is unknown.
    let whole: HashSet<Tag> = parts
        .iter()
        .flatten()
        .filter(|(_, part)| *part == Part::Main)
        .map(|(tag, _)| *tag)
        .collect();
    for (tag, attempt) in &book.attempts {
        let answered = attempt.visit == number && attempt.received.is_some();
        if answered && !lossy && !whole.contains(tag) {
            world.trace.violation(format!(
                "visit {number}: request {tag} was answered and is gone"
            ));
        }
    }
    for (b, part_b) in parts.iter().enumerate() {
        for (a, part_a) in parts[..b].iter().enumerate() {
            let (Some(part_a), Some(part_b)) = (part_a, part_b) else {
                world
                    .trace
                    .violation(format!("visit {number}: an action that nobody did"));
                return;
            };
            let Some(expected) = expected(book, *part_a, *part_b) else {
                continue;
            };
            let Some(told) = line.relation(a, b) else {
                continue;
            };
            counts.pairs += 1;
            if told == Relation::Unproven {
                let ordered = expected != Relation::Concurrent;
                let torn = !whole.contains(&part_a.0) || !whole.contains(&part_b.0);
                counts.unproven_lossy += u64::from(ordered && (lossy || torn));
                if lossy || torn || !ordered {
                    continue;
                }
            }
            if told == expected {
                continue;
            }
            let name = |at: usize| {
                let action = &line.actions()[at];
                format!("{} {}", action.opening.action, action.position)
            };
            world.trace.violation(format!(
                "visit {number}{}: the timeline calls {} {told:?} {}, the client knows {expected:?}",
                if book.visits[number].jar { " (browser)" } else { "" },
                name(a),
                name(b)
            ));
        }
    }
}

/// What the client knows of two actions; `None` where it can know nothing.
fn expected(book: &Book, a: (Tag, Part), b: (Tag, Part)) -> Option<Relation> {
    let (of_a, of_b) = (book.attempts.get(&a.0)?, book.attempts.get(&b.0)?);
    if a.0 == b.0 {
        return match (a.1, b.1) {
            (Part::Main, _) => Some(Relation::Before),
            (_, Part::Main) => Some(Relation::After),
            (Part::Step(first), Part::Step(second)) => Some(match of_a.sequential {
                true if first < second => Relation::Before,
                true => Relation::After,
                false => Relation::Concurrent,
            }),
            _ => None,
        };
    }
    let unknown = |part: Part, deep_known: bool| part == Part::Deep && !deep_known;
    if unknown(a.1, of_a.deep_known) || unknown(b.1, of_b.deep_known) {
        return None;
    }
    let before = |received: Option<u64>, sent: u64| received.is_some_and(|at| at < sent);
    Some(if before(of_a.received, of_b.sent) {
        Relation::Before
    } else if before(of_b.received, of_a.sent) {
        Relation::After
    } else {
        Relation::Concurrent
    })
}
