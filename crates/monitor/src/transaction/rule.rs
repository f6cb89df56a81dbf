//! A rule: which entries, and the statements for each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use selvedge_entry::{Begins, Entry};
use selvedge_filter::{Field, Filter, Needs};
use serde::Deserialize;
use thiserror::Error;

/// A rule as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionConfig {
    /// Its name: one of letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Which entries are transactions, in the language of `selvedge_filter`.
    pub filter: String,
    /// The SQLite database; by default `NAME.db` in the monitor's folder.
    pub database: Option<PathBuf>,
    /// Statements that are run at each start: tables, if they do not exist.
    #[serde(default)]
    pub setup: String,
    /// The statements for each entry. Beside the parameters of `bind` there is `:position`.
    pub run: String,
    /// Parameters of the statements, and the entry's fields that they take. Values are text; a
    /// column's type makes a number of one. A field that is not there is NULL.
    #[serde(default)]
    pub bind: BTreeMap<String, String>,
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("transaction {rule}: {key}: {reason}")]
pub struct TransactionError {
    /// The rule's name.
    pub rule: String,
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong, and what to write.
    pub reason: String,
}

/// A rule, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    pub(crate) config: TransactionConfig,
    filter: Filter,
    bind: Vec<(String, Field)>,
}

/// The values of an entry for the statements' parameters.
pub(crate) type Values = BTreeMap<String, Option<String>>;

impl Transaction {
    /// Checks a rule; its statements are checked when they meet their database.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn new(config: TransactionConfig) -> Result<Self, TransactionError> {
        let error = |key, reason: String| TransactionError {
            rule: config.name.clone(),
            key,
            reason,
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if config.name.is_empty() || config.name.len() > 64 || !config.name.bytes().all(named) {
            let reason = "1 to 64 letters, digits, '-', '_' or '.'".to_owned();
            return Err(error("name", reason));
        }
        let filter =
            Filter::parse(&config.filter).map_err(|fault| error("filter", fault.to_string()))?;
        if let Some(why) = filter.contradiction() {
            return Err(error("filter", format!("it can never hold: {why}")));
        }
        if config.run.trim().is_empty() {
            return Err(error("run", "write the statements for an entry".to_owned()));
        }
        let mut bind = Vec::new();
        for (name, field) in &config.bind {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || !name.bytes().all(plain) || name == "position" {
                let reason = format!("{name}: letters, digits and '_', and not position");
                return Err(error("bind", reason));
            }
            let field = Field::named(field).ok_or_else(|| {
                let reason = format!("no field {field}; there are {}", Field::names());
                error("bind", reason)
            })?;
            bind.push((name.clone(), field));
        }
        Ok(Self {
            filter,
            bind,
            config,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How much of an entry it must see.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let bound = self.bind.iter().map(|(_, field)| field.needs());
        bound.max().unwrap_or_default().max(self.filter.needs())
    }

    /// Whether an entry that begins so may be one of the rule's.
    pub(crate) fn may_match(&self, begins: &Begins<'_>) -> bool {
        self.filter.may_match(begins)
    }

    /// The values of an entry, if it is one of the rule's.
    pub(crate) fn values(&self, entry: &Entry) -> Option<Values> {
        self.filter.matches(entry).then(|| {
            let value = |field: &Field| field.of(entry).map(std::borrow::Cow::into_owned);
            let each = self.bind.iter();
            each.map(|(name, field)| (name.clone(), value(field)))
                .collect()
        })
    }
}
