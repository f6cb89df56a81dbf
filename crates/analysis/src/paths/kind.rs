//! The paths of one kind of request, of which only so many are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PathTotals, Step};

/// What the requests of one kind add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindTotals {
    pub(crate) requests: u64,
    /// By the hash of the path.
    pub(crate) paths: BTreeMap<(u64, Arc<[Step]>), PathTotals>,
    /// All paths that are over, added up. Its requests count a request for each of its paths.
    pub(crate) remainder: PathTotals,
}

impl KindTotals {
    /// Adds what took a path; one without a name goes to the remainder.
    pub(crate) fn add(&mut self, path: Option<Arc<[Step]>>, totals: &PathTotals, paths_max: usize) {
        let Some(path) = path else {
            self.remainder.merge(totals);
            return;
        };
        let key = (hash(&path), path);
        if let Some(known) = self.paths.get_mut(&key) {
            known.merge(totals);
        } else {
            self.paths.insert(key, totals.clone());
            self.bound(paths_max);
        }
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: Self, paths_max: usize) {
        self.requests += other.requests;
        self.remainder.merge(&other.remainder);
        for (key, totals) in other.paths {
            self.paths.entry(key).or_default().merge(&totals);
        }
        self.bound(paths_max);
    }

    fn bound(&mut self, paths_max: usize) {
        while self.paths.len() > paths_max {
            let (_, over) = self.paths.pop_last().expect("more than none");
            self.remainder.merge(&over);
        }
    }
}

/// A hash that is the same everywhere (FNV-1a, then SplitMix64's finish, because FNV alone leaves
/// the high bits of short texts alike). It only decides which paths are kept.
pub(crate) fn hash(steps: &[Step]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    };
    for step in steps {
        for name in [&step.service, &step.operation] {
            name.iter()
                .flat_map(|name| name.bytes())
                .for_each(&mut take);
            // 0xff stands in no text.
            take(0xff);
            take(u8::from(name.is_some()));
        }
    }
    let mut z = hash;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
