//! A rule at work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_entry::{Entry, Timestamp};
use selvedge_identity::Position;
use serde::{Deserialize, Serialize};

use super::alarm::{Alarm, Change, nanoseconds};
use super::count::{Amount, Count};
use super::rule::{PANES_MAX, Rule, Side, Window};

/// Bytes of a group's name that are kept.
const GROUP_BYTES_MAX: usize = 256;

/// A level was crossed.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// The rule.
    pub rule: Box<str>,
    /// The group, where the rule has groups.
    pub group: Option<Box<str>>,
    /// It counts the rule's raises from 1; a clear bears the number of its raise.
    pub number: u64,
    /// Which way.
    pub change: Change,
    /// When, by the monitor's clock.
    pub at: Timestamp,
    /// The value at the crossing.
    pub value: f64,
    /// Its standard error as a share of it; 0: exact.
    pub error: f64,
    /// The window's first instant; `None`: since the start.
    pub window: Option<Timestamp>,
    /// The entry that crossed it; `None` where time did.
    pub cause: Option<Position>,
}

/// What an entry is to a rule. Counting it needs nothing else of the entry: so a rule's life can be
/// written down as what it counted and when, and lived again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taking {
    entry: Position,
    /// When it began, by its server: nanoseconds since the epoch.
    at: i64,
    /// Its group's name and what it adds; `None` if it lacks either.
    adds: Option<(Box<str>, Amount)>,
}

/// What became of the entries that a rule asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThresholdCounts {
    /// Counted.
    pub taken: u64,
    /// Too late for any window that is open, or from before the rule began.
    pub late: u64,
    /// From the future of the monitor's clock: counted, at its now.
    pub ahead: u64,
    /// Of a group beyond the limit.
    pub left_out: u64,
    /// Without the field that is counted or grouped by, or with one that is no number.
    pub lacking: u64,
}

/// Where a group stands.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupView<'a> {
    /// Its name, where the rule has groups.
    pub group: Option<&'a str>,
    /// The newest window's value.
    pub value: f64,
    /// Its standard error as a share of it; 0: exact.
    pub error: f64,
    /// The number of the crossing that fires.
    pub firing: Option<u64>,
}

/// A rule at work. Give it each entry once, when it has come as far as [`Rule::needs`] asks, and
/// call [`Self::tick`] when [`Self::due`] has come.
#[derive(Clone, Debug)]
pub struct Threshold {
    rule: Rule,
    state: State,
    /// When time alone may change which group's alarm. Not written: the groups tell.
    alarms_due: BTreeSet<(i64, Box<str>)>,
}

/// What is written and read back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// Nanoseconds since the epoch.
    started: i64,
    groups: BTreeMap<Box<str>, Group>,
    counts: ThresholdCounts,
    /// Raises so far.
    crossings: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    /// By the window's number; one without a number is 0.
    windows: BTreeMap<i64, OpenWindow>,
    alarm: Alarm,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OpenWindow {
    count: Count,
    /// It has raised, and does not again.
    raised: bool,
}

impl Threshold {
    /// The rule begins at `now`.
    #[must_use]
    pub fn new(rule: Rule, now: Timestamp) -> Self {
        let mut groups = BTreeMap::new();
        if rule.group_by.is_none() {
            groups.insert(Box::from(""), Group::default());
        }
        Self {
            state: State {
                started: now.0,
                groups,
                counts: ThresholdCounts::default(),
                crossings: 0,
            },
            rule,
            alarms_due: BTreeSet::new(),
        }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// What became of the entries so far.
    #[must_use]
    pub fn counts(&self) -> ThresholdCounts {
        self.state.counts
    }

    /// Takes an entry at `now`, the monitor's clock.
    pub fn take(&mut self, entry: &Entry, now: Timestamp) -> Vec<Crossing> {
        match self.look(entry) {
            Some(taking) => self.count(&taking, now),
            None => Vec::new(),
        }
    }

    /// What an entry is to this rule; `None` if it is not asked for.
    #[must_use]
    pub fn look(&self, entry: &Entry) -> Option<Taking> {
        if !self.rule.filter.matches(entry) {
            return None;
        }
        let group = match &self.rule.group_by {
            None => Some(Box::from("")),
            Some(field) => field.of(entry).map(|name| short(&name)),
        };
        Some(Taking {
            entry: entry.position.clone(),
            at: entry.opening.at.0,
            adds: group.zip(Amount::of(&self.rule, entry)),
        })
    }

    /// Counts at `now` what [`Self::look`] found.
    pub fn count(&mut self, taking: &Taking, now: Timestamp) -> Vec<Crossing> {
        let counts = &mut self.state.counts;
        let Some((name, amount)) = &taking.adds else {
            counts.lacking += 1;
            return Vec::new();
        };
        let at = taking.at;
        let place = Place::of(&self.rule, at.min(now.0));
        let oldest = Place::oldest(&self.rule, now);
        if at < self.state.started || place.window < oldest.window || place.pane < oldest.pane {
            counts.late += 1;
            return Vec::new();
        }
        let rule = &self.rule;
        if !self.state.groups.contains_key(name) {
            if self.state.groups.len() >= rule.groups_max {
                counts.left_out += 1;
                return Vec::new();
            }
            self.state.groups.insert(name.clone(), Group::default());
        }
        counts.taken += 1;
        counts.ahead += u64::from(at > now.0);
        if let Some(group) = self.state.groups.get_mut(name) {
            let window = group
                .windows
                .entry(place.window)
                .or_insert_with(|| OpenWindow {
                    count: Count::new(rule),
                    raised: false,
                });
            window.count.add(rule, place.pane, amount);
        }
        self.go_on(name, now, Some((place.window, &taking.entry)))
    }

    /// Goes on to `now`: windows move, what was left long enough clears.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Crossing> {
        let names: Vec<Box<str>> = self.state.groups.keys().cloned().collect();
        let mut crossings = Vec::new();
        for name in names {
            crossings.extend(self.go_on(&name, now, None));
        }
        let grouped = self.rule.group_by.is_some();
        self.state.groups.retain(|_, group| {
            !grouped || group.alarm != Alarm::Quiet || !group.windows.is_empty()
        });
        crossings
    }

    /// When [`Self::tick`] may change something next; `None`: not before the next entry.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let alarm = self.alarms_due.first().map(|(due, _)| *due);
        let moves = match self.rule.window {
            Window::SinceStart => None,
            Window::Tumbling(length) | Window::Sliding { step: length, .. } => {
                let length = nanoseconds(length);
                let next = now.0.div_euclid(length).saturating_add(1);
                Some(next.saturating_mul(length))
            }
        };
        alarm.into_iter().chain(moves).min().map(Timestamp)
    }

    /// The groups at `now`, as far as they were brought there by an entry or a tick.
    pub fn groups(&self, now: Timestamp) -> impl Iterator<Item = GroupView<'_>> {
        let grouped = self.rule.group_by.is_some();
        let current = Place::of(&self.rule, now.0).window;
        self.state.groups.iter().map(move |(name, group)| {
            let window = group.windows.get(&current);
            let (value, error) = window
                .map(|window| window.count.value(&self.rule))
                .unwrap_or_default();
            GroupView {
                group: grouped.then_some(&**name),
                value,
                error,
                firing: group.alarm.firing(),
            }
        })
    }

    /// Brings a group's windows and its alarm to `now`. `cause`: the entry that was just counted,
    /// and its window.
    fn go_on(
        &mut self,
        name: &str,
        now: Timestamp,
        cause: Option<(i64, &Position)>,
    ) -> Vec<Crossing> {
        let rule = &self.rule;
        let Some(group) = self.state.groups.get_mut(name) else {
            return Vec::new();
        };
        let due_before = group.alarm.due(rule);
        let oldest = Place::oldest(rule, now);
        group.windows = group.windows.split_off(&oldest.window);
        for window in group.windows.values_mut() {
            window.count.expire(oldest.pane);
        }
        group.windows.retain(|_, window| !window.count.is_empty());

        let mut changes = Vec::new();
        let current = Place::of(rule, now.0).window;
        // An entry that came late may take an ended window over the level.
        if let Some((late, _)) = cause
            && late < current
            && rule.side == Side::Above
            && rule.hold.is_zero()
            && group.alarm == Alarm::Quiet
            && let Some(window) = group.windows.get_mut(&late)
            && !window.raised
            && window.count.standing(rule).raises
        {
            window.raised = true;
            self.state.crossings += 1;
            let number = self.state.crossings;
            changes.push((Change::Raised, number, late));
            changes.push((Change::Cleared, number, late));
        }
        let asked = match rule.side {
            Side::Above => Some(current),
            // How low a window stays is known at its end.
            Side::Below => Place::ended(rule, now, Timestamp(self.state.started)),
        };
        if let Some(asked) = asked {
            let window = group.windows.get(&asked);
            let standing = match window {
                Some(window) => window.count.standing(rule),
                None => Count::new(rule).standing(rule),
            };
            let next = self.state.crossings + 1;
            if let Some((change, number)) = group.alarm.step(rule, standing, now, next) {
                changes.push((change, number, asked));
            }
            self.state.crossings = match group.alarm.firing() {
                Some(number) => self.state.crossings.max(number),
                None => self.state.crossings,
            };
            if group.alarm.firing().is_some()
                && let Some(window) = group.windows.get_mut(&asked)
            {
                window.raised = true;
            }
        }
        let due = group.alarm.due(rule);
        if due != due_before {
            if let Some(before) = due_before {
                self.alarms_due.remove(&(before, name.into()));
            }
            self.alarms_due.extend(due.map(|due| (due, name.into())));
        }
        let cause = cause.map(|(_, position)| position);
        let crossing = |(change, number, window)| {
            let shown = group.windows.get(&window);
            let (value, error) = shown
                .map(|shown| shown.count.value(rule))
                .unwrap_or_default();
            Crossing {
                rule: rule.name.clone(),
                group: rule.group_by.is_some().then(|| name.into()),
                number,
                change,
                at: now,
                value,
                error,
                window: Place::start(rule, window, now),
                cause: cause.cloned(),
            }
        };
        changes.into_iter().map(crossing).collect()
    }

    /// Its state, to be written: whatever serde writes.
    #[must_use]
    pub fn saved(&self) -> impl Serialize + '_ {
        &self.state
    }

    /// The rule goes on from a written state.
    ///
    /// # Errors
    /// When that is not the state of such a rule.
    pub fn restore<'de, D: serde::Deserializer<'de>>(
        rule: Rule,
        saved: D,
    ) -> Result<Self, D::Error> {
        let state = State::deserialize(saved)?;
        let fits = state.groups.values().all(|group| {
            let mut counts = group.windows.values().map(|window| &window.count);
            let own = std::mem::discriminant(&Count::new(&rule));
            counts.all(|count| std::mem::discriminant(count) == own)
        });
        let named = rule.group_by.is_some() || state.groups.keys().eq([&Box::<str>::from("")]);
        if !fits || !named {
            return Err(serde::de::Error::custom("state of another rule"));
        }
        let alarms = state.groups.iter();
        let alarms_due = alarms
            .filter_map(|(name, group)| Some((group.alarm.due(&rule)?, name.clone())))
            .collect();
        Ok(Self {
            rule,
            state,
            alarms_due,
        })
    }
}

/// Where an instant falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    window: i64,
    pane: i64,
}

impl Place {
    fn of(rule: &Rule, at: i64) -> Self {
        match rule.window {
            Window::SinceStart => Self { window: 0, pane: 0 },
            Window::Tumbling(size) => Self {
                window: at.div_euclid(nanoseconds(size)),
                pane: 0,
            },
            Window::Sliding { step, .. } => Self {
                window: 0,
                pane: at.div_euclid(nanoseconds(step)),
            },
        }
    }

    /// The oldest place that still counts.
    fn oldest(rule: &Rule, now: Timestamp) -> Self {
        let newest = Self::of(rule, now.0);
        match rule.window {
            Window::SinceStart => newest,
            Window::Tumbling(size) => {
                // Of short windows no more are kept than a sliding one has panes.
                let lateness = rule.lateness.min(size.saturating_mul(PANES_MAX));
                let ended = now.0.saturating_sub(nanoseconds(lateness));
                // Below a level, the last ended window is asked for whatever its lateness.
                let last = newest.window - i64::from(rule.side == Side::Below);
                Self {
                    window: Self::of(rule, ended).window.min(last),
                    pane: 0,
                }
            }
            Window::Sliding { size, step } => Self {
                window: 0,
                pane: newest.pane + 1 - panes(size, step),
            },
        }
    }

    /// The newest window that has ended (a sliding one ends at each step, once it is full).
    fn ended(rule: &Rule, now: Timestamp, started: Timestamp) -> Option<i64> {
        let full = |size: Duration| started.0.saturating_add(nanoseconds(size)) <= now.0;
        match rule.window {
            Window::SinceStart => Some(0),
            Window::Tumbling(size) => {
                let window = Self::of(rule, now.0).window - 1;
                let begun = window.saturating_mul(nanoseconds(size));
                (begun >= started.0).then_some(window)
            }
            Window::Sliding { size, .. } => full(size).then_some(0),
        }
    }

    /// The first instant of a window.
    fn start(rule: &Rule, window: i64, now: Timestamp) -> Option<Timestamp> {
        match rule.window {
            Window::SinceStart => None,
            Window::Tumbling(size) => Some(Timestamp(window.saturating_mul(nanoseconds(size)))),
            Window::Sliding { step, .. } => {
                let pane = Self::oldest(rule, now).pane;
                Some(Timestamp(pane.saturating_mul(nanoseconds(step))))
            }
        }
    }
}

/// Panes of a sliding window, the one that is still filling among them: it reaches back at least
/// its size less a step.
fn panes(size: Duration, step: Duration) -> i64 {
    i64::try_from(size.as_nanos().div_ceil(step.as_nanos().max(1))).unwrap_or(i64::MAX)
}

fn short(name: &str) -> Box<str> {
    let mut end = name.len().min(GROUP_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}
