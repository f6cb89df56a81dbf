//! What the threshold monitor must have told once all is at rest.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_entry::{Entry, Fields};
use selvedge_monitor::MonitorStatus;

use super::{attribute, durable_entries};
use crate::thresholds::{HOST, ORDERS, VISIT};
use crate::transactions::{ORDER, order};
use crate::world::{World, lock};

/// A crossing that it has not told yet.
pub(super) async fn lack(world: &World) -> Option<String> {
    let Some(status) = status(world).await else {
        return Some(format!("{HOST} does not live"));
    };
    let waiting: usize = status.waiting.iter().map(|(_, waiting)| waiting).sum();
    if waiting > 0 {
        return Some(format!("{HOST} has {waiting} crossings to tell"));
    }
    let entries = durable_entries(world);
    let told = Told::read(&entries);
    let missing = at_least(world, &entries).find(|visit| !told.raised(visit))?;
    let rules = status.thresholds.iter();
    let counts: Vec<_> = rules.map(|rule| rule.counts).collect();
    let followed = status.followed;
    Some(format!(
        "{HOST} has not told that visit {missing} orders; it counted {counts:?} of {followed:?}"
    ))
}

/// Each crossing has one id, and each id one crossing; what raised was so, and what was so raised.
pub(super) async fn once_each(world: &World) {
    let violation = |what: String| world.trace.violation(format!("{HOST}: {what}"));
    let entries = durable_entries(world);
    let told = Told::read(&entries);
    for what in &told.strange {
        violation(what.clone());
    }
    for visit in at_least(world, &entries).filter(|visit| !told.raised(visit)) {
        violation(format!("visit {visit} orders and nobody was told"));
    }
    let sent = sent(world);
    let mut orders = BTreeMap::<&str, u64>::new();
    for crossing in told.crossings.values() {
        if crossing.rule != ORDERS.0 {
            continue;
        }
        let group = crossing.group.unwrap_or_default();
        *orders.entry(group).or_default() += 1;
        if crossing.clears {
            violation(format!("visit {group} no longer orders, which cannot be"));
        }
        if sent.get(group).copied().unwrap_or_default() < ORDERS.1 {
            violation(format!(
                "visit {group} was told and has not ordered so often"
            ));
        }
    }
    for (visit, _) in orders.into_iter().filter(|(_, times)| *times > 1) {
        violation(format!(
            "the crossing of visit {visit} was told under two ids"
        ));
    }
    if let Some(status) = status(world).await {
        let firing = status.thresholds.iter().map(|rule| {
            let firing = rule.groups.iter().filter(|group| group.firing);
            (rule.rule.name.clone(), firing.count() as u64)
        });
        for (rule, firing) in firing {
            let open = told.open(&rule);
            // What changes by time alone may change between the two looks.
            if rule == ORDERS.0 && open != firing {
                violation(format!("{rule}: {firing} fire, {open} were told"));
            }
        }
    }
    let (told, crossings) = (told.times, told.crossings.len() as u64);
    world.ledger.book().crossings = crossings;
    world.trace.event(
        HOST,
        format_args!("{crossings} crossings, told {told} times"),
    );
}

async fn status(world: &World) -> Option<MonitorStatus> {
    let asker = world.thresholds.asker()?;
    Some(asker.status().await)
}

/// The visits of which the owners' journals hold so many orders, by their servers' clocks made
/// since the monitor began.
fn at_least(world: &World, entries: &[Entry]) -> impl Iterator<Item = String> {
    let from = *lock(&world.counts_from);
    let entries = entries.iter().filter(|entry| Some(entry.opening.at) > from);
    let mut counts = BTreeMap::<&str, u64>::new();
    for entry in entries {
        if attribute(entry, ORDER).is_some()
            && let Some(visit) = attribute(entry, VISIT)
        {
            *counts.entry(visit).or_default() += 1;
        }
    }
    let many = counts.into_iter().filter(|(_, count)| *count >= ORDERS.1);
    many.map(|(visit, _)| visit.to_owned())
        .collect::<Vec<_>>()
        .into_iter()
}

/// The most orders that each visit can have: of some the answer is lost, or their server died.
fn sent(world: &World) -> BTreeMap<String, u64> {
    let book = world.ledger.book();
    let mut sent = BTreeMap::new();
    for (tag, attempt) in &book.attempts {
        if order(*tag).is_some() {
            *sent.entry(attempt.visit.to_string()).or_default() += 1;
        }
    }
    sent
}

/// What a receiver on the bus makes of what it is told: each id once.
#[derive(Default)]
struct Told<'a> {
    crossings: BTreeMap<&'a str, Crossing<'a>>,
    times: u64,
    strange: Vec<String>,
}

struct Crossing<'a> {
    rule: &'a str,
    group: Option<&'a str>,
    number: u64,
    clears: bool,
    all: &'a Fields,
}

impl<'a> Told<'a> {
    fn read(entries: &'a [Entry]) -> Self {
        let mut told = Self::default();
        let ours = entries
            .iter()
            .filter(|entry| entry.position.server.as_str() == HOST);
        for entry in ours {
            told.take(entry);
        }
        for crossing in told.crossings.values() {
            if crossing.clears && !told.raises(crossing.rule).contains(&crossing.number) {
                let (rule, number) = (crossing.rule, crossing.number);
                told.strange
                    .push(format!("{rule} {number} cleared and never raised"));
            }
        }
        let rules: BTreeSet<&str> = told.crossings.values().map(|c| c.rule).collect();
        for rule in rules {
            let raises = told.raises(rule);
            let count = raises.len() as u64;
            if !(1..=count).eq(raises.iter().copied()) {
                told.strange.push(format!("{rule} raised as {raises:?}"));
            }
        }
        told
    }

    fn take(&mut self, entry: &'a Entry) {
        let all = &entry.opening.attributes;
        let field = |name: &str| {
            let found = all.iter().find(|(found, _)| &**found == name);
            found.map(|(_, value)| &**value)
        };
        let (Some(id), Some(rule), Some(number)) = (field("id"), field("rule"), field("number"))
        else {
            return self
                .strange
                .push(format!("{} tells nothing", entry.position));
        };
        self.times += 1;
        let crossing = Crossing {
            rule,
            group: field("group"),
            number: number.parse().unwrap_or_default(),
            clears: &*entry.opening.action == "threshold cleared",
            all,
        };
        let before = self.crossings.get(id);
        if before.is_some_and(|before| before.all != all || before.clears != crossing.clears) {
            self.strange.push(format!("{id} is told of two crossings"));
        }
        let twice = self.crossings.iter().find(|(other, known)| {
            **other != id
                && (known.rule, known.number, known.clears)
                    == (crossing.rule, crossing.number, crossing.clears)
        });
        if let Some((other, _)) = twice {
            self.strange
                .push(format!("one crossing is told as {other} and as {id}"));
        }
        self.crossings.entry(id).or_insert(crossing);
    }

    fn raises(&self, rule: &str) -> BTreeSet<u64> {
        let raises = self
            .crossings
            .values()
            .filter(|c| c.rule == rule && !c.clears);
        raises.map(|crossing| crossing.number).collect()
    }

    fn raised(&self, visit: &str) -> bool {
        self.crossings
            .values()
            .any(|c| c.rule == ORDERS.0 && c.group == Some(visit) && !c.clears)
    }

    /// How many of a rule's crossings were not told to be over.
    fn open(&self, rule: &str) -> u64 {
        let of_rule = self.crossings.values().filter(|c| c.rule == rule);
        let (clears, raises): (Vec<_>, Vec<_>) = of_rule.partition(|c| c.clears);
        (raises.len() - clears.len().min(raises.len())) as u64
    }
}
