//! The monitor on a bus, with receivers that are real servers.

mod monitor;
mod strangers;
mod transactions;

use bytes::Bytes;
use selvedge_entry::{Closing, Direction, Opening, Outcome, Record, Timestamp};

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
