//! What can be asked for, and how a long answer goes on.

use std::fmt;
use std::str::FromStr;

use selvedge_entry::Timestamp;
use selvedge_identity::{ClientId, Origin, SessionId};

/// The most rows of one answer.
pub const LIMIT_MAX: usize = 1000;

/// Rows of an answer that names no limit.
pub const LIMIT_DEFAULT: usize = 100;

/// Which requests to list, newest first. Everything given must hold.
///
/// Without `service`, `operation` and `attributes` the durations and `error` are asked of the
/// request as a whole: of the entry that stands for it. With any of them, one entry (receiving
/// side or internal action) must meet all of these five, and the shallowest that does is shown in
/// the request's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestQuery {
    /// The service that handled it.
    pub service: Option<String>,
    /// What it was asked to do, for one `POST /orders`.
    pub operation: Option<String>,
    /// At least this long, in nanoseconds.
    pub min_duration: Option<u64>,
    /// At most this long, in nanoseconds.
    pub max_duration: Option<u64>,
    /// Whether it failed.
    pub error: Option<bool>,
    /// Attributes it must have, by name and value.
    pub attributes: Vec<(String, String)>,
    /// Flags that the request must carry somewhere.
    pub flags: Vec<String>,
    /// Of this visit only.
    pub session: Option<SessionId>,
    /// Of this client only.
    pub client: Option<ClientId>,
    /// Started at this time or later.
    pub from: Option<Timestamp>,
    /// Started before this time.
    pub to: Option<Timestamp>,
    /// At most so many rows.
    pub limit: usize,
    /// Go on after this row.
    pub cursor: Option<Cursor<Origin>>,
}

/// Which visits to list, the last active first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// Of this client only.
    pub client: Option<ClientId>,
    /// With an action at this time or later.
    pub from: Option<Timestamp>,
    /// Begun before this time.
    pub to: Option<Timestamp>,
    /// At most so many rows.
    pub limit: usize,
    /// Go on after this row.
    pub cursor: Option<Cursor<SessionId>>,
}

/// The last row of an answer: its time and id. The next answer holds what is older, so rows that
/// come in between change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor<Id> {
    /// The time that sorts the row.
    pub at: i64,
    /// The row's id, which breaks ties.
    pub id: Id,
}

impl<Id: fmt::Display> fmt::Display for Cursor<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id)
    }
}

impl<Id: FromStr> FromStr for Cursor<Id> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        Ok(Self {
            at: at.parse().map_err(|_| ())?,
            id: id.parse().map_err(|_| ())?,
        })
    }
}
