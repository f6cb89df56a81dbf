//! What someone asks a server's agent for (D7, on demand), page by page.
//!
//! A question carries all that the next page needs, so an agent keeps nothing between pages: where
//! to go on, where to end, and which entries that are asked for have begun and not ended yet (an
//! effect and a closing name their entry by its opening's sequence only). The form is a record's:
//! numbered fields, unknown ones skipped (`docs/formats/question.md`).

use selvedge_identity::{Epoch, Origin, SessionId};

use crate::wire::{Reader, put_bytes, put_fixed64, put_message, put_number, put_varint};
use crate::{Opening, Record, RecordError, Timestamp};

/// Entries that were begun and not ended at the end of a page, at most: of more, the oldest are
/// forgotten, and read "outcome unknown" to whoever asked.
pub const OPEN_MAX: usize = 65_536;

/// Which entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of a request's call tree.
    Origin(Origin),
    /// Those of a visit.
    Session(SessionId),
    /// Those that began within a time, on the server's own clock.
    Between {
        /// At this time or later.
        from: Timestamp,
        /// Before this time.
        to: Timestamp,
    },
}

/// A question for one page of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which entries.
    pub wanted: Wanted,
    /// Where to go on; `None` at the oldest record that there is.
    pub from: Option<(Epoch, u64)>,
    /// Where to end: the end of the journal when it was asked first, before this position.
    pub until: Option<(Epoch, u64)>,
    /// Of the epoch of `from`, the openings before it whose entries are wanted and have not ended,
    /// ascending; at most [`OPEN_MAX`] count.
    pub open: Vec<u64>,
}

const ORIGIN: u32 = 1;
const SESSION: u32 = 2;
const FROM_TIME: u32 = 3;
const TO_TIME: u32 = 4;
const FROM: u32 = 5;
const UNTIL: u32 = 6;
const OPEN: u32 = 7;

const COUNTER: u32 = 1;
const RANDOM: u32 = 2;
const SEQUENCE: u32 = 3;

impl Wanted {
    /// Whether an entry that begins so is one of them.
    #[must_use]
    pub fn holds(&self, opening: &Opening) -> bool {
        match self {
            Self::Origin(origin) => {
                let call = opening.call.as_ref();
                call.is_some_and(|call| call.identifier.origin() == *origin)
            }
            Self::Session(session) => opening.session == Some(*session),
            Self::Between { from, to } => (*from..*to).contains(&opening.at),
        }
    }

    /// Bytes that the record of every such opening holds, for whoever looks through many.
    #[must_use]
    pub fn needle(&self) -> Option<&[u8]> {
        match self {
            Self::Origin(origin) => Some(origin.as_bytes()),
            Self::Session(session) => Some(session.as_bytes()),
            Self::Between { .. } => None,
        }
    }

    /// Whether the bytes are an opening's record, or that of a whole entry: those that
    /// [`Wanted::holds`] may be asked of.
    #[must_use]
    pub fn may_open(record: &[u8]) -> bool {
        record
            .first()
            .is_some_and(|kind| Record::OPENS.contains(kind))
    }
}

impl Question {
    /// The first question for these entries.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            from: None,
            until: None,
            open: Vec::new(),
        }
    }

    /// Its binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.wanted {
            Wanted::Origin(origin) => put_bytes(&mut out, ORIGIN, origin.as_bytes()),
            Wanted::Session(session) => put_bytes(&mut out, SESSION, session.as_bytes()),
            Wanted::Between { from, to } => {
                put_fixed64(&mut out, FROM_TIME, from.0 as u64);
                put_fixed64(&mut out, TO_TIME, to.0 as u64);
            }
        }
        for (number, place) in [(FROM, self.from), (UNTIL, self.until)] {
            if let Some((epoch, sequence)) = place {
                put_message(&mut out, number, 24, |out| {
                    put_number(out, COUNTER, epoch.counter.into());
                    put_fixed64(out, RANDOM, epoch.random);
                    put_number(out, SEQUENCE, sequence);
                });
            }
        }
        let forgotten = self.open.len().saturating_sub(OPEN_MAX);
        if !self.open.is_empty() {
            put_message(&mut out, OPEN, self.open.len() * 3, |out| {
                for opening in &self.open[forgotten..] {
                    put_varint(out, *opening);
                }
            });
        }
        out
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`RecordError`] where the bytes are none, or ask for nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const BAD: RecordError = RecordError::Bad("question");
        let (mut origin, mut session) = (None, None);
        let (mut from_time, mut to_time) = (None, None);
        let (mut from, mut until) = (None, None);
        let mut open = Vec::new();
        let mut fields = Reader::new(bytes);
        while let Some((number, value)) = fields.field()? {
            match number {
                ORIGIN => origin = Some(Origin::from_bytes(value.array("origin")?).ok_or(BAD)?),
                SESSION => {
                    session = Some(SessionId::from_bytes(value.array("session")?).ok_or(BAD)?);
                }
                FROM_TIME => from_time = Some(value.fixed64("from")?),
                TO_TIME => to_time = Some(value.fixed64("to")?),
                FROM => from = Some(place(value.message("place")?)?),
                UNTIL => until = Some(place(value.message("place")?)?),
                OPEN => open = openings(value.message("open")?)?,
                _ => {}
            }
        }
        let time = |ns: u64| Timestamp(ns as i64);
        let wanted = match (origin, session, from_time.zip(to_time)) {
            (Some(origin), None, None) => Wanted::Origin(origin),
            (None, Some(session), None) => Wanted::Session(session),
            (None, None, Some((from, to))) => Wanted::Between {
                from: time(from),
                to: time(to),
            },
            _ => return Err(BAD),
        };
        Ok(Self {
            wanted,
            from,
            until,
            open,
        })
    }
}

fn place(mut fields: Reader<'_>) -> Result<(Epoch, u64), RecordError> {
    const BAD: RecordError = RecordError::Bad("place");
    let (mut counter, mut random, mut sequence) = (None, None, None);
    while let Some((number, value)) = fields.field()? {
        match number {
            COUNTER => counter = Some(u32::try_from(value.number("epoch")?).map_err(|_| BAD)?),
            RANDOM => random = Some(value.fixed64("epoch")?),
            SEQUENCE => sequence = Some(value.number("sequence")?),
            _ => {}
        }
    }
    let (Some(counter), Some(random), Some(sequence)) = (counter, random, sequence) else {
        return Err(BAD);
    };
    Ok((Epoch { counter, random }, sequence))
}

fn openings(mut list: Reader<'_>) -> Result<Vec<u64>, RecordError> {
    let mut open = Vec::new();
    while !list.rest().is_empty() {
        let opening = list.varint()?;
        if open.len() >= OPEN_MAX || open.last().is_some_and(|last| *last >= opening) {
            return Err(RecordError::Bad("open"));
        }
        open.push(opening);
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Option<(Epoch, u64)>> {
        let place = (any::<u32>(), any::<u64>(), any::<u64>());
        prop::option::of(
            place.prop_map(|(counter, random, sequence)| (Epoch { counter, random }, sequence)),
        )
    }

    fn wanted() -> impl Strategy<Value = Wanted> {
        let id = prop::array::uniform16(1_u8..);
        prop_oneof![
            id.prop_map(|id| Wanted::Origin(Origin::from_bytes(id).expect("not zero"))),
            prop::array::uniform16(1_u8..)
                .prop_map(|id| Wanted::Session(SessionId::from_bytes(id).expect("not zero"))),
            any::<(i64, i64)>().prop_map(|(from, to)| Wanted::Between {
                from: Timestamp(from),
                to: Timestamp(to)
            }),
        ]
    }

    proptest! {
        #[test]
        fn questions_come_out_as_they_went_in(
            wanted in wanted(),
            from in place(),
            until in place(),
            open in prop::collection::btree_set(any::<u64>(), 0..50),
        ) {
            let open = open.into_iter().collect();
            let question = Question { wanted, from, until, open };
            prop_assert_eq!(Question::decode(&question.encode()), Ok(question));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            if let Ok(question) = Question::decode(&bytes) {
                prop_assert_eq!(Question::decode(&question.encode()), Ok(question));
            }
        }
    }

    #[test]
    fn a_question_for_nothing_or_for_two_things_is_refused() {
        assert!(Question::decode(&[]).is_err());
        let of = |wanted| Question::new(wanted).encode();
        let origin = Origin::from_bytes([7; 16]).expect("not zero");
        let time = Wanted::Between {
            from: Timestamp(1),
            to: Timestamp(2),
        };
        let both = [of(Wanted::Origin(origin)), of(time)].concat();
        assert!(Question::decode(&both).is_err());
    }

    #[test]
    fn of_too_many_open_entries_the_oldest_are_forgotten() {
        let origin = Origin::from_bytes([7; 16]).expect("not zero");
        let mut question = Question::new(Wanted::Origin(origin));
        question.open = (0..OPEN_MAX as u64 + 5).collect();
        let read = Question::decode(&question.encode()).expect("readable");
        assert_eq!(read.open.first(), Some(&5));
        assert_eq!(read.open.len(), OPEN_MAX);
    }
}
