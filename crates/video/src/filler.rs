//! What is sent where nothing comes, so that a receiver still has a stream: null packets, and between
//! them the tables and the clock, as often as it wants them. Counters are left to the caller.

use std::collections::VecDeque;

use crate::clock::{TICKS_PER_SECOND, pcr_distance};
use crate::packet::{self, Bytes, NULL, PAT_PID};

/// A reference is wanted every 40 ms, also where what comes next has its first a little later.
const CLOCK_EVERY: i64 = TICKS_PER_SECOND as i64 / 50;
/// It wants the tables every 500 ms.
const TABLES_EVERY: i64 = TICKS_PER_SECOND as i64 / 10;

/// Makes packets for a stream that is known.
#[derive(Clone, Debug)]
pub(crate) struct Filler {
    tables: Vec<Bytes>,
    /// Where the clock is.
    clock: u16,
    due: VecDeque<Bytes>,
    /// When they were last sent, by the stream's clock.
    last_clock: Option<u64>,
    last_tables: Option<u64>,
}

impl Filler {
    pub(crate) fn new(tables: Vec<Bytes>, clock: u16) -> Self {
        Self {
            tables,
            clock,
            due: VecDeque::new(),
            last_clock: None,
            last_tables: None,
        }
    }

    /// A packet of the stream goes out at this time: what it brings is not due for a while.
    pub(crate) fn pass(&mut self, packet: &Bytes, now: u64) {
        let pid = packet::pid(packet);
        if pid == PAT_PID {
            self.last_tables = Some(now);
        } else if pid == self.clock && packet::pcr(packet).is_some() {
            self.last_clock = Some(now);
        }
    }

    /// The packet for this time.
    pub(crate) fn next(&mut self, now: u64) -> Bytes {
        let due = |last: Option<u64>, every: i64| {
            last.is_none_or(|last| !(0..every).contains(&pcr_distance(last, now)))
        };
        if due(self.last_clock, CLOCK_EVERY) {
            self.last_clock = Some(now);
            return packet::reference(self.clock, now);
        }
        if self.due.is_empty() && due(self.last_tables, TABLES_EVERY) {
            self.last_tables = Some(now);
            self.due.extend(&self.tables);
        }
        self.due.pop_front().unwrap_or(NULL)
    }
}
