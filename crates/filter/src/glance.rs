//! What can be decided of an entry by a glance at the record that begins it.

use selvedge_entry::Begins;

use crate::field::Field;
use crate::filter::{Condition, Filter, Value, like};
use crate::token::Operator;

impl Filter {
    /// Whether an entry that begins so may match, as far as a glance tells; false: it never will,
    /// whatever is still to come of it.
    #[must_use]
    pub fn may_match(&self, begins: &Begins<'_>) -> bool {
        self.condition().glance(begins) != Some(false)
    }
}

impl Condition {
    /// Whether the entry meets it; `None` where a glance does not tell.
    fn glance(&self, begins: &Begins<'_>) -> Option<bool> {
        match self {
            Self::Always => Some(true),
            Self::Has(_) => None,
            Self::Compare(field, operator, value) => compare(begins, field, *operator, value),
            Self::In(field, values) => any(values
                .iter()
                .map(|value| compare(begins, field, Operator::Equal, value))),
            Self::Not(inner) => inner.glance(begins).map(|met| !met),
            Self::All(parts) => {
                let unmet = parts.iter().map(|part| part.glance(begins).map(|met| !met));
                any(unmet).map(|unmet| !unmet)
            }
            Self::Any(parts) => any(parts.iter().map(|part| part.glance(begins))),
        }
    }
}

/// Whether any is true, where that is told.
fn any(mut all: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all.try_fold(Some(false), |known, one| match one {
        Some(true) => Err(()),
        Some(false) => Ok(known),
        None => Ok(None),
    })
    .unwrap_or(Some(true))
}

fn compare(begins: &Begins<'_>, field: &Field, operator: Operator, value: &Value) -> Option<bool> {
    let text = match field {
        Field::Service => begins.service,
        Field::Version => begins.version,
        Field::Host => begins.host,
        Field::Direction => begins.direction.as_str(),
        Field::Action => begins.action,
        _ => return None,
    };
    // Numbers that are written differently may be equal.
    let equal = (value.number.is_none() || *text == *value.text).then(|| *text == *value.text);
    match operator {
        Operator::Equal => equal,
        Operator::Unequal => equal.map(|equal| !equal),
        Operator::Like => Some(like(&value.text, text)),
        _ => None,
    }
}
