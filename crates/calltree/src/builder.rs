//! Takes observations one by one or in a batch, in any order, and keeps what a tree is made of.
//!
//! Adding one costs at most its stack's length and touches no other entry of the tree, except
//! where the same side of the same interaction was seen before: then it may be a repeat. A tree
//! can be asked for at any time; it is the same for any order, split and repetition of the same
//! observations.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;

use selvedge_entry::{Direction, Outcome};
use selvedge_identity::Origin;

use crate::chain::Packed;
use crate::clocks::Clocks;
use crate::order;
use crate::resolve::Resolved;
use crate::skeleton::{NONE, Skeleton};
use crate::{Handle, Levels, Observation, Tree};

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New,
    /// It was known, and it tells more now (its end, for one).
    Updated,
    /// It was known.
    Repeated,
    /// It is of another origin, or of a depth that no level has. It was counted and dropped.
    Refused,
}

/// Builds the call tree of one origin.
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    pub(crate) origin: Origin,
    pub(crate) levels: Levels,
    pub(crate) observations: Vec<Observation>,
    pub(crate) briefs: Vec<Brief>,
    pub(crate) skeleton: Skeleton,
    pub(crate) clocks: Clocks,
    /// Lists that became long, by handle.
    crowds: HashMap<(u32, Direction), HashMap<Handle, Vec<u32>>>,
    pub(crate) refused: usize,
    /// Repeats that still lie among `observations`; their briefs are [`Brief::NONE`].
    gone: usize,
}

/// What a tree's making reads of every observation, packed densely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief {
    pub(crate) at: i64,
    /// Nanoseconds to the answer's head; [`u64::MAX`]: unknown.
    pub(crate) head: u64,
    /// Nanoseconds to the end; [`u64::MAX`]: unknown.
    pub(crate) end: u64,
    /// Its place in its journal.
    pub(crate) sequence: u64,
    pub(crate) clock: u32,
    /// The next entry of the same direction and group.
    pub(crate) next: u32,
    pub(crate) error: bool,
    pub(crate) ignored_hop: bool,
    pub(crate) one_way: bool,
    pub(crate) detailed: bool,
}

/// Lists up to this long are searched in line for repeats.
const CROWD: usize = 32;

/// How many observations of a batch are looked ahead, so that their cache misses overlap.
const AHEAD: usize = 32;

/// From so many on, observations of a batch are put in order first: fewer stay in the cache.
const MANY: usize = 8192;

impl TreeBuilder {
    /// An empty builder whose depths are levels.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self::with_levels(origin, Levels::default())
    }

    /// An empty builder with depth values of their own meaning.
    #[must_use]
    pub fn with_levels(origin: Origin, levels: Levels) -> Self {
        Self {
            origin,
            levels,
            observations: Vec::new(),
            briefs: Vec::new(),
            skeleton: Skeleton::with_capacity(0),
            clocks: Clocks::default(),
            crowds: HashMap::new(),
            refused: 0,
            gone: 0,
        }
    }

    /// A builder of all these observations: the same as adding each, faster.
    #[must_use]
    pub fn batch(origin: Origin, observations: Vec<Observation>) -> Self {
        let mut builder = Self::new(origin);
        builder.add_all(observations);
        builder
    }

    /// Adds all of them: the same as adding each, faster.
    pub fn add_all(&mut self, mut observations: Vec<Observation>) {
        let from = self.observations.len();
        if self.observations.is_empty() {
            self.skeleton = Skeleton::with_capacity(observations.len() / 2 + 1);
            self.observations = observations;
        } else {
            self.observations.append(&mut observations);
        }
        self.take(from);
    }

    /// Whose tree it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How many distinct observations it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.observations.len() - self.gone
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many observations were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Adds one.
    pub fn add(&mut self, observation: Observation) -> Added {
        let number = self.observations.len();
        self.observations.push(observation);
        self.briefs.push(Brief::NONE);
        let added = self.place(number);
        if added != Added::New {
            self.observations.pop();
            self.briefs.pop();
        }
        added
    }

    /// The tree as far as it is known. Costs a pass over everything; the tree borrows it.
    #[must_use]
    pub fn tree(&self) -> Tree<'_> {
        Tree::build(self)
    }

    /// Adds the observations from number `from` on, which lie there already.
    fn take(&mut self, from: usize) {
        let count = self.observations.len() - from;
        self.briefs.resize(self.observations.len(), Brief::NONE);
        if count >= MANY {
            self.take_many(from);
        } else {
            self.take_few(from);
        }
    }

    /// In the order in which they lie. So many at a time are looked up ahead that their cache
    /// misses overlap.
    fn take_few(&mut self, from: usize) {
        let mut end = from;
        let mut next = from;
        while next < self.observations.len() {
            let ahead = (next + AHEAD).min(self.observations.len());
            self.look_ahead(next as u32..ahead as u32);
            while next < ahead {
                if next != end {
                    self.observations.swap(next, end);
                }
                end += usize::from(self.place(end) == Added::New);
                next += 1;
            }
        }
        self.observations.truncate(end);
        self.briefs.truncate(end);
    }

    /// Callers before those whom they called. So a group is made by its own entry, whole, and
    /// knows what its children say of it: nothing is put together from parts. In a deep tree
    /// neighbours also lie near each other then.
    fn take_many(&mut self, from: usize) {
        let depths = self.observations[from..].iter().map(|o| o.place.depth());
        let order = order::by_depth(depths, from as u32);
        for (nth, window) in order.chunks(AHEAD).enumerate() {
            // What is looked up ahead next has to be there by then.
            let later = order.chunks(AHEAD).nth(nth + 2).unwrap_or_default();
            let touched = later
                .iter()
                .map(|&number| self.observations[number as usize].touch());
            black_box(touched.fold(0, |all, one| all ^ one));
            self.look_ahead(window.iter().copied());
            for &number in window {
                self.gone += usize::from(self.place(number as usize) != Added::New);
            }
        }
        if self.gone * 2 > self.observations.len() {
            self.close_gaps();
        }
    }

    /// Gives the places of repeats in `observations` back.
    fn close_gaps(&mut self) {
        let briefs = std::mem::take(&mut self.briefs);
        let mut live = briefs.iter().map(|brief| brief.clock != NONE);
        self.observations.retain(|_| live.next().unwrap_or(false));
        self.observations.shrink_to_fit();
        self.gone = 0;
        self.briefs = briefs.into_iter().filter(|b| b.clock != NONE).collect();
        let width = self.skeleton.width();
        self.narrow(width);
    }

    fn look_ahead(&self, numbers: impl Iterator<Item = u32>) {
        let mut slots = [0u64; 2 * AHEAD];
        let mut used = 0;
        for (slots, number) in slots.chunks_mut(2).zip(numbers) {
            used += 2;
            let place = &self.observations[number as usize].place;
            let level = self.levels.level(place.depth()).unwrap_or(0);
            let chain = place.packed();
            let tag = |at: usize| {
                self.skeleton
                    .tag(level.wrapping_sub(at as u32), chain.bits(at))
            };
            slots[0] = self.skeleton.touch(tag(0));
            slots[1] = self.skeleton.touch(tag(1));
        }
        let touched = slots[..used].iter();
        let touched = touched.map(|&slot| self.skeleton.touch_group(slot));
        black_box(touched.fold(0, |all, one| all ^ one));
    }

    /// Puts the observation that lies at `number` into its place. Unless it is new, the caller
    /// takes it away again.
    fn place(&mut self, number: usize) -> Added {
        let observation = &self.observations[number];
        let Some(level) = self.level_of(observation) else {
            self.refused += 1;
            return Added::Refused;
        };
        let narrowest = observation.place.narrowest();
        if self.skeleton.is_wider_than(narrowest) {
            self.narrow(narrowest);
        }
        let observation = &self.observations[number];
        let group = self.skeleton.add(level, &self.chain(observation, level));
        if let Some(known) = self.find(group, number) {
            return self.update(known, number);
        }
        let observation = &self.observations[number];
        let clock = self.clocks.number(&observation.handle, &observation.host);
        self.briefs[number] = Brief::new(observation, clock);
        self.hang(
            group,
            u32::try_from(number).expect("fewer than 2^32 entries"),
        );
        Added::New
    }

    #[inline]
    fn level_of(&self, observation: &Observation) -> Option<u32> {
        let level = self.levels.level(observation.place.depth())?;
        (observation.place.origin() == self.origin).then_some(level)
    }

    /// An observation's chain, cut at the root.
    #[inline]
    pub(crate) fn chain<'a>(&self, observation: &'a Observation, level: u32) -> Cow<'a, Packed> {
        let chain = observation.place.packed();
        if chain.len() > level as usize + 1 {
            Cow::Owned(chain.first(level as usize + 1))
        } else {
            Cow::Borrowed(chain)
        }
    }

    /// The same entry as the one at `number`, if it is known already.
    #[inline]
    fn find(&mut self, group: u32, number: usize) -> Option<u32> {
        let side = self.observations[number].direction;
        let head = self.skeleton.groups[group as usize].heads[side as usize];
        if head == NONE {
            return None;
        }
        self.find_in_list(head, group, number)
    }

    fn find_in_list(&mut self, head: u32, group: u32, number: usize) -> Option<u32> {
        let observation = &self.observations[number];
        let observations = &self.observations;
        let same = |&number: &u32| {
            let known = &observations[number as usize];
            known.handle == observation.handle && known.place == observation.place
        };
        let list = || std::iter::successors(Some(head), |&at| self.next(at));
        let mut length = 0;
        for number in list().take(CROWD) {
            if same(&number) {
                return Some(number);
            }
            length += 1;
        }
        if length < CROWD {
            return None;
        }
        let key = (group, observation.direction);
        if !self.crowds.contains_key(&key) {
            let mut crowd: HashMap<Handle, Vec<u32>> = HashMap::new();
            for number in list() {
                let handle = self.observations[number as usize].handle.clone();
                crowd.entry(handle).or_default().push(number);
            }
            self.crowds.insert(key, crowd);
        }
        let numbers = self.crowds[&key].get(&observation.handle)?;
        numbers.iter().copied().find(same)
    }

    fn update(&mut self, known: u32, number: usize) -> Added {
        let known = known as usize;
        if !self.observations[known].yields_to(&self.observations[number]) {
            return Added::Repeated;
        }
        self.observations.swap(known, number);
        let observation = &self.observations[known];
        let clock = self.clocks.number(&observation.handle, &observation.host);
        let next = self.briefs[known].next;
        self.briefs[known] = Brief {
            next,
            ..Brief::new(observation, clock)
        };
        Added::Updated
    }

    /// Hangs an observation on its group's list, whose head is the least handle.
    fn hang(&mut self, group: u32, number: u32) {
        let side = self.observations[number as usize].direction;
        let head = self.skeleton.groups[group as usize].heads[side as usize];
        let mut first = number;
        if head != NONE {
            let handle = |number: u32| &self.observations[number as usize].handle;
            if handle(number) < handle(head) {
                self.briefs[number as usize].next = head;
            } else {
                let after = self.briefs[head as usize].next;
                self.briefs[number as usize].next = after;
                self.briefs[head as usize].next = number;
                first = head;
            }
            if let Some(crowd) = self.crowds.get_mut(&(group, side)) {
                let handle = self.observations[number as usize].handle.clone();
                crowd.entry(handle).or_default().push(number);
            }
        }
        self.skeleton.groups[group as usize].heads[side as usize] = first;
    }

    /// The entry after `number` in its list.
    fn next(&self, number: u32) -> Option<u32> {
        let next = self.briefs[number as usize].next;
        (next != NONE).then_some(next)
    }

    /// A list of entries from its head on.
    pub(crate) fn list(&self, head: u32) -> impl Iterator<Item = u32> {
        let first = (head != NONE).then_some(head);
        std::iter::successors(first, |&at| self.next(at))
    }

    /// The level of an interaction.
    pub(crate) fn level(&self, resolved: &Resolved, number: u32) -> u32 {
        let groups = &self.skeleton.groups;
        let group = match groups.get(number as usize) {
            Some(group) => group,
            None => &groups[resolved.leaves[number as usize - groups.len()].group as usize],
        };
        group.level
    }

    /// Builds the skeleton anew for narrower ids.
    fn narrow(&mut self, narrowest: u8) {
        self.skeleton.narrow(narrowest);
        self.crowds.clear();
        for number in 0..self.briefs.len() {
            if self.briefs[number].clock == NONE {
                continue;
            }
            self.briefs[number].next = NONE;
            let observation = &self.observations[number];
            let level = self.level_of(observation).expect("it was taken before");
            let group = self.skeleton.add(level, &self.chain(observation, level));
            self.hang(group, number as u32);
        }
    }
}

impl Extend<Observation> for TreeBuilder {
    fn extend<I: IntoIterator<Item = Observation>>(&mut self, observations: I) {
        let from = self.observations.len();
        self.observations.extend(observations);
        self.take(from);
    }
}

impl Brief {
    /// Of an observation that is not placed, or a repeat.
    const NONE: Self = Self {
        at: 0,
        head: u64::MAX,
        end: u64::MAX,
        sequence: 0,
        clock: NONE,
        next: NONE,
        error: false,
        ignored_hop: false,
        one_way: false,
        detailed: false,
    };

    fn new(observation: &Observation, clock: u32) -> Self {
        Self {
            at: observation.at.0,
            head: observation.head_ns.unwrap_or(u64::MAX),
            end: observation.duration_ns.unwrap_or(u64::MAX),
            sequence: match &observation.handle {
                Handle::Entry(position) => position.sequence,
                Handle::Opaque(number) => *number as u64,
            },
            clock,
            next: NONE,
            error: observation.outcome == Outcome::Error,
            ignored_hop: observation.ignored_hop,
            one_way: observation.one_way,
            detailed: observation.details.is_some(),
        }
    }
}
