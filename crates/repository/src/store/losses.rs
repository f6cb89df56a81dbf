//! What is missing of the journals, with whose it is and when it may have been, and which service
//! each server is, for audits.
//!
//! A missing record has no time and names no service. Its neighbours in the journal have, and its
//! server was seen as a service elsewhere. One pass over the index finds both; the index is locked
//! for one short step of it at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;

use selvedge_analysis::{Loss, Losses, Servers};
use selvedge_entry::{Text, Timestamp};
use selvedge_identity::ServerName;

use super::Store;
use super::index::{EntryRow, Index};
use super::journals::{EpochId, expected_end};
use super::names::NameId;
use super::view::{gaps, unasked};

/// Entries looked at before the lock is let go.
const STEP_SEEN: usize = 1 << 16;

/// The missing records of one epoch, each part with the entries next to it.
type Missing = HashMap<EpochId, Vec<Part>>;

/// Missing records that stand together.
#[derive(Clone, Copy, Debug)]
struct Part {
    from: u64,
    to: Option<u64>,
    /// Sequence and time.
    before: Option<(u64, i64)>,
    behind: Option<(u64, i64)>,
}

impl Store {
    /// What is missing now. Records that come meanwhile may count as missing still.
    pub(crate) fn losses(&self) -> Losses {
        let mut missing = missing(&self.read());
        let named = self.each_entry(|entry| {
            for part in missing.get_mut(&entry.epoch).into_iter().flatten() {
                part.see(entry);
            }
        });
        self.sum(&self.read(), &missing, &named)
    }

    /// Which service each server is.
    pub(crate) fn servers(&self) -> Servers {
        let named = self.each_entry(|_| ());
        let index = self.read();
        let services = services(&index, &named);
        let named = services
            .into_iter()
            .map(|(server, names)| (server.as_str().into(), names));
        Servers::new(&named.collect())
    }

    /// Shows `see` every entry; tells which services the epochs' entries name.
    fn each_entry(&self, mut see: impl FnMut(&EntryRow)) -> HashSet<(EpochId, NameId)> {
        let mut named: HashSet<(EpochId, NameId)> = HashSet::new();
        let mut last = None;
        let mut at = 0;
        loop {
            let index = self.read();
            let step = index.entries.iter().skip(at).take(STEP_SEEN);
            let seen = step.len();
            for entry in step {
                let name = (entry.epoch, entry.service);
                if last.replace(name) != Some(name) {
                    named.insert(name);
                }
                see(entry);
            }
            at += seen;
            if seen == 0 {
                return named;
            }
        }
    }

    fn sum(&self, index: &Index, missing: &Missing, named: &HashSet<(EpochId, NameId)>) -> Losses {
        let services = services(index, named);
        let mut losses = Vec::new();
        for (epoch, parts) in missing {
            let (server, _) = index.journals.name(*epoch);
            let of_server = services.get(server).cloned().unwrap_or_default();
            losses.extend(parts.iter().map(|part| part.loss(of_server.clone())));
        }
        // Whose they are and when they were, nobody can read any more.
        let unreadable = index.unreadable + self.damaged.load(Ordering::Relaxed);
        if unreadable > 0 {
            losses.push(Loss {
                records: Some(unreadable),
                ..Loss::default()
            });
        }
        Losses::new(losses, services.into_values().flatten().collect())
    }
}

/// The services that each server's entries name.
fn services<'i>(
    index: &'i Index,
    named: &HashSet<(EpochId, NameId)>,
) -> BTreeMap<&'i ServerName, BTreeSet<Text>> {
    let mut services: BTreeMap<&ServerName, BTreeSet<Text>> = BTreeMap::new();
    for (epoch, service) in named {
        if let Some(name) = index.names.get(*service) {
            let (server, _) = index.journals.name(*epoch);
            services.entry(server).or_default().insert(name.clone());
        }
    }
    services
}

fn missing(index: &Index) -> Missing {
    let mut missing = Missing::new();
    for (_, epochs) in index.journals.servers() {
        let epochs: Vec<_> = epochs.collect();
        for state in &epochs {
            let gaps = gaps(state, expected_end(state, &epochs));
            let gaps = gaps.into_iter().map(|gap| (gap.from, gap.to));
            let unasked = unasked(state).into_iter();
            let unasked = unasked.map(|part| (part.from, Some(part.to)));
            let parts: Vec<Part> = gaps.chain(unasked).map(Part::new).collect();
            if let Some(id) = index.journals.find(&state.server, state.epoch)
                && !parts.is_empty()
            {
                missing.insert(id, parts);
            }
        }
    }
    missing
}

impl Part {
    fn new((from, to): (u64, Option<u64>)) -> Self {
        Self {
            from,
            to,
            before: None,
            behind: None,
        }
    }

    fn see(&mut self, entry: &EntryRow) {
        let place = (entry.sequence, entry.start);
        if entry.sequence < self.from {
            self.before = self.before.max(Some(place));
        } else if self.behind.is_none_or(|behind| place < behind) {
            self.behind = Some(place);
        }
    }

    fn loss(&self, services: BTreeSet<Text>) -> Loss {
        Loss {
            services,
            records: self.to.map(|to| to - self.from),
            after: self.before.map(|(_, at)| Timestamp(at)),
            before: self.behind.map(|(_, at)| Timestamp(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use bytes::Bytes;
    use selvedge_analysis::{Hidden, SLACK_NS};
    use selvedge_journal::testing::FaultyStorage;

    use super::*;
    use crate::fixture::{self, Form, Spec, Written};
    use crate::store::StoreOptions;

    const SLACK: i64 = SLACK_NS as i64;

    fn store() -> Store {
        let disk = Arc::new(FaultyStorage::new());
        Store::open(disk, Path::new("/r"), StoreOptions::default()).expect("opens")
    }

    /// Entries of one record each.
    fn records(service: u8, times: &[i64]) -> Vec<Bytes> {
        let spec = |at: &i64| Spec {
            service,
            at: *at,
            form: Form::Whole,
            ..Spec::default()
        };
        let specs: Vec<Spec> = times.iter().map(spec).collect();
        let records = fixture::records_from(0, &specs);
        records.iter().map(Written::bytes).collect()
    }

    fn append(store: &Store, server: usize, first: u64, records: &[Bytes]) {
        let epoch = fixture::epoch(server, 0);
        let stored = store.append(&fixture::server(server), epoch, first, records);
        stored.expect("stored");
    }

    #[test]
    fn missing_records_are_their_servers_services_and_stand_between_their_neighbours() {
        let store = store();
        let times = [10 * SLACK, 10 * SLACK + 5];
        append(&store, 1, 0, &records(1, &times[..1]));
        append(&store, 1, 4, &records(1, &times[1..]));
        append(&store, 2, 0, &records(2, &times));
        let losses = store.losses();
        let hidden = |service, from: i64, to: i64| {
            losses.hidden(
                service,
                Some(Timestamp(from * SLACK)),
                Some(Timestamp(to * SLACK)),
            )
        };
        assert_eq!(hidden("service-1", 9, 12), Hidden::AtMost(3));
        assert_eq!(hidden("service-1", 8, 9), Hidden::AtMost(0), "before them");
        assert_eq!(hidden("service-1", 12, 13), Hidden::AtMost(0), "after them");
        assert_eq!(hidden("service-2", 0, 20), Hidden::AtMost(0));
        assert_eq!(
            hidden("service-3", 0, 20),
            Hidden::Unbounded,
            "it has no journal"
        );
        // They come late: nothing is missing.
        append(&store, 1, 1, &records(1, &[times[0]; 3]));
        let losses = store.losses();
        assert_eq!(losses.hidden("service-1", None, None), Hidden::AtMost(0));
    }

    #[test]
    fn what_an_owner_lost_counts_and_without_an_end_nothing_is_bounded() {
        let store = store();
        let (server, epoch) = (fixture::server(1), fixture::epoch(1, 0));
        append(&store, 1, 0, &records(1, &[0]));
        append(&store, 2, 0, &records(2, &[0]));
        store.lose(&server, epoch, 1, 3).expect("noted");
        assert_eq!(
            store.losses().hidden("service-1", None, None),
            Hidden::AtMost(2)
        );
        let end = selvedge_bus::Event::UNKNOWN_END;
        store.lose(&server, epoch, 3, end).expect("noted");
        assert_eq!(
            store.losses().hidden("service-1", None, None),
            Hidden::Unbounded
        );
        assert_eq!(
            store.losses().hidden("service-2", None, None),
            Hidden::AtMost(0)
        );
    }

    #[test]
    fn a_server_of_which_nothing_is_here_may_be_any_service() {
        let store = store();
        append(&store, 1, 0, &records(1, &[0]));
        let (server, epoch) = (fixture::server(2), fixture::epoch(2, 0));
        store.lose(&server, epoch, 0, 4).expect("noted");
        assert_eq!(
            store.losses().hidden("service-1", None, None),
            Hidden::AtMost(4)
        );
    }
}
