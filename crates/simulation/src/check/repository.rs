//! What the real repository must hold and answer once all is at rest.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_entry::Entry;
use selvedge_identity::{Epoch, Position, ServerName};
use selvedge_journal::EpochRange;
use selvedge_repository::Store;
use selvedge_session::timeline;

use super::{compare, entries_of, is_lossy};
use crate::Counts;
use crate::repository::HOST;
use crate::world::{World, lock};

/// What of a journal's epoch it does not have yet.
pub(super) fn lack(world: &World, owner: &ServerName, range: &EpochRange) -> Option<String> {
    let Some(store) = world.repository.store() else {
        return Some(format!("{HOST} does not live"));
    };
    if let Some(trouble) = world.repository.trouble() {
        return Some(format!("{HOST} is in trouble: {trouble}"));
    }
    let journals = store.journals();
    let journal = journals.iter().find(|journal| journal.server == *owner);
    let mut epochs = journal.into_iter().flat_map(|journal| &journal.epochs);
    let next = epochs
        .find(|epoch| epoch.epoch == range.epoch)
        .map_or(0, |epoch| epoch.next);
    (next < range.durable_end).then(|| {
        format!(
            "{HOST} has {owner}/{} up to {next}, not to {}",
            range.epoch, range.durable_end
        )
    })
}

/// Everything that was answered as durable is there exactly once, each visit's entries are those
/// that came over the network, and each timeline is the model's.
pub(crate) fn holds_everything(world: &World) {
    let Some(store) = world.repository.store() else {
        return world.trace.violation(format!("{HOST} does not live"));
    };
    let durable = durable_epochs(world, &store);
    let book = world.ledger.book();
    let witnessed = entries_of(&lock(&world.witness.kept).records);
    let mut held = 0;
    for (number, visit) in book.visits.iter().enumerate() {
        let entries = match store.session(visit.session) {
            Ok(entries) => entries.unwrap_or_default(),
            Err(error) => {
                world.trace.violation(format!("{HOST}: {error}"));
                continue;
            }
        };
        held += entries.len();
        let mut by_position: BTreeMap<&Position, &Entry> = BTreeMap::new();
        for entry in &entries {
            if by_position.insert(&entry.position, entry).is_some() {
                let position = &entry.position;
                world
                    .trace
                    .violation(format!("{HOST} answers {position} twice"));
            }
        }
        for promise in book
            .promises
            .iter()
            .filter(|p| p.visit == number && p.durable)
        {
            let entry = by_position.get(&promise.position);
            if entry.is_none_or(|entry| entry.effect.is_none()) {
                world.trace.violation(format!(
                    "{HOST}: {} of request {} was answered and is not there",
                    promise.position, promise.tag
                ));
            }
        }
        let is_durable = |entry: &&Entry| {
            let position = &entry.position;
            durable.contains(&(position.server.clone(), position.epoch))
        };
        let theirs = witnessed
            .iter()
            .filter(|entry| entry.opening.session == Some(visit.session));
        for entry in theirs.filter(is_durable) {
            if by_position.get(&entry.position) != Some(&entry) {
                world.trace.violation(format!(
                    "{HOST} and the witness differ on {}",
                    entry.position
                ));
            }
        }
        let line = timeline(visit.session, entries.iter().cloned());
        let lossy = is_lossy(&book, number);
        compare(world, &book, number, &line, lossy, &mut Counts::default());
    }
    let counts = store.counts();
    if counts.damaged > 0 || counts.unreadable > 0 {
        let (damaged, unreadable) = (counts.damaged, counts.unreadable);
        world.trace.violation(format!(
            "{HOST} counts {damaged} entries damaged, {unreadable} unreadable"
        ));
    }
    world
        .trace
        .event(HOST, format_args!("holds {held} entries of visits"));
}

/// The durable epochs. Left out are those of which a part beyond, which was in memory
/// only, came to the repository or the witness: each may have seen another part of that.
fn durable_epochs(world: &World, store: &Store) -> BTreeSet<(ServerName, Epoch)> {
    let kept = lock(&world.witness.kept);
    let journals = store.journals();
    let mut epochs = BTreeSet::new();
    for server in world.owners() {
        let Some(node) = server.node() else { continue };
        for range in node.journal().epochs() {
            let key = (server.name.clone(), range.epoch);
            let seen = kept.records.get(&key);
            let seen = seen.and_then(|records| records.last_key_value());
            let mut here = journals
                .iter()
                .filter(|journal| journal.server == server.name)
                .flat_map(|journal| &journal.epochs);
            let here = here.find(|epoch| epoch.epoch == range.epoch);
            let end = range.durable_end;
            if range.end == end
                && seen.is_none_or(|(last, _)| *last < end)
                && here.is_none_or(|epoch| epoch.records <= end)
            {
                epochs.insert(key);
            }
        }
    }
    epochs
}
