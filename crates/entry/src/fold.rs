//! Entries from records that may come late, twice and in any order.
//!
//! A record at a sequence never changes, so folding is a matter of putting each in its place: the
//! opening makes the entry, an effect or a closing that comes first waits for it, and where two
//! records claim the same place the lower sequence has it. So any order and any repetition ends
//! the same, as long as what waits fits its bounds; over them the longest waiting (by opening) is
//! dropped and counted.

use std::collections::{BTreeMap, HashMap};

use selvedge_identity::{Epoch, Position, ServerName};

use crate::{Closing, Data, Effect, Entry, Opening, Record, StateWrite};

/// Records that may wait for their openings, by default.
const WAITING_MAX: usize = 65_536;
/// Bytes of those records, by default.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Folds the records of one journal epoch into entries.
///
/// It keeps every entry until [`Fold::remove`] takes it.
#[derive(Debug)]
pub struct Fold {
    server: ServerName,
    epoch: Epoch,
    entries: BTreeMap<u64, Slot>,
    waiting: BTreeMap<u64, Late>,
    waiting_bytes: usize,
    waiting_max: usize,
    waiting_bytes_max: usize,
    dropped: u64,
}

/// An entry, and whose sequences its parts came from.
#[derive(Debug)]
struct Slot {
    entry: Entry,
    effect: Option<u64>,
    closing: Option<u64>,
}

/// The parts that follow an opening.
#[derive(Debug, Default)]
struct Late {
    effect: Option<(u64, Effect)>,
    closing: Option<(u64, Box<Closing>)>,
    bytes: usize,
}

impl Fold {
    /// An empty fold of one journal epoch.
    #[must_use]
    pub fn new(server: ServerName, epoch: Epoch) -> Self {
        Self::with_limits(server, epoch, WAITING_MAX, WAITING_BYTES_MAX)
    }

    /// An empty fold that lets at most `waiting_max` entries' records (of about
    /// `waiting_bytes_max` bytes) wait for their openings.
    #[must_use]
    pub fn with_limits(
        server: ServerName,
        epoch: Epoch,
        waiting_max: usize,
        waiting_bytes_max: usize,
    ) -> Self {
        Self {
            server,
            epoch,
            entries: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            waiting_max,
            waiting_bytes_max,
            dropped: 0,
        }
    }

    /// Takes the record at `sequence`. Returns the sequence of the entry that it made or changed;
    /// `None` if it changed none: a repeat, or its opening is not here yet, or it is no part of one.
    pub fn apply(&mut self, sequence: u64, record: Record) -> Option<u64> {
        match record {
            Record::Opening(opening) => self.open(sequence, *opening, Late::default()),
            Record::Whole(opening, closing) => {
                let late = Late {
                    closing: Some((sequence, closing)),
                    ..Late::default()
                };
                self.open(sequence, *opening, late)
            }
            Record::Effect { opening, effect } => {
                let late = Late {
                    bytes: effect_size(&effect),
                    effect: Some((sequence, effect)),
                    closing: None,
                };
                self.follow(opening, sequence, late)
            }
            Record::Closing { opening, closing } => {
                let late = Late {
                    bytes: closing_size(&closing),
                    effect: None,
                    closing: Some((sequence, closing)),
                };
                self.follow(opening, sequence, late)
            }
            Record::Broadcast { .. } => None,
        }
    }

    /// The entry whose opening is at `sequence`.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence).map(|slot| &slot.entry)
    }

    /// Takes an entry out. Its later records will wait and be dropped in time; its opening, if it
    /// is applied again, makes it anew.
    pub fn remove(&mut self, sequence: u64) -> Option<Entry> {
        self.entries.remove(&sequence).map(|slot| slot.entry)
    }

    /// The entries, in the order of their openings.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|slot| &slot.entry)
    }

    /// The entries, in the order of their openings.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_values().map(|slot| slot.entry)
    }

    /// How many entries it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many openings are missing that other records named.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many entries' records were dropped because too much waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn open(&mut self, sequence: u64, opening: Opening, late: Late) -> Option<u64> {
        if self.entries.contains_key(&sequence) {
            return None;
        }
        let mut slot = Slot {
            entry: Entry {
                position: Position {
                    server: self.server.clone(),
                    epoch: self.epoch,
                    sequence,
                },
                opening,
                effect: None,
                closing: None,
            },
            effect: None,
            closing: None,
        };
        slot.take(late);
        if let Some(waited) = self.waiting.remove(&sequence) {
            self.waiting_bytes -= waited.bytes;
            slot.take(waited);
        }
        self.entries.insert(sequence, slot);
        Some(sequence)
    }

    fn follow(&mut self, opening: u64, sequence: u64, late: Late) -> Option<u64> {
        // An opening always precedes what names it.
        if sequence <= opening {
            return None;
        }
        if let Some(slot) = self.entries.get_mut(&opening) {
            return slot.take(late).then_some(opening);
        }
        let waiting = self.waiting.entry(opening).or_default();
        let before = waiting.bytes;
        waiting.merge(late);
        self.waiting_bytes = self.waiting_bytes + waiting.bytes - before;
        while self.waiting.len() > self.waiting_max || self.waiting_bytes > self.waiting_bytes_max {
            let Some((_, oldest)) = self.waiting.pop_first() else {
                break;
            };
            self.waiting_bytes -= oldest.bytes;
            self.dropped += 1;
        }
        None
    }
}

/// Folds records of any journals, in any order and with repeats, into their entries, sorted by
/// position. Everything is in memory anyway, so nothing that waits is dropped; what never meets
/// its opening is left out.
#[must_use]
pub fn fold_all(records: impl IntoIterator<Item = (Position, Record)>) -> Vec<Entry> {
    let mut folds: HashMap<(ServerName, Epoch), Fold> = HashMap::new();
    for (position, record) in records {
        let key = (position.server, position.epoch);
        let fold = folds.entry(key).or_insert_with_key(|(server, epoch)| {
            Fold::with_limits(server.clone(), *epoch, usize::MAX, usize::MAX)
        });
        fold.apply(position.sequence, record);
    }
    let mut folds: Vec<Fold> = folds.into_values().collect();
    folds.sort_by(|a, b| (&a.server, a.epoch).cmp(&(&b.server, b.epoch)));
    folds.into_iter().flat_map(Fold::into_entries).collect()
}

impl Slot {
    /// Puts the parts in their places; whether anything changed.
    fn take(&mut self, late: Late) -> bool {
        let mut changed = false;
        if let Some((sequence, closing)) = late.closing
            && self.closing.is_none_or(|held| sequence < held)
        {
            // Stands in for the effect until (unless) one comes.
            if self.effect.is_none() {
                self.entry.effect = Some((sequence, effect_of(&closing)));
            }
            self.entry.closing = Some(*closing);
            self.closing = Some(sequence);
            changed = true;
        }
        if let Some((sequence, effect)) = late.effect
            && self.effect.is_none_or(|held| sequence < held)
        {
            self.entry.effect = Some((sequence, effect));
            self.effect = Some(sequence);
            changed = true;
        }
        changed
    }
}

impl Late {
    fn merge(&mut self, other: Self) {
        let lower = |held: Option<u64>, sequence| held.is_none_or(|held| sequence < held);
        if let Some((sequence, effect)) = other.effect
            && lower(self.effect.as_ref().map(|held| held.0), sequence)
        {
            self.effect = Some((sequence, effect));
        }
        if let Some((sequence, closing)) = other.closing
            && lower(self.closing.as_ref().map(|held| held.0), sequence)
        {
            self.closing = Some((sequence, closing));
        }
        self.bytes = self
            .effect
            .as_ref()
            .map_or(0, |(_, effect)| effect_size(effect))
            + self
                .closing
                .as_ref()
                .map_or(0, |(_, closing)| closing_size(closing));
    }
}

fn effect_of(closing: &Closing) -> Effect {
    Effect {
        after_ns: closing.duration_ns,
        status: closing.status,
        outcome: closing.outcome,
        attributes: Vec::new(),
        state: Vec::new(),
    }
}

fn fields_size(fields: &[(crate::Text, crate::Text)]) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 64)
        .sum()
}

fn effect_size(effect: &Effect) -> usize {
    64 + fields_size(&effect.attributes) + states_size(&effect.state)
}

fn states_size(writes: &[StateWrite]) -> usize {
    let one = |write: &StateWrite| {
        let value = write.value.as_ref().map_or(0, bytes::Bytes::len);
        128 + write.name.len() + value + 48 * write.replaces.len()
    };
    writes.iter().map(one).sum()
}

fn closing_size(closing: &Closing) -> usize {
    let data =
        |data: &Data| fields_size(&data.fields) + data.body.as_ref().map_or(0, bytes::Bytes::len);
    256 + data(&closing.request)
        + data(&closing.response)
        + fields_size(&closing.attributes)
        + states_size(&closing.state)
        + closing.error.as_ref().map_or(0, |error| error.len())
}
