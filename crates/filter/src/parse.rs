//! From words to conditions. `or` binds weakest, then `and`, then `not`.

use std::iter::Peekable;
use std::vec::IntoIter;

use thiserror::Error;

use crate::field::Field;
use crate::filter::{Condition, Value, like};
use crate::token::{Kind, Operator, Token, tokens};

/// Bytes of the longest text.
pub const TEXT_MAX: usize = 4096;

/// Brackets and `not` in one another.
pub const DEPTH_MAX: usize = 32;

/// A mistake in a filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("filter, at byte {at}: {reason}")]
pub struct FilterError {
    /// Where, in bytes from the start of the text.
    pub at: usize,
    /// What is wrong, and what to write.
    pub reason: String,
}

fn error(at: usize, reason: impl Into<String>) -> FilterError {
    FilterError {
        at,
        reason: reason.into(),
    }
}

pub(crate) fn parse(text: &str) -> Result<Condition, FilterError> {
    if text.len() > TEXT_MAX {
        return Err(error(TEXT_MAX, format!("longer than {TEXT_MAX} bytes")));
    }
    let tokens = tokens(text).map_err(|(at, reason)| error(at, reason))?;
    if tokens.is_empty() {
        return Ok(Condition::Always);
    }
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
        end: text.len(),
    };
    let condition = parser.any(0)?;
    match parser.tokens.next() {
        None => Ok(condition),
        Some(token) => Err(error(token.at, "expected and, or, or the end")),
    }
}

struct Parser<'a> {
    tokens: Peekable<IntoIter<Token<'a>>>,
    end: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Condition, FilterError> {
        let first = self.all(depth)?;
        let mut parts = vec![first];
        while self.keyword("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, FilterError> {
        let first = self.one(depth)?;
        let mut parts = vec![first];
        while self.keyword("and") {
            parts.push(self.one(depth)?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn one(&mut self, depth: usize) -> Result<Condition, FilterError> {
        let Some(token) = self.tokens.next() else {
            return Err(error(self.end, "a condition is missing"));
        };
        if depth == DEPTH_MAX {
            return Err(error(token.at, format!("deeper than {DEPTH_MAX} levels")));
        }
        match token.kind {
            Kind::Word("not") => Ok(Condition::Not(Box::new(self.one(depth + 1)?))),
            Kind::Open => {
                let inner = self.any(depth + 1)?;
                self.close()?;
                Ok(inner)
            }
            Kind::Word("has") => match self.tokens.next() {
                Some(Token {
                    at,
                    kind: Kind::Word(name),
                }) => Ok(Condition::Has(field(at, name)?)),
                other => Err(error(self.place(other), "expected a field after has")),
            },
            Kind::Word(name) => {
                let field = field(token.at, name)?;
                self.condition(field)
            }
            _ => Err(error(token.at, "expected a field, not, has or (")),
        }
    }

    fn condition(&mut self, field: Field) -> Result<Condition, FilterError> {
        match self.tokens.next() {
            Some(Token {
                at,
                kind: Kind::Operator(operator),
            }) => {
                let value = self.value(&field, operator)?;
                let ordered = !matches!(
                    operator,
                    Operator::Equal | Operator::Unequal | Operator::Like
                );
                if ordered && value.number.is_none() {
                    let reason = format!("{} compares numbers", operator.as_str());
                    return Err(error(at, reason));
                }
                Ok(Condition::Compare(field, operator, value))
            }
            Some(Token {
                kind: Kind::Word("in"),
                ..
            }) => {
                match self.tokens.next() {
                    Some(Token {
                        kind: Kind::Open, ..
                    }) => {}
                    other => return Err(error(self.place(other), "expected ( after in")),
                }
                let mut values = vec![self.value(&field, Operator::Equal)?];
                while self.comma() {
                    values.push(self.value(&field, Operator::Equal)?);
                }
                self.close()?;
                Ok(Condition::In(field, values))
            }
            other => Err(error(
                self.place(other),
                format!("expected =, !=, <, <=, >, >=, ~ or in after {field}"),
            )),
        }
    }

    fn value(&mut self, field: &Field, operator: Operator) -> Result<Value, FilterError> {
        let (at, text): (usize, Box<str>) = match self.tokens.next() {
            Some(Token {
                at,
                kind: Kind::Word(word),
            }) => (at, word.into()),
            Some(Token {
                at,
                kind: Kind::Quoted(text),
            }) => (at, text.into()),
            other => return Err(error(self.place(other), "expected a value")),
        };
        let number = if *field == Field::Duration {
            let nanoseconds = nanoseconds(&text);
            if nanoseconds.is_none() {
                return Err(error(at, "expected a duration such as 250ms or 1.5s"));
            }
            nanoseconds
        } else {
            text.parse::<f64>().ok().filter(|number| number.is_finite())
        };
        if field.is_number() && operator != Operator::Like && number.is_none() {
            return Err(error(
                at,
                format!("{field} is a number, and {text} is none"),
            ));
        }
        if let Some(values) = field.values() {
            let fits = |value: &&str| match operator {
                Operator::Like => like(&text, value),
                _ => **value == *text,
            };
            if !values.iter().any(fits) {
                let values = values.join(", ");
                return Err(error(
                    at,
                    format!("{field} is one of {values}, never {text}"),
                ));
            }
        }
        Ok(Value { text, number })
    }

    fn keyword(&mut self, word: &str) -> bool {
        self.tokens
            .next_if(|token| matches!(token.kind, Kind::Word(w) if w == word))
            .is_some()
    }

    fn comma(&mut self) -> bool {
        self.tokens
            .next_if(|token| token.kind == Kind::Comma)
            .is_some()
    }

    fn close(&mut self) -> Result<(), FilterError> {
        match self.tokens.next() {
            Some(Token {
                kind: Kind::Close, ..
            }) => Ok(()),
            other => Err(error(self.place(other), "expected )")),
        }
    }

    fn place(&self, token: Option<Token<'a>>) -> usize {
        token.map_or(self.end, |token| token.at)
    }
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => Condition::Always,
    }
}

fn field(at: usize, name: &str) -> Result<Field, FilterError> {
    Field::named(name)
        .ok_or_else(|| error(at, format!("no field {name}; there are {}", Field::names())))
}

/// Nanoseconds of a plain number, or of one with a unit.
fn nanoseconds(text: &str) -> Option<f64> {
    let units = [
        ("ns", 1.0),
        ("us", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1.0));
    let number: f64 = number.trim().parse().ok()?;
    let number = number * unit;
    (number.is_finite() && number >= 0.0).then_some(number)
}
