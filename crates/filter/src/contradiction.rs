//! Whether a filter can ever hold.
//!
//! Its condition is written as alternatives, each a list of requirements that must all be met, and
//! in each alternative every two requirements of one field are held against each other. What is
//! found is certain; what takes three requirements, or too many alternatives, is not found.

use std::fmt;

use crate::field::Field;
use crate::filter::{Condition, Value, compare_numbers, like};
use crate::token::Operator;

/// Alternatives that are looked through; of a filter with more nothing is said.
const ALTERNATIVES_MAX: usize = 64;

/// Two requirements that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    first: String,
    second: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} exclude each other", self.first, self.second)
    }
}

/// Why this can never hold, if that is seen.
pub(crate) fn contradiction(condition: &Condition) -> Option<Contradiction> {
    let alternatives = alternatives(condition, true)?;
    let mut found = None;
    for alternative in alternatives {
        let conflict = conflict(&alternative)?;
        found.get_or_insert(conflict);
    }
    found
}

/// A condition without parts, as it is or denied.
type Leaf<'a> = (&'a Condition, bool);

/// `None`: too many.
fn alternatives(condition: &Condition, holds: bool) -> Option<Vec<Vec<Leaf<'_>>>> {
    let parts = match condition {
        Condition::Not(inner) => return alternatives(inner, !holds),
        Condition::All(parts) | Condition::Any(parts) => parts,
        leaf => return Some(vec![vec![(leaf, holds)]]),
    };
    let all = matches!(condition, Condition::All(_)) == holds;
    let mut out: Vec<Vec<Leaf<'_>>> = if all { vec![Vec::new()] } else { Vec::new() };
    for part in parts {
        let of_part = alternatives(part, holds)?;
        if all {
            let joined = out.iter().flat_map(|left| {
                let right = of_part.iter();
                right.map(|right| left.iter().chain(right).copied().collect())
            });
            out = joined.collect();
        } else {
            out.extend(of_part);
        }
        if out.len() > ALTERNATIVES_MAX {
            return None;
        }
    }
    Some(out)
}

fn conflict(leaves: &[Leaf<'_>]) -> Option<Contradiction> {
    let mut known: Vec<Required<'_>> = Vec::new();
    for (leaf, holds) in leaves {
        let Some(required) = Required::new(leaf, *holds) else {
            continue;
        };
        for new in required.with_implied() {
            let other = known.iter().find(|other| other.excludes(&new));
            if let Some(other) = other {
                return Some(Contradiction {
                    first: other.text.clone(),
                    second: new.text,
                });
            }
            known.push(new);
        }
    }
    None
}

/// What is required of a field.
#[derive(Clone)]
struct Required<'a> {
    field: Field,
    says: Says<'a>,
    text: String,
}

#[derive(Clone)]
enum Says<'a> {
    Lacks,
    Has,
    OneOf(Vec<(&'a str, Option<f64>)>),
    NoneOf(Vec<(&'a str, Option<f64>)>),
    Bound(Operator, f64),
    /// Also where it has no number.
    NotBound(Operator, f64),
    Like(&'a str),
    Unlike(&'a str),
}

impl<'a> Required<'a> {
    /// `None` where nothing follows: flags can be several.
    fn new(leaf: &'a Condition, holds: bool) -> Option<Self> {
        let value = |value: &'a Value| (&*value.text, value.number);
        let (field, says) = match leaf {
            Condition::Has(field) if holds => (field, Says::Has),
            Condition::Has(field) => (field, Says::Lacks),
            Condition::In(field, values) => {
                let values = values.iter().map(value).collect();
                let says = if holds { Says::OneOf } else { Says::NoneOf };
                (field, says(values))
            }
            Condition::Compare(field, operator, with) => {
                let says = match (operator, holds) {
                    (Operator::Equal, true) | (Operator::Unequal, false) => {
                        Says::OneOf(vec![value(with)])
                    }
                    (Operator::Equal, false) | (Operator::Unequal, true) => {
                        Says::NoneOf(vec![value(with)])
                    }
                    (Operator::Like, true) => Says::Like(&with.text),
                    (Operator::Like, false) => Says::Unlike(&with.text),
                    (operator, true) => Says::Bound(*operator, with.number?),
                    (operator, false) => Says::NotBound(*operator, with.number?),
                };
                (field, says)
            }
            _ => return None,
        };
        let not = if holds { "" } else { "not " };
        (*field != Field::Flag).then(|| Self {
            field: field.clone(),
            says,
            text: format!("{not}{leaf}"),
        })
    }

    /// It, and what follows from it by what the field is.
    fn with_implied(self) -> Vec<Self> {
        let mut all = Vec::with_capacity(2);
        let mut imply = |field: Field, says, text: String| all.push(Self { field, says, text });
        match (&self.field, &self.says) {
            (_, Says::Lacks | Says::NoneOf(_) | Says::NotBound(..) | Says::Unlike(_)) => {}
            (Field::Caller, _) => {
                let inbound = Says::OneOf(vec![("inbound", None)]);
                imply(Field::Direction, inbound, self.text.clone());
            }
            (Field::Callee, _) => {
                let outbound = Says::OneOf(vec![("outbound", None)]);
                imply(Field::Direction, outbound, self.text.clone());
            }
            (Field::Status, Says::Bound(..)) => {
                let most = Says::Bound(Operator::AtMost, 999.0);
                imply(Field::Status, most, "status <= 999".to_owned());
            }
            _ => {}
        }
        if self.field.is_number() && matches!(self.says, Says::Bound(..)) {
            let text = format!("{} >= 0", self.field);
            let least = Says::Bound(Operator::AtLeast, 0.0);
            all.push(Self {
                field: self.field.clone(),
                says: least,
                text,
            });
        }
        all.push(self);
        all
    }

    fn excludes(&self, other: &Self) -> bool {
        self.field == other.field
            && (self.says.excludes(&other.says) || other.says.excludes(&self.says))
    }
}

impl Says<'_> {
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lacks, Self::Has | Self::OneOf(_) | Self::Bound(..) | Self::Like(_)) => true,
            (Self::OneOf(values), other) => values.iter().all(|value| other.refuses(*value)),
            (Self::Bound(left, a), Self::Bound(right, b)) => apart((*left, *a), (*right, *b)),
            (Self::Bound(left, a), Self::NotBound(right, b)) => {
                apart((*left, *a), (denied(*right), *b))
            }
            _ => false,
        }
    }

    /// Whether a field of this value does not meet it.
    fn refuses(&self, (text, number): (&str, Option<f64>)) -> bool {
        let same = |other: &(&str, Option<f64>)| match (other.1, number) {
            (Some(left), Some(right)) => left == right,
            _ => other.0 == text,
        };
        match self {
            Self::Lacks => true,
            Self::Has => false,
            Self::OneOf(values) => !values.iter().any(same),
            Self::NoneOf(values) => values.iter().any(same),
            Self::Bound(operator, bound) => {
                number.is_none_or(|number| !compare_numbers(number, *operator, *bound))
            }
            Self::NotBound(operator, bound) => {
                number.is_some_and(|number| compare_numbers(number, *operator, *bound))
            }
            // A number may be written in several ways.
            Self::Like(pattern) => number.is_none() && !like(pattern, text),
            Self::Unlike(pattern) => number.is_none() && like(pattern, text),
        }
    }
}

/// Whether no number is on the right side of both bounds.
fn apart(one: (Operator, f64), two: (Operator, f64)) -> bool {
    let upper = |operator| matches!(operator, Operator::Less | Operator::AtMost);
    let (low, high) = match (upper(one.0), upper(two.0)) {
        (false, true) => (one, two),
        (true, false) => (two, one),
        _ => return false,
    };
    let open = low.0 == Operator::Greater || high.0 == Operator::Less;
    low.1 > high.1 || (open && low.1 == high.1)
}

fn denied(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::AtLeast,
        Operator::AtMost => Operator::Greater,
        Operator::Greater => Operator::AtMost,
        Operator::AtLeast => Operator::Less,
        other => other,
    }
}
