//! Random lives of a journal on a disk that fails, against a plain model: what was acknowledged
//! is recovered, what is recovered was appended, in order, dense, and the epochs chain.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::{Records, by_position, commit, drain, open, options, read_all};
use proptest::prelude::*;
use selvedge_identity::Epoch;
use selvedge_journal::testing::{Crash, FaultyStorage};
use selvedge_journal::{Appended, EpochStart, Journal, JournalState, Kept, Reader};

#[derive(Clone, Debug)]
enum Act {
    Append { records: usize, bytes: usize },
    Step,
    Commit,
    Read,
    Close,
    Crash(Crash),
    FailSyncs(u32),
    FailWrites(u32),
    FailTruncates(u32),
    Full(bool),
    Capacity(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let crash = prop_oneof![
        Just(Crash::Process),
        Just(Crash::Forget),
        any::<u64>().prop_map(|seed| Crash::Torn { seed }),
    ];
    prop_oneof![
        8 => (1..5usize, 1..700usize).prop_map(|(records, bytes)| Act::Append { records, bytes }),
        4 => Just(Act::Step),
        3 => Just(Act::Commit),
        3 => Just(Act::Read),
        1 => Just(Act::Close),
        3 => crash.prop_map(Act::Crash),
        1 => (1..3u32).prop_map(Act::FailSyncs),
        1 => (1..3u32).prop_map(Act::FailWrites),
        1 => (1..3u32).prop_map(Act::FailTruncates),
        2 => any::<bool>().prop_map(Act::Full),
        1 => (1000..30_000u64).prop_map(Act::Capacity),
    ]
}

/// A journal, and what it must hold.
struct World {
    storage: FaultyStorage,
    random: Arc<AtomicU64>,
    journal: Journal,
    reader: Reader,
    /// Everything that was ever given a position.
    appended: Records,
    /// What must never be missing again.
    acknowledged: BTreeSet<(Epoch, u64)>,
    /// Positions of this life, in the order they were given.
    life: Vec<Appended>,
    /// What the tailing reader of this life was given.
    tailed: Records,
    count: usize,
}

impl World {
    fn new() -> Self {
        let storage = FaultyStorage::new();
        let random = Arc::new(AtomicU64::new(1));
        let journal = open(&storage, &random, options()).unwrap();
        let mut world = Self {
            reader: journal.reader(None),
            storage,
            random,
            journal,
            appended: Records::new(),
            acknowledged: BTreeSet::new(),
            life: Vec::new(),
            tailed: Records::new(),
            count: 0,
        };
        world.begin_life();
        world
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append { records, bytes } => {
                for _ in 0..*records {
                    self.append(*bytes);
                }
            }
            Act::Step => {
                self.journal.step();
            }
            Act::Commit => commit(&self.journal),
            Act::Read => {
                let (records, gaps) = drain(&mut self.reader);
                assert!(gaps.is_empty(), "{gaps:?}");
                self.tailed.extend(records);
            }
            Act::Close => {
                self.journal.close();
                self.note();
                let (records, _) = drain(&mut self.reader);
                self.tailed.extend(records);
                for at in &self.life {
                    assert!(self.tailed.contains_key(&(at.epoch, at.sequence)), "{at:?}");
                }
                self.reopen();
            }
            Act::Crash(crash) => {
                self.storage.crash(*crash);
                self.reopen();
            }
            Act::FailSyncs(count) => self.storage.fail_syncs(*count),
            Act::FailWrites(count) => self.storage.fail_writes(*count),
            Act::FailTruncates(count) => self.storage.fail_truncates(*count),
            Act::Full(full) => self.storage.set_full(*full),
            Act::Capacity(bytes) => self.storage.set_capacity(Some(*bytes)),
        }
        self.note();
    }

    fn append(&mut self, bytes: usize) {
        self.count += 1;
        let payload = format!("{:08} {}", self.count, "x".repeat(bytes)).into_bytes();
        let at = self.journal.append(&payload).unwrap();
        if let Some(last) = self.life.last() {
            assert!(*last < at, "{last:?} then {at:?}");
        }
        self.life.push(at);
        let before = self.appended.insert((at.epoch, at.sequence), payload);
        assert_eq!(before, None, "position given twice");
    }

    /// Notes what the journal says is durable.
    fn note(&mut self) {
        for at in &self.life {
            if self.journal.kept(*at) == Some(Kept::Durable) {
                self.acknowledged.insert((at.epoch, at.sequence));
            }
        }
    }

    /// The machine comes back; its disk may still be bad for a while.
    fn reopen(&mut self) {
        let random = self.random.clone();
        let journal = open(&self.storage, &random, options()).or_else(|_| {
            self.heal();
            open(&self.storage, &random, options())
        });
        self.journal = journal.unwrap();
        self.begin_life();
    }

    fn heal(&self) {
        self.storage.set_capacity(None);
        self.storage.fail_syncs(0);
        self.storage.fail_writes(0);
        self.storage.fail_truncates(0);
    }

    fn begin_life(&mut self) {
        assert_eq!(self.journal.state(), JournalState::Durable);
        assert!(self.journal.recovered().damage.is_empty());
        self.life.clear();
        self.tailed.clear();
        self.reader = self.journal.reader(None);
        let (recovered, errors) = read_all(&self.storage);
        assert!(errors.is_empty(), "{errors:?}");
        self.check_order(&recovered);
        let recovered = by_position(&recovered);
        let (by_owner, gaps) = drain(&mut self.journal.reader(None));
        assert!(gaps.is_empty(), "{gaps:?}");
        assert_eq!(by_owner, recovered);
        for (position, payload) in &recovered {
            match self.appended.get(position) {
                Some(appended) => assert_eq!(appended, payload, "{position:?}"),
                // Starts of epochs are the journal's own.
                None => assert!(position.1 == 0 && EpochStart::decode(payload).is_some()),
            }
        }
        for position in &self.acknowledged {
            assert!(recovered.contains_key(position), "lost {position:?}");
        }
        // The new epoch's start vouches for all of it.
        self.acknowledged.extend(recovered.keys());
        self.appended.extend(recovered);
    }

    /// Dense from 0 within each epoch, epochs grow, each start names the end of the one before.
    fn check_order(&self, recovered: &[selvedge_journal::ReadRecord]) {
        let mut previous: Option<(Epoch, u64)> = None;
        for record in recovered {
            match &mut previous {
                Some((epoch, count)) if *epoch == record.epoch => {
                    assert_eq!(record.sequence, *count);
                    *count += 1;
                }
                _ => {
                    assert_eq!(record.sequence, 0);
                    assert!(previous.is_none_or(|(epoch, _)| epoch < record.epoch));
                    let start = EpochStart::decode(&record.payload).unwrap();
                    assert_eq!((start.epoch, start.volatile), (record.epoch, false));
                    assert_eq!(start.previous, previous);
                    previous = Some((record.epoch, 1));
                }
            }
        }
        assert_eq!(previous, Some((self.journal.epoch(), 1)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_is_recovered_and_recovered_was_appended(
        acts in prop::collection::vec(act(), 1..80)
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        // Whatever happened, a good disk makes it durable again.
        world.heal();
        world.journal.step();
        prop_assert_eq!(world.journal.state(), JournalState::Durable);
        world.append(1);
        commit(&world.journal);
        let at = *world.life.last().unwrap();
        prop_assert_eq!(world.journal.kept(at), Some(Kept::Durable));
        world.note();
        world.act(&Act::Read);
        for at in &world.life {
            prop_assert!(world.tailed.contains_key(&(at.epoch, at.sequence)));
        }
        for crash in [Crash::Process, Crash::Torn { seed: 1 }, Crash::Forget] {
            world.act(&Act::Crash(crash));
        }
    }
}
