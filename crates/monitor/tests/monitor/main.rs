//! The monitor on a bus, with receivers that are real servers.

mod monitor;
mod strangers;
mod transactions;

use bytes::Bytes;
use selvedge_entry::{Closing, Data, Direction, Opening, Outcome, Record, Timestamp};

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

fn encoded(record: &Record) -> Bytes {
    let mut out = Vec::new();
    record.encode(&mut out);
    out.into()
}

/// An entry in one record.
fn whole(attribute: &str) -> Bytes {
    encoded(&Record::Whole(opening(attribute, now()), closing()))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.unwrap().as_nanos() as i64)
}
