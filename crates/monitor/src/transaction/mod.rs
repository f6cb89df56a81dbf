//! Transactions: what entries ask for is carried out, each exactly once.
//!
//! A rule names the entries (a filter) and what to do for each: SQL statements on a SQLite
//! database, their parameters taken from the entry's fields. The statements, the note that this
//! entry was done, and how far the journals were followed are one transaction of that database; so
//! however often an entry is delivered, and wherever the process dies, it has its effect once.
//!
//! What the database refuses (a constraint, a missing field) goes to the dead letters with the
//! reason, and can be tried again; what the machine refuses (a full disk, a lock) is waited for.
//!
//! Requirement: B9.

mod ledger;
mod process;
mod rule;

pub use ledger::{LETTERS_MAX, Ledger, LedgerError, Letter, Tried};
pub use process::{RunningTransactions, Transactions};
pub use rule::{Transaction, TransactionConfig, TransactionError};
