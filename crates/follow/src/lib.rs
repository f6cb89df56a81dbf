//! Entries from the bus, each once.
//!
//! The bus delivers records of journals, at least once. [`Follow`] makes of them entries and hands
//! each on as it gets further, exactly once over restarts; the threshold monitor stands on it.
//! [`Lines`] are the same for monitors of a user's own, in any language: a stream of JSON over
//! HTTP, as lines or as server-sent events, filtered, and resumable at a [`Cursor`].
//!
//! Requirement: B6.

mod cursor;
mod follow;
pub mod http;
mod lines;
mod question;

pub use cursor::{Cursor, CursorError};
pub use follow::{Follow, FollowCounts, SavedFollow, Step};
pub use lines::Lines;
pub use question::{Begin, Form, Question, QuestionError};
