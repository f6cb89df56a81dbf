//! A parsed filter.

use std::fmt;
use std::str::FromStr;

use selvedge_entry::Entry;

use crate::contradiction::{Contradiction, contradiction};
use crate::field::{Field, Needs};
use crate::parse::{FilterError, parse};
use crate::token::Operator;

/// Which entries are asked for. The empty text asks for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: Box<str>,
    condition: Condition,
    needs: Needs,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    Always,
    Has(Field),
    Compare(Field, Operator, Value),
    In(Field, Vec<Value>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) text: Box<str>,
    /// As a number, if it is one (or a duration where the field is one).
    pub(crate) number: Option<f64>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// The place of the first mistake and what to write there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let condition = parse(text)?;
        let needs = condition.needs();
        Ok(Self {
            text: text.trim().into(),
            condition,
            needs,
        })
    }

    /// Whether this entry is asked for, as far as it has come: ask when [`Self::needs`] is met.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        self.condition.meets(entry)
    }

    /// Why nothing can ever match: a mistake that is worth a word. Not every one is found.
    #[must_use]
    pub fn contradiction(&self) -> Option<Contradiction> {
        contradiction(&self.condition)
    }

    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Both filters at once.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let condition = Condition::All(vec![self.condition.clone(), other.condition.clone()]);
        Self {
            text: format!("({}) and ({})", self.text, other.text).into(),
            needs: condition.needs(),
            condition,
        }
    }

    /// How much of an entry must be there before it can be decided.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }
}

impl Condition {
    fn meets(&self, entry: &Entry) -> bool {
        match self {
            Self::Always => true,
            Self::Has(field) => field.any(entry, |_| true),
            Self::Compare(field, operator, value) => compare(entry, field, *operator, value),
            Self::In(field, values) => values
                .iter()
                .any(|value| compare(entry, field, Operator::Equal, value)),
            Self::Not(inner) => !inner.meets(entry),
            Self::All(parts) => parts.iter().all(|part| part.meets(entry)),
            Self::Any(parts) => parts.iter().any(|part| part.meets(entry)),
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Always => Needs::Opening,
            Self::Has(field) | Self::Compare(field, ..) | Self::In(field, _) => field.needs(),
            Self::Not(inner) => inner.needs(),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().map(Self::needs).max().unwrap_or_default()
            }
        }
    }
}

/// Numbers compare as numbers where both sides are; equality else compares text, byte for byte. A
/// field that is not there equals nothing, and is therefore unequal to everything.
fn compare(entry: &Entry, field: &Field, operator: Operator, value: &Value) -> bool {
    match operator {
        Operator::Equal => equal(entry, field, value),
        Operator::Unequal => !equal(entry, field, value),
        Operator::Like => field.any(entry, |text| like(&value.text, text)),
        ordered => {
            let (Some(left), Some(right)) = (field.number(entry), value.number) else {
                return false;
            };
            compare_numbers(left, ordered, right)
        }
    }
}

/// By an operator that orders.
pub(crate) fn compare_numbers(left: f64, operator: Operator, right: f64) -> bool {
    match operator {
        Operator::Less => left < right,
        Operator::AtMost => left <= right,
        Operator::Greater => left > right,
        _ => left >= right,
    }
}

fn equal(entry: &Entry, field: &Field, value: &Value) -> bool {
    field.any(entry, |text| *text == *value.text)
        || value
            .number
            .is_some_and(|number| field.number(entry) == Some(number))
}

/// Whether a text is like a pattern: `*` stands for any characters, also none.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        // The part before this one may stand anywhere: the first place leaves the most.
        if let Some(part) = last.replace(part) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

/// The text it was read from.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A condition without parts, as it is written.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Has(field) => write!(f, "has {field}"),
            Self::Compare(field, operator, value) => {
                write!(f, "{field} {} {}", operator.as_str(), value.text)
            }
            Self::In(field, values) => {
                let values: Vec<&str> = values.iter().map(|value| &*value.text).collect();
                write!(f, "{field} in ({})", values.join(", "))
            }
            Self::Always | Self::Not(_) | Self::All(_) | Self::Any(_) => f.write_str("(…)"),
        }
    }
}
