//! How many different members: exactly while they are few, then by HyperLogLog.
//!
//! Exactly: each member with the newest pane it was seen in, and how many have each pane as their
//! newest; so a sliding window's count moves on without going through its members. Members whose
//! pane expired are swept out when they are half of all.
//!
//! By sketch: one for each pane and one for all of them, which is built anew when a pane expires.

use std::collections::{BTreeMap, HashMap};

use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::{Deserialize, Serialize};

use super::panes::Panes;

/// How finely a rule counts members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Precision {
    /// So many members are counted exactly.
    pub(crate) exact_max: usize,
    /// Binary logarithm of a sketch's registers.
    pub(crate) registers_log2: u8,
}

impl Precision {
    /// For one count: about 2 MiB while exact, 16 KiB a pane then; standard error 0.8 %.
    pub(crate) const ALONE: Self = Self {
        exact_max: 65_536,
        registers_log2: 14,
    };
    /// For one of many groups: about 32 KiB while exact, 4 KiB a pane then; standard error 1.6 %.
    pub(crate) const GROUPED: Self = Self {
        exact_max: 1024,
        registers_log2: 12,
    };

    /// The standard error of a sketch's count, as a share of it (Flajolet et al. 2007).
    pub(crate) fn error(self) -> f64 {
        1.04 / f64::from(1_u32 << self.registers_log2).sqrt()
    }
}

/// A member, as 64 bits. Written into the saved state, so how they are made must stay: FNV-1a, its
/// bits then mixed as SplitMix64 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member(u64);

impl Member {
    pub(crate) fn of(text: &str) -> Self {
        let fnv = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |sum, b| {
            (sum ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let mixed = (fnv ^ fnv >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self(mixed ^ mixed >> 31)
    }
}

/// A count of different members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Distinct {
    /// Every member with its newest pane.
    Exact {
        newest: HashMap<u64, i64>,
        counts: Panes,
    },
    /// A sketch a pane.
    Sketch(Sketches),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact {
            newest: HashMap::new(),
            counts: Panes::default(),
        }
    }
}

impl Distinct {
    pub(crate) fn add(&mut self, pane: i64, Member(member): Member, precision: Precision) {
        match self {
            Self::Exact { newest, counts } => {
                match newest.get_mut(&member) {
                    Some(known) if *known >= pane => return,
                    Some(known) => {
                        counts.add(*known, -1.0);
                        *known = pane;
                    }
                    None => {
                        newest.insert(member, pane);
                    }
                }
                counts.add(pane, 1.0);
                if newest.len() > precision.exact_max {
                    let mut sketches = Sketches::new(precision);
                    for (member, pane) in newest.drain() {
                        sketches.add(pane, member);
                    }
                    *self = Self::Sketch(sketches);
                }
            }
            Self::Sketch(sketches) => sketches.add(pane, member),
        }
    }

    pub(crate) fn expire(&mut self, before: i64) {
        match self {
            Self::Exact { newest, counts } => {
                counts.expire(before);
                // What is swept was there before: each member is swept once.
                if newest.len() as f64 > 2.0 * counts.total() + 16.0 {
                    newest.retain(|_, pane| *pane >= before);
                }
            }
            Self::Sketch(sketches) => {
                sketches.expire(before);
                if sketches.panes.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    /// How many, and the standard error of that as a share of it.
    pub(crate) fn count(&self, precision: Precision) -> (f64, f64) {
        match self {
            Self::Exact { counts, .. } => (counts.total(), 0.0),
            Self::Sketch(sketches) => (sketches.all.estimate().round(), precision.error()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Exact { counts, .. } if counts.total() == 0.0)
    }
}

/// A sketch for each pane, and for all.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "SavedSketches", into = "SavedSketches")]
pub(crate) struct Sketches {
    registers_log2: u8,
    panes: BTreeMap<i64, HllSketch>,
    all: HllSketch,
}

impl Sketches {
    fn new(precision: Precision) -> Self {
        let registers_log2 = precision.registers_log2;
        Self {
            registers_log2,
            panes: BTreeMap::new(),
            all: sketch(registers_log2),
        }
    }

    fn add(&mut self, pane: i64, member: u64) {
        let registers_log2 = self.registers_log2;
        self.panes
            .entry(pane)
            .or_insert_with(|| sketch(registers_log2))
            .update(member);
        self.all.update(member);
    }

    fn expire(&mut self, before: i64) {
        let kept = self.panes.split_off(&before);
        let expired = std::mem::replace(&mut self.panes, kept);
        if expired.is_empty() {
            return;
        }
        self.all = union(self.registers_log2, self.panes.values());
    }
}

fn sketch(registers_log2: u8) -> HllSketch {
    HllSketch::new(registers_log2, HllType::Hll8).expect("12 and 14 are valid")
}

fn union<'a>(registers_log2: u8, panes: impl Iterator<Item = &'a HllSketch>) -> HllSketch {
    let mut union = HllUnion::new(registers_log2).expect("12 and 14 are valid");
    for pane in panes {
        union.update(pane);
    }
    union.to_sketch(HllType::Hll8)
}

#[derive(Serialize, Deserialize)]
struct SavedSketches {
    registers_log2: u8,
    panes: Vec<(i64, Vec<u8>)>,
}

impl From<Sketches> for SavedSketches {
    fn from(sketches: Sketches) -> Self {
        let panes = sketches.panes.iter();
        Self {
            registers_log2: sketches.registers_log2,
            panes: panes.map(|(pane, s)| (*pane, s.serialize())).collect(),
        }
    }
}

impl TryFrom<SavedSketches> for Sketches {
    type Error = String;

    fn try_from(saved: SavedSketches) -> Result<Self, String> {
        let registers_log2 = saved.registers_log2;
        if !(4..=21).contains(&registers_log2) {
            return Err(format!("a sketch of 2^{registers_log2} registers"));
        }
        let mut panes = BTreeMap::new();
        for (pane, bytes) in saved.panes {
            let sketch = HllSketch::deserialize(&bytes).map_err(|error| error.to_string())?;
            if sketch.lg_config_k() != registers_log2 {
                return Err("sketches of different sizes".to_owned());
            }
            panes.insert(pane, sketch);
        }
        Ok(Self {
            registers_log2,
            all: union(registers_log2, panes.values()),
            panes,
        })
    }
}
