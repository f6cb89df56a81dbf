//! Entries of journals, step by step and as lines.

mod cursor;
mod steps;

use bytes::Bytes;
use selvedge_entry::{Closing, Direction, Effect, Opening, Outcome, Record, Timestamp};

fn opening(attribute: &str, at: Timestamp) -> Box<Opening> {
    Box::new(Opening {
        version: "1".into(),
        host: "h".into(),
        attributes: vec![("choice".into(), attribute.into())],
        ..Opening::new(Direction::Inbound, "content", "POST /vote", at)
    })
}

fn closing() -> Box<Closing> {
    Box::new(Closing {
        duration_ns: 1,
        status: 200,
        outcome: Outcome::Ok,
        ..Closing::default()
    })
}

fn effect() -> Effect {
    Effect {
        after_ns: 1,
        status: 200,
        outcome: Outcome::Ok,
        attributes: Vec::new(),
        state: Vec::new(),
    }
}

fn encoded(record: &Record) -> Bytes {
    let mut out = Vec::new();
    record.encode(&mut out);
    out.into()
}
