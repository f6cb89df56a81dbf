//! What one window of one group has counted.

use selvedge_entry::{Entry, Outcome};
use serde::{Deserialize, Serialize};

use super::distinct::{Distinct, Member, Precision};
use super::latency::{BUCKET_ERROR, Percentile};
use super::panes::Panes;
use super::rule::{Counted, Rule, Side};

/// The count of a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Count {
    /// Entries, or the sum of a field.
    Sum(Panes),
    /// Failed entries among all.
    Share { all: Panes, failed: Panes },
    /// Different members.
    Distinct(Distinct),
    /// A percentile.
    Percentile(Percentile),
}

/// What an entry adds to a count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Amount {
    Number(f64),
    Failed(bool),
    Member(Member),
}

/// On which side of the levels a count stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// On the raise level's side.
    pub(crate) raises: bool,
    /// On the clear level's side still.
    pub(crate) holds: bool,
}

impl Amount {
    /// What this entry adds; `None` where it lacks the field.
    pub(crate) fn of(rule: &Rule, entry: &Entry) -> Option<Self> {
        match &rule.counted {
            Counted::Events => Some(Self::Number(1.0)),
            Counted::Sum(field) | Counted::Percentile(_, field) => {
                field.number(entry).map(Self::Number)
            }
            Counted::Distinct(field) => {
                let member = field.of(entry)?;
                Some(Self::Member(Member::of(&member)))
            }
            Counted::ErrorShare => Some(Self::Failed(entry.outcome() == Outcome::Error)),
        }
    }
}

impl Count {
    pub(crate) fn new(rule: &Rule) -> Self {
        match rule.counted {
            Counted::Events | Counted::Sum(_) => Self::Sum(Panes::default()),
            Counted::ErrorShare => Self::Share {
                all: Panes::default(),
                failed: Panes::default(),
            },
            Counted::Distinct(_) => Self::Distinct(Distinct::default()),
            Counted::Percentile(..) => Self::Percentile(Percentile::default()),
        }
    }

    /// Adds what [`Amount::of`] the same rule gave.
    pub(crate) fn add(&mut self, rule: &Rule, pane: i64, amount: &Amount) {
        match (self, amount) {
            (Self::Sum(sum), Amount::Number(number)) => sum.add(pane, *number),
            (Self::Share { all, failed }, Amount::Failed(bad)) => {
                all.add(pane, 1.0);
                failed.add(pane, f64::from(u8::from(*bad)));
            }
            (Self::Distinct(members), Amount::Member(member)) => {
                members.add(pane, *member, precision(rule));
            }
            (Self::Percentile(numbers), Amount::Number(number)) => {
                let under = |level: f64| match rule.side {
                    Side::Above => *number < level,
                    Side::Below => *number <= level,
                };
                numbers.add(pane, *number, under(rule.raise), under(rule.clear));
            }
            _ => {}
        }
    }

    pub(crate) fn expire(&mut self, before: i64) {
        match self {
            Self::Sum(sum) => sum.expire(before),
            Self::Share { all, failed } => {
                all.expire(before);
                failed.expire(before);
            }
            Self::Distinct(members) => members.expire(before),
            Self::Percentile(numbers) => numbers.expire(before),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Sum(sum) | Self::Share { all: sum, .. } => sum.is_empty(),
            Self::Distinct(members) => members.is_empty(),
            Self::Percentile(numbers) => numbers.is_empty(),
        }
    }

    /// On which side of the levels it stands; a share or a percentile of nothing is on neither.
    pub(crate) fn standing(&self, rule: &Rule) -> Standing {
        let nothing = match self {
            Self::Share { all, .. } => all.total() == 0.0,
            Self::Percentile(numbers) => numbers.is_empty(),
            _ => false,
        };
        if nothing {
            return Standing::default();
        }
        if let (Self::Percentile(numbers), Counted::Percentile(percent, _)) = (self, &rule.counted)
        {
            let (over_raise, over_clear) = numbers.reaches(*percent);
            return match rule.side {
                Side::Above => Standing {
                    raises: over_raise,
                    holds: over_clear,
                },
                Side::Below => Standing {
                    raises: !over_raise,
                    holds: !over_clear,
                },
            };
        }
        let (value, _) = self.value(rule);
        match rule.side {
            Side::Above => Standing {
                raises: value >= rule.raise,
                holds: value >= rule.clear,
            },
            Side::Below => Standing {
                raises: value <= rule.raise,
                holds: value <= rule.clear,
            },
        }
    }

    /// The value to show, and its standard error as a share of it. For a percentile it takes a
    /// walk through all buckets.
    pub(crate) fn value(&self, rule: &Rule) -> (f64, f64) {
        match self {
            Self::Sum(sum) => (sum.total(), 0.0),
            Self::Distinct(members) => members.count(precision(rule)),
            Self::Share { all, .. } if all.total() == 0.0 => (0.0, 0.0),
            Self::Share { all, failed } => (failed.total() / all.total(), 0.0),
            Self::Percentile(numbers) => match rule.counted {
                Counted::Percentile(percent, _) => (numbers.value(percent), BUCKET_ERROR),
                _ => (0.0, 0.0),
            },
        }
    }
}

fn precision(rule: &Rule) -> Precision {
    if rule.group_by.is_some() {
        Precision::GROUPED
    } else {
        Precision::ALONE
    }
}
