//! What is known of a request's call tree without building it: how large it is, what is to be
//! said of it, and how many of its calls were reconstructed.
//!
//! A verdict is found once a request has been quiet for a moment, or when a search needs it, and
//! kept until the request changes. It costs some 100 bytes and 24 for each host of the request.
//! All verdicts together are counted as they come, so that metrics cost no search.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use selvedge_calltree::{Evidence, TreeBuilder};
use selvedge_entry::Text;
use selvedge_identity::Origin;
use selvedge_spans::Part;

use super::index::{Index, Row};
use super::{Store, StoreError};
use crate::request::Request;

/// The host of calls that nobody who is left names.
const UNKNOWN_HOST: &str = "unknown";

/// What is to be said of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Nodes of its tree.
    pub(crate) nodes: usize,
    /// Flags of its tree, and what its entries and spans say was odd; sorted.
    pub(crate) flags: Vec<Text>,
    /// Its calls by the host that received them.
    calls: Vec<(Text, Calls)>,
}

/// Calls that a host received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// All of them.
    pub(crate) calls: u64,
    /// Those that nobody logged, or whose caller nobody logged: deeper identifiers tell of them.
    pub(crate) reconstructed: u64,
}

/// What the verdicts on all requests come to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) judged: u64,
    pub(crate) flags: BTreeMap<Text, u64>,
    pub(crate) hosts: HashMap<Text, Calls>,
}

impl Verdict {
    pub(crate) fn of(request: &Request) -> Self {
        let observations = request.observations();
        let odd = observations.iter().filter_map(|one| one.details.as_ref());
        let mut flags: BTreeSet<Text> = odd
            .flat_map(|details| details.flags.iter().cloned())
            .collect();
        let builder = TreeBuilder::batch(request.origin, observations);
        let tree = builder.tree();
        flags.extend(tree.flags().iter().map(|flag| Text::from(flag.as_str())));
        let mut hosts: BTreeMap<&str, Calls> = BTreeMap::new();
        for node in tree.nodes().filter(|node| node.level() > 0) {
            let host = node.host().map_or(UNKNOWN_HOST, |host| host);
            let lost = |evidence| evidence == Evidence::Inferred;
            let caller = node.parent().map(|caller| caller.evidence());
            let calls = hosts.entry(host).or_default();
            calls.calls += 1;
            calls.reconstructed += u64::from(lost(node.evidence()) || caller.is_some_and(lost));
        }
        Self {
            nodes: tree.len(),
            flags: flags.into_iter().collect(),
            calls: hosts
                .into_iter()
                .map(|(host, calls)| (host.into(), calls))
                .collect(),
        }
    }

    /// Whether it has a flag.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags
            .binary_search_by(|known| (**known).cmp(flag))
            .is_ok()
    }
}

impl Tally {
    /// Counts a verdict in the place of an earlier one on the same request.
    pub(crate) fn replace(&mut self, known: Option<&Verdict>, verdict: &Verdict) {
        match known {
            None => self.judged += 1,
            Some(known) => {
                for flag in &known.flags {
                    if let Some(count) = self.flags.get_mut(flag) {
                        *count -= 1;
                    }
                }
                for (host, calls) in &known.calls {
                    if let Some(sum) = self.hosts.get_mut(host) {
                        sum.calls -= calls.calls;
                        sum.reconstructed -= calls.reconstructed;
                    }
                }
            }
        }
        for flag in &verdict.flags {
            *self.flags.entry(flag.clone()).or_default() += 1;
        }
        for (host, calls) in &verdict.calls {
            let sum = self.hosts.entry(host.clone()).or_default();
            sum.calls += calls.calls;
            sum.reconstructed += calls.reconstructed;
        }
    }
}

impl Store {
    /// What is to be said of a request, as it is now; `None` if nothing of it is here.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(crate) fn verdict(&self, origin: Origin) -> Result<Option<Arc<Verdict>>, StoreError> {
        let row = {
            let index = self.read();
            let Some(&row) = index.by_origin.get(&origin) else {
                return Ok(None);
            };
            row
        };
        self.judge(row).map(Some)
    }

    /// The verdict on a row: the one that is known, if the request did not change since, else a
    /// new one.
    pub(super) fn judge(&self, row: Row) -> Result<Arc<Verdict>, StoreError> {
        let (changes, parts) = {
            let index = self.read();
            let request = &index.origins[row as usize];
            if let Some(verdict) = request.fresh() {
                return Ok(Arc::clone(verdict));
            }
            (request.changes, self.parts(&index, request))
        };
        let request = self.load_request(parts, Part::Tree)?;
        let mut verdict = Verdict::of(&request);
        let mut index = self.write();
        verdict.share(&mut index);
        let verdict = Arc::new(verdict);
        index.judge(row, changes, &verdict);
        Ok(verdict)
    }

    /// Requests that changed and are to be judged, at most so many: each is handed back by
    /// [`Store::settle`]. With each comes how often it had changed.
    pub(crate) fn take_dirty(&self, count: usize) -> Vec<(Row, u32)> {
        let mut index = self.write();
        let rows = index.take_dirty(count).into_iter();
        rows.map(|row| (row, index.origins[row as usize].changes))
            .collect()
    }

    /// How often a request had changed by now.
    pub(crate) fn changes(&self, row: Row) -> u32 {
        self.read().origins[row as usize].changes
    }

    /// Judges a request that was taken as dirty, and hands it back.
    ///
    /// # Errors
    /// When the files cannot be read; it is handed back all the same.
    pub(crate) fn settle(&self, row: Row) -> Result<(), StoreError> {
        let judged = self.judge(row).map(|_| ());
        self.write().settle(row);
        judged
    }

    /// Requests by flag, and how many have not been judged yet.
    pub(crate) fn flag_counts(&self) -> (Vec<(Text, u64)>, u64) {
        let index = self.read();
        let flags = index.tally.flags.iter();
        let flags = flags.filter(|(_, count)| **count > 0);
        let undecided = index.origins.len() as u64 - index.tally.judged;
        (
            flags.map(|(flag, count)| (flag.clone(), *count)).collect(),
            undecided,
        )
    }

    /// The hosts some of whose calls were reconstructed, those with the most first, at most
    /// `count`; and the others' sum.
    pub(crate) fn reconstructed(&self, count: usize) -> (Vec<(Text, Calls)>, Calls) {
        let index = self.read();
        let hosts = index.tally.hosts.iter();
        let mut hosts: Vec<(&Text, &Calls)> =
            hosts.filter(|(_, calls)| calls.reconstructed > 0).collect();
        hosts.sort_unstable_by_key(|(host, calls)| (std::cmp::Reverse(calls.reconstructed), *host));
        let mut others = Calls::default();
        for (_, calls) in hosts.iter().skip(count) {
            others.calls += calls.calls;
            others.reconstructed += calls.reconstructed;
        }
        hosts.truncate(count);
        let hosts = hosts.into_iter();
        (
            hosts.map(|(host, calls)| (host.clone(), *calls)).collect(),
            others,
        )
    }
}

impl Verdict {
    /// Takes the index's texts for its own: flags and hosts repeat in every verdict.
    fn share(&mut self, index: &mut Index) {
        let mut share = |text: &mut Text| {
            let id = index.names.intern(text);
            if let Some(known) = index.names.get(id) {
                *text = known.clone();
            }
        };
        self.flags.iter_mut().for_each(&mut share);
        self.calls.iter_mut().for_each(|(host, _)| share(host));
        self.flags.shrink_to_fit();
    }
}
