//! The entry: one side of a call, or an internal action.
//!
//! A server writes an entry into its own journal as records: an *opening* (what is known when it
//! starts), an *effect* once its status and effects are known, a *closing*; short ones as one
//! *whole* record. This crate defines the entry, the records, and their binary and JSON forms. It
//! is pure: no I/O, no clock.
//!
//! Requirements: A5, A7, A9, D6.

mod codec;
mod entry;
mod fold;
mod glance;
mod json;
mod parts;
mod question;
mod record;
mod share;
mod state;
mod time;
mod wire;

pub use entry::{
    Call, Closing, Data, Direction, Effect, Entry, Fields, Follow, Link, Opening, Outcome, Text,
};
pub use fold::{Fold, fold_all};
pub use glance::{Begins, Glance};
pub use question::{OPEN_MAX, Question, Wanted};
pub use record::{Record, RecordError};
pub use state::StateWrite;
pub use time::{Timestamp, TimestampError};
