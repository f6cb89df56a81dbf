//! An attribute's value, of any of the types that OTLP knows.
//!
//! Floating-point numbers are kept as their bits, so that every value equals itself: exact
//! repeats of a span are recognised by comparing all of it.

use selvedge_entry::Text;
use serde_json::json;

/// Lists and maps nest at most this deep.
pub(crate) const NESTING_MAX: usize = 16;

/// An attribute's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// None was given.
    #[default]
    Empty,
    /// Text.
    Text(Text),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// The bits of a floating-point number ([`Value::double`]).
    Double(u64),
    /// Bytes; also what was sent as text and is not UTF-8.
    Bytes(Box<[u8]>),
    /// Values in their order.
    List(Vec<Self>),
    /// Named values in their order.
    Map(Vec<(Text, Self)>),
}

impl Value {
    /// A floating-point number.
    #[must_use]
    pub fn double(number: f64) -> Self {
        Self::Double(number.to_bits())
    }

    /// Its text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As text: text as it is, all else as JSON.
    #[must_use]
    pub fn to_text(&self) -> Text {
        match self {
            Self::Text(text) => text.clone(),
            Self::Empty => "".into(),
            other => other.to_json().to_string().into(),
        }
    }

    /// As JSON: bytes as lower-case hex, numbers that JSON cannot write as text.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Empty => json!(null),
            Self::Text(text) => json!(&**text),
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Double(bits) => {
                let number = f64::from_bits(*bits);
                if number.is_finite() {
                    json!(number)
                } else {
                    json!(number.to_string())
                }
            }
            Self::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                json!(hex)
            }
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(values) => {
                let members = values
                    .iter()
                    .map(|(key, value)| (key.to_string(), value.to_json()));
                serde_json::Value::Object(members.collect())
            }
        }
    }

    /// Bytes of the longest text in it.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(values) => values.iter().map(Self::longest).max().unwrap_or(0),
            Self::Map(values) => values
                .iter()
                .map(|(key, value)| key.len().max(value.longest()))
                .max()
                .unwrap_or(0),
            Self::Empty | Self::Bool(_) | Self::Int(_) | Self::Double(_) => 0,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
