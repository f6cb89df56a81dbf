//! What a monitor asks for, as the query of a URL.

use selvedge_filter::{Filter, FilterError, Needs};
use thiserror::Error;

use crate::cursor::{Cursor, CursorError};

/// Which entries, in which form, from where.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// `filter`: which entries; all by default.
    pub filter: Filter,
    /// `when`: how far they must have come: `opening`, `effect`, `closing` (the default). At least
    /// so far as the filter needs.
    pub when: Needs,
    /// `from` or `cursor`: where to begin.
    pub begin: Begin,
    /// `form`.
    pub form: Form,
}

/// Where a stream begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// `from=now`, the default.
    #[default]
    Now,
    /// `from=oldest`: with everything that the journals still have.
    Oldest,
    /// `cursor=…`: after what was told; journals that it does not name from their oldest.
    At(Cursor),
}

/// How entries are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `form=lines`, the default: a JSON object a line.
    #[default]
    Lines,
    /// `form=events`: server-sent events (HTML standard), whose id is the cursor.
    Events,
}

/// Why a question is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// The filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The cursor is wrong.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A parameter with a value that it does not have.
    #[error("{name}={value}: write {name}={choices}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        choices: &'static str,
    },
    /// No such parameter.
    #[error("no parameter {0}: there are filter, when, from, cursor, form")]
    Unknown(String),
}

impl Question {
    /// Reads the query of a URL. `accept` and `last_event_id`: those headers, as browsers'
    /// `EventSource` sends them: it asks for `text/event-stream`, and goes on where it was.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn parse(
        query: &str,
        accept: Option<&str>,
        last_event_id: Option<&str>,
    ) -> Result<Self, QuestionError> {
        let mut question = Self {
            filter: Filter::parse("")?,
            when: Needs::Closing,
            begin: Begin::Now,
            form: match accept {
                Some(accept) if accept.contains("text/event-stream") => Form::Events,
                _ => Form::Lines,
            },
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "filter" => question.filter = Filter::parse(&value)?,
                "cursor" => question.begin = Begin::At(value.parse()?),
                "from" => {
                    question.begin = match &*value {
                        "now" => Begin::Now,
                        "oldest" => Begin::Oldest,
                        _ => return Err(refused("from", &value, "now or oldest")),
                    };
                }
                "when" => {
                    question.when = match &*value {
                        "opening" => Needs::Opening,
                        "effect" => Needs::Effect,
                        "closing" => Needs::Closing,
                        _ => return Err(refused("when", &value, "opening, effect or closing")),
                    };
                }
                "form" => {
                    question.form = match &*value {
                        "lines" => Form::Lines,
                        "events" => Form::Events,
                        _ => return Err(refused("form", &value, "lines or events")),
                    };
                }
                _ => return Err(QuestionError::Unknown(name.into_owned())),
            }
        }
        if let Some(last) = last_event_id.filter(|id| !id.is_empty()) {
            question.begin = Begin::At(last.parse()?);
        }
        question.when = question.when.max(question.filter.needs());
        Ok(question)
    }
}

fn refused(name: &'static str, value: &str, choices: &'static str) -> QuestionError {
    QuestionError::Value {
        name,
        value: value.to_owned(),
        choices,
    }
}
