//! What the transaction processor must have done once all is at rest.

use std::collections::BTreeSet;

use super::{attribute, durable_entries, tag_of};
use crate::transactions::{Effects, HOST, ORDER, is_refused, order};
use crate::world::World;

/// An order that it has not carried out yet.
pub(super) fn lack(world: &World) -> Option<String> {
    if !world.transactions.lives() {
        return Some(format!("{HOST} does not live"));
    }
    let effects = match world.transactions.effects() {
        Ok(effects) => effects,
        Err(error) => return Some(format!("{HOST}: {error}")),
    };
    let missing = orders(world).find(|position| !effects.knows(position))?;
    Some(format!("{HOST} has not carried out {missing}"))
}

/// Each order was carried out once, those that the database refuses never, and nothing else was.
pub(super) fn once_each(world: &World) {
    let effects = match world.transactions.effects() {
        Ok(effects) => effects,
        Err(error) => return world.trace.violation(format!("{HOST}: {error}")),
    };
    for missing in orders(world).filter(|position| !effects.knows(position)) {
        world
            .trace
            .violation(format!("{HOST}: the order {missing} has no effect"));
    }
    let book = world.ledger.book();
    let mut requests = BTreeSet::new();
    for (position, tags) in &effects.fulfilled {
        for tag in tags {
            let asked_for = book.attempts.contains_key(tag) && order(*tag).is_some();
            if !asked_for || is_refused(*tag) {
                world.trace.violation(format!(
                    "{HOST}: {position} is no order that can be carried out (request {tag})"
                ));
            }
            if !requests.insert(*tag) {
                world.trace.violation(format!(
                    "{HOST}: the order of request {tag} was carried out twice"
                ));
            }
        }
    }
    for position in &effects.dead {
        if effects.fulfilled.contains_key(position) {
            world.trace.violation(format!(
                "{HOST}: {position} was carried out and is a dead letter"
            ));
        }
    }
    let (done, dead) = (requests.len() as u64, effects.dead.len() as u64);
    drop(book);
    world.ledger.book().orders = done;
    let told = world.transactions.counts();
    if told != Some((done, dead)) {
        world.trace.violation(format!(
            "{HOST} tells of {told:?} orders done and refused, there are {done} and {dead}"
        ));
    }
    world
        .trace
        .event(HOST, format_args!("{done} orders done, {dead} refused"));
}

impl Effects {
    fn knows(&self, position: &String) -> bool {
        self.fulfilled.contains_key(position) || self.dead.contains(position)
    }
}

/// The positions of the orders whose effects the owners' journals hold.
fn orders(world: &World) -> impl Iterator<Item = String> {
    let entries = durable_entries(world).into_iter();
    entries.filter_map(|entry| {
        let item = attribute(&entry, ORDER)?;
        let tag = tag_of(&entry.opening.action)?;
        (order(tag) == Some(item)).then(|| entry.position.to_string())
    })
}
