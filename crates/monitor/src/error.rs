//! Why a monitor does not start; and the check that says so before.

use std::path::PathBuf;

use selvedge_bus::BusError;
use thiserror::Error;

use crate::notify::ReceiverConfig;
use crate::threshold::{Rule, RuleConfig, RuleError};
use crate::transaction::{LedgerError, TransactionError};

/// Why a monitor does not start.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// A rule is refused.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Two rules of one name.
    #[error("two thresholds are named {0}; give each a name of its own")]
    Twice(String),
    /// A receiver is refused.
    #[error("threshold receiver: {0}")]
    Receiver(String),
    /// Its folder cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The state cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    State {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A transaction's rule is refused.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A transaction's database cannot be used.
    #[error("transaction: {0}")]
    Ledger(#[from] LedgerError),
    /// The bus refused.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Checks rules and receivers, as `selvedge check` does.
///
/// # Errors
/// The first that is refused.
pub fn check(
    rules: &[RuleConfig],
    receivers: &[ReceiverConfig],
) -> Result<Vec<Rule>, MonitorError> {
    let mut checked: Vec<Rule> = Vec::new();
    for config in rules {
        let rule = Rule::new(config)?;
        if checked.iter().any(|other| other.name() == rule.name()) {
            return Err(MonitorError::Twice(config.name.clone()));
        }
        checked.push(rule);
    }
    for receiver in receivers {
        receiver.check().map_err(MonitorError::Receiver)?;
    }
    let on_bus = |receiver: &&ReceiverConfig| matches!(receiver, ReceiverConfig::Bus(_));
    if receivers.iter().filter(on_bus).count() > 1 {
        let reason = "two on the bus; one is enough, everyone there has it".to_owned();
        return Err(MonitorError::Receiver(reason));
    }
    Ok(checked)
}
