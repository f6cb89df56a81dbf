//! Takes observations one by one or in a batch, in any order, and keeps what a tree is made of.
//!
//! Adding one costs at most its stack's length and touches no other entry of the tree, except
//! where the same side of the same interaction was seen before: then it may be a repeat. A tree
//! can be asked for at any time; it is the same for any order, split and repetition of the same
//! observations.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;
use std::iter;
use std::mem;

use arrayvec::ArrayVec;
use selvedge_entry::{Direction, Outcome};
use selvedge_identity::Origin;

use crate::chain::Packed;
use crate::chunks::Chunks;
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
    /// As they came. What a repeat or a later form has taken the place of lies among them until
    /// [`Self::close_gaps`].
    observations: Chunks<Observation>,
    /// The entries: in a large batch callers before those whom they called, else as they came.
    pub(crate) briefs: Chunks<Brief>,
    pub(crate) skeleton: Skeleton,
    pub(crate) clocks: Clocks,
    /// Lists that became long, by handle.
    crowds: HashMap<(u32, Direction), HashMap<Handle, Vec<u32>>>,
    pub(crate) refused: usize,
    /// Entries that failed.
    pub(crate) errors: usize,
    /// Entries whose identifier a hop before them passed on without adding itself.
    pub(crate) ignored_hops: usize,
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
    /// The observation that it is of.
    observation: u32,
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

/// How many ids of each: its own and its caller's. (More are seldom needed, and in any order that
/// they come in, reading them costs more than it saves.)
const IDS: usize = 2;

/// From so many on, observations of a batch are put in order first, and what is needed soon is
/// looked up ahead: fewer stay in the cache.
pub(crate) const MANY: usize = 8192;

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
            observations: Chunks::with_capacity(0),
            briefs: Chunks::with_capacity(0),
            skeleton: Skeleton::with_capacity(0),
            clocks: Clocks::new(),
            crowds: HashMap::new(),
            refused: 0,
            errors: 0,
            ignored_hops: 0,
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
    pub fn add_all(&mut self, observations: Vec<Observation>) {
        let from = self.next_number();
        let count = observations.len();
        // What this needs for a moment, the rest takes over: fresh memory would be cleared first.
        let places = observations.iter().map(|observation| &observation.place);
        let order = (count >= MANY).then(|| order::callers_first(places, from));
        if from == 0 {
            self.skeleton = Skeleton::with_capacity(count / 2 + 1);
            self.briefs = Chunks::with_capacity(count);
            self.observations = observations.into();
        } else {
            for observation in observations {
                self.observations.push(observation);
            }
        }
        match order {
            Some(order) => self.take_many(&order),
            None => self.take_few(from),
        }
        self.tidy();
    }

    /// Whose tree it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How many distinct observations it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.briefs.len()
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
    #[inline]
    pub fn add(&mut self, observation: Observation) -> Added {
        self.observations.push(observation);
        self.place_last()
    }

    /// The tree as far as it is known. Costs a pass over everything; the tree borrows it.
    #[must_use]
    pub fn tree(&self) -> Tree<'_> {
        Tree::build(self)
    }

    /// Puts the newest observation into its place, or lets go of it.
    fn place_last(&mut self) -> Added {
        let number = self.next_number() - 1;
        if self.is_large() {
            self.look_ahead(iter::once(number));
        }
        let added = self.place(number);
        match added {
            Added::New => {}
            Added::Updated => self.tidy(),
            Added::Repeated | Added::Refused => drop(self.observations.pop()),
        }
        added
    }

    /// In the order in which they lie. So many at a time are looked up ahead that their cache
    /// misses overlap.
    fn take_few(&mut self, from: u32) {
        let end = self.next_number();
        for window in (from..end).step_by(AHEAD) {
            let window = window..(window + AHEAD as u32).min(end);
            if self.is_large() {
                self.look_ahead(window.clone());
            }
            for number in window {
                self.place(number);
            }
        }
    }

    /// Callers before those whom they called. So a group is made by its own entry, whole, and
    /// knows what its children say of it: nothing is put together from parts. In a deep tree
    /// neighbours also lie near each other then.
    ///
    /// Children of one caller stand together, and with them both sides of a call: what one of them
    /// fetches into the cache serves all.
    fn take_many(&mut self, order: &[u32]) {
        for (nth, window) in order.chunks(AHEAD).enumerate() {
            // What is looked up ahead next has to be there by then.
            let later = order.chunks(AHEAD).nth(nth + 2).unwrap_or_default();
            let touched = later
                .iter()
                .map(|&number| self.observations[number as usize].touch());
            black_box(touched.fold(0, |all, one| all ^ one));
            self.look_ahead(window.iter().copied());
            for &number in window {
                self.place(number);
            }
        }
    }

    /// Closes gaps once they are the most of what lies there: so it costs each gap a moment.
    fn tidy(&mut self) {
        if (self.observations.len() - self.briefs.len()) * 2 > self.observations.len() {
            self.close_gaps();
        }
    }

    /// Lets go of those observations that no entry is of.
    fn close_gaps(&mut self) {
        let mut numbers = vec![NONE; self.observations.len()];
        for brief in self.briefs.iter() {
            numbers[brief.observation as usize] = 0;
        }
        let mut live = 0..;
        for number in numbers.iter_mut().filter(|number| **number != NONE) {
            *number = live.next().unwrap_or(NONE);
        }
        let observations = mem::replace(&mut self.observations, Chunks::with_capacity(0));
        for (observation, number) in observations.into_iter().zip(&numbers) {
            if *number != NONE {
                self.observations.push(observation);
            }
        }
        for at in 0..self.briefs.len() {
            let brief = &mut self.briefs[at];
            brief.observation = numbers[brief.observation as usize];
        }
    }

    /// Whether what it holds no longer stays in a cache near by.
    fn is_large(&self) -> bool {
        self.briefs.len() >= MANY
    }

    /// Reads the groups that placing some observations will need.
    fn look_ahead(&self, numbers: impl Iterator<Item = u32>) {
        let mut slots: ArrayVec<u64, { AHEAD * IDS }> = ArrayVec::new();
        for number in numbers {
            let place = &self.observations[number as usize].place;
            let level = self.levels.level(place.depth()).unwrap_or(0);
            let chain = place.packed();
            for at in 0..chain.len().min(IDS) {
                let level = level.wrapping_sub(at as u32);
                let tag = self.skeleton.tag(level, chain.bits(at));
                slots.push(self.skeleton.touch(tag));
            }
        }
        let touched = slots.iter().map(|&slot| self.skeleton.touch_group(slot));
        black_box(touched.fold(0, |all, one| all ^ one));
    }

    /// Puts the observation that lies at `number` into its place.
    #[inline]
    fn place(&mut self, number: u32) -> Added {
        let mut observation = &self.observations[number as usize];
        let Some(level) = self.level_of(observation) else {
            self.refused += 1;
            return Added::Refused;
        };
        let narrowest = observation.place.narrowest();
        if self.skeleton.is_wider_than(narrowest) {
            self.narrow(narrowest);
            observation = &self.observations[number as usize];
        }
        let side = observation.direction;
        let group = self.skeleton.add(&chain(observation, level));
        let head = self.skeleton.groups[group as usize].heads[side as usize];
        if head != NONE {
            if let Some(known) = self.find_in_list(head, group, number) {
                return self.update(known, number);
            }
            observation = &self.observations[number as usize];
        }
        let clock = self.clocks.number(&observation.handle, &observation.host);
        let brief = Brief::new(observation, number, clock);
        self.errors += usize::from(brief.error);
        self.ignored_hops += usize::from(brief.ignored_hop);
        let entry = self.briefs.len() as u32;
        self.briefs.push(brief);
        if head == NONE {
            self.skeleton.groups[group as usize].heads[side as usize] = entry;
        } else {
            self.hang(group, side, entry);
        }
        Added::New
    }

    /// Reads something of each of these entries, so that what reads them soon finds them in the
    /// cache.
    #[inline]
    pub(crate) fn touch(&self, entries: impl Iterator<Item = u32>) {
        let touched = entries.filter_map(|entry| self.briefs.get(entry as usize));
        black_box(touched.fold(0, |all, brief| all ^ brief.at ^ i64::from(brief.clock)));
    }

    /// What an entry says.
    #[inline]
    pub(crate) fn observation(&self, entry: u32) -> &Observation {
        &self.observations[self.briefs[entry as usize].observation as usize]
    }

    /// The number of the observation that comes next.
    fn next_number(&self) -> u32 {
        u32::try_from(self.observations.len()).expect("fewer than 2^32 entries")
    }

    #[inline]
    fn level_of(&self, observation: &Observation) -> Option<u32> {
        let level = self.levels.level(observation.place.depth())?;
        (observation.place.origin() == self.origin).then_some(level)
    }

    /// The entry that the observation at `number` is of, if it is known already.
    fn find_in_list(&mut self, head: u32, group: u32, number: u32) -> Option<u32> {
        let observation = &self.observations[number as usize];
        let same = |&entry: &u32| {
            let known = self.observation(entry);
            known.handle == observation.handle && known.place == observation.place
        };
        let mut length = 0;
        for entry in self.list(head).take(CROWD) {
            if same(&entry) {
                return Some(entry);
            }
            length += 1;
        }
        if length < CROWD {
            return None;
        }
        let key = (group, observation.direction);
        if !self.crowds.contains_key(&key) {
            let mut crowd: HashMap<Handle, Vec<u32>> = HashMap::new();
            for entry in self.list(head) {
                let handle = self.observation(entry).handle.clone();
                crowd.entry(handle).or_default().push(entry);
            }
            self.crowds.insert(key, crowd);
        }
        let observation = &self.observations[number as usize];
        let same = |&entry: &u32| self.observation(entry).place == observation.place;
        let entries = self.crowds[&key].get(&observation.handle)?;
        entries.iter().copied().find(same)
    }

    fn update(&mut self, known: u32, number: u32) -> Added {
        let later = &self.observations[number as usize];
        if !self.observation(known).yields_to(later) {
            return Added::Repeated;
        }
        let clock = self.clocks.number(&later.handle, &later.host);
        let brief = Brief::new(later, number, clock);
        let known = &mut self.briefs[known as usize];
        self.errors -= usize::from(known.error);
        self.ignored_hops -= usize::from(known.ignored_hop);
        self.errors += usize::from(brief.error);
        self.ignored_hops += usize::from(brief.ignored_hop);
        let next = known.next;
        *known = Brief { next, ..brief };
        Added::Updated
    }

    /// Hangs an entry on its group's list, whose head is the least handle.
    fn hang(&mut self, group: u32, side: Direction, number: u32) {
        let head = self.skeleton.groups[group as usize].heads[side as usize];
        let mut first = number;
        if head != NONE {
            let handle = |number: u32| &self.observation(number).handle;
            if handle(number) < handle(head) {
                self.briefs[number as usize].next = head;
            } else {
                let after = self.briefs[head as usize].next;
                self.briefs[number as usize].next = after;
                self.briefs[head as usize].next = number;
                first = head;
            }
            if let Some(crowd) = self.crowds.get_mut(&(group, side)) {
                let observation = self.briefs[number as usize].observation;
                let handle = self.observations[observation as usize].handle.clone();
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
        iter::successors(first, |&at| self.next(at))
    }

    /// The level of an interaction.
    pub(crate) fn level(&self, resolved: &Resolved, number: u32) -> u32 {
        let groups = &self.skeleton.groups;
        let group = match groups.get(number as usize) {
            Some(group) => group,
            None => &groups[resolved.leaves[number as usize - groups.len()].group as usize],
        };
        group.chain.level()
    }

    /// Builds the skeleton anew for narrower ids.
    fn narrow(&mut self, narrowest: u8) {
        self.skeleton.narrow(narrowest);
        self.crowds.clear();
        for number in 0..self.briefs.len() as u32 {
            self.briefs[number as usize].next = NONE;
            let observation = self.briefs[number as usize].observation;
            let observation = &self.observations[observation as usize];
            let level = self.level_of(observation).expect("it was taken before");
            let side = observation.direction;
            let group = self.skeleton.add(&chain(observation, level));
            self.hang(group, side, number);
        }
    }
}

impl Extend<Observation> for TreeBuilder {
    fn extend<I: IntoIterator<Item = Observation>>(&mut self, observations: I) {
        let mut observations = observations.into_iter();
        loop {
            let from = self.next_number();
            for observation in observations.by_ref().take(AHEAD) {
                self.observations.push(observation);
            }
            if self.next_number() == from {
                break;
            }
            self.take_few(from);
        }
        self.tidy();
    }
}

impl Brief {
    fn new(observation: &Observation, number: u32, clock: u32) -> Self {
        Self {
            at: observation.at.0,
            head: observation.head_ns.unwrap_or(u64::MAX),
            end: observation.duration_ns.unwrap_or(u64::MAX),
            sequence: match &observation.handle {
                Handle::Entry(position) => position.sequence,
                Handle::Opaque(number) => *number as u64,
            },
            clock,
            observation: number,
            next: NONE,
            error: observation.outcome == Outcome::Error,
            ignored_hop: observation.ignored_hop,
            one_way: observation.one_way,
            detailed: observation.details.is_some(),
        }
    }
}

/// An observation's chain by level, cut at the root.
#[inline]
pub(crate) fn chain(observation: &Observation, level: u32) -> Cow<'_, Packed> {
    let chain = observation.place.packed();
    if chain.level() == level && chain.len() <= level as usize + 1 {
        Cow::Borrowed(chain)
    } else {
        Cow::Owned(chain.at_level(level))
    }
}
