//! Entries of journals, step by step and as lines.

mod cursor;
mod steps;

use bytes::Bytes;
use selvedge_entry::{Closing, Data, Direction, Effect, Opening, Outcome, Record, Timestamp};

fn opening(attribute: &str, at: Timestamp) -> Box<Opening> {
    Box::new(Opening {
        direction: Direction::Inbound,
        session: None,
        client: None,
        counter: None,
        after: [].into_iter().collect(),
        unseen: Vec::new(),
        call: None,
        service: "content".into(),
        version: "1".into(),
        host: "h".into(),
        action: "POST /vote".into(),
        generated: None,
        at,
        request: Data::default(),
        links: Vec::new(),
        flags: Vec::new(),
        attributes: vec![("choice".into(), attribute.into())],
    })
}

fn closing() -> Box<Closing> {
    Box::new(Closing {
        duration_ns: 1,
        status: 200,
        outcome: Outcome::Ok,
        error: None,
        work: 0,
        request_bytes: 0,
        response_bytes: 0,
        request: Data::default(),
        response: Data::default(),
        attributes: Vec::new(),
        state: Vec::new(),
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
