//! The costs, each at its place.

use serde::Serialize;

use crate::Fleet;
use crate::measured as m;

/// What flows in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Flow {
    /// Records.
    pub records_per_s: f64,
    /// Bytes on the wire, packets' own included.
    pub bytes_per_s: f64,
    /// Batches: what came during one commit of its journal.
    pub batches_per_s: f64,
}

impl Flow {
    /// Records of one journal, of this many bytes together, in so many batches at most, each with
    /// so many bytes of its own.
    fn of_journal(journal: Journal, batches_max: f64, batch_bytes: f64) -> Self {
        let Journal {
            records_per_s,
            bytes_per_s,
        } = journal;
        let batches = records_per_s.min(batches_max);
        let payload = bytes_per_s + records_per_s * m::BATCH_RECORD_BYTES + batches * batch_bytes;
        let packets = batches.max(payload / m::PACKET_HOLDS_BYTES);
        Self {
            records_per_s,
            bytes_per_s: payload + packets * m::PACKET_BYTES,
            batches_per_s: batches,
        }
    }

    /// As it goes over the links of the embedded hub.
    fn over_links(journal: Journal) -> Self {
        Self::of_journal(journal, m::COMMITS_PER_S_MAX, m::BATCH_BYTES)
    }

    /// As it goes over JetStream, which so many journals share.
    fn over_jetstream(journal: Journal, journals: f64) -> Self {
        let batches_max = m::JETSTREAM_MESSAGES_PER_S_MAX / journals;
        Self::of_journal(journal, batches_max, m::JETSTREAM_MESSAGE_BYTES)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            records_per_s: self.records_per_s + other.records_per_s,
            bytes_per_s: self.bytes_per_s + other.bytes_per_s,
            batches_per_s: self.batches_per_s + other.batches_per_s,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            records_per_s: self.records_per_s * factor,
            bytes_per_s: self.bytes_per_s * factor,
            batches_per_s: self.batches_per_s * factor,
        }
    }

    /// The share of a link that it takes.
    #[must_use]
    pub fn of_link(&self, fleet: &Fleet) -> f64 {
        self.bytes_per_s * 8.0 / fleet.link_bits_per_s
    }

    /// Cores that it keeps one side of the bus busy with.
    fn cores(&self) -> f64 {
        (self.batches_per_s * m::BATCH_NS + self.records_per_s * m::RECORD_NS) / 1e9
    }
}

/// What one request leaves in journals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PerRequest {
    /// Records in the gateway's.
    pub gateway_records: f64,
    /// Bytes of these.
    pub gateway_bytes: f64,
    /// Records in the servers'.
    pub server_records: f64,
    /// Bytes of these.
    pub server_bytes: f64,
}

impl PerRequest {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let entry = fleet.entry_bytes.unwrap_or(m::ENTRY_BYTES);
        Self {
            gateway_records: m::GATEWAY_RECORDS,
            gateway_bytes: m::GATEWAY_BYTES,
            server_records: m::ENTRY_RECORDS + fleet.calls * m::CALL_RECORDS,
            server_bytes: entry + fleet.calls * m::CALL_BYTES,
        }
    }

    /// What one server's journal announces.
    fn server(&self, fleet: &Fleet) -> Journal {
        let rate = fleet.rate / fleet.servers.max(1) as f64;
        Journal {
            records_per_s: rate * self.server_records,
            bytes_per_s: rate * self.server_bytes,
        }
    }

    /// What the gateway's announces.
    fn gateway(&self, fleet: &Fleet) -> Journal {
        Journal {
            records_per_s: fleet.rate * self.gateway_records,
            bytes_per_s: fleet.rate * self.gateway_bytes,
        }
    }
}

/// What is written into one journal in a second.
#[derive(Clone, Copy)]
struct Journal {
    records_per_s: f64,
    bytes_per_s: f64,
}

/// At one server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Server {
    /// What it announces.
    pub out: Flow,
    /// What it gets of all others.
    #[serde(rename = "in")]
    pub into: Flow,
    /// What its journal grows by.
    pub journal_bytes_per_day: f64,
    /// Cores that knowing of the others keeps busy.
    pub cores: f64,
    /// What it holds.
    pub memory: Memory,
}

/// What one server's memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Bytes of entries, as its estimate counts them.
    pub bytes: f64,
    /// What it would take to hold entries up to the age set; `None`: no age is set.
    pub bytes_for_age: Option<f64>,
    /// How far back it reaches, in seconds.
    pub reaches_s: f64,
    /// Bytes of sessions' state, at most.
    pub state_bytes: f64,
    /// Sessions whose state it has room for.
    pub state_sessions: f64,
}

impl Server {
    pub(crate) fn of(fleet: &Fleet, request: &PerRequest) -> Self {
        let out = Flow::over_links(request.server(fleet));
        let others = fleet.servers.saturating_sub(1) as f64;
        let into = Flow::over_links(request.gateway(fleet)).plus(out.times(others));
        let own = fleet.rate / fleet.servers.max(1) as f64;
        let journal = own
            * (request.server_bytes + request.server_records * m::JOURNAL_FRAME_BYTES)
            + out.batches_per_s * m::JOURNAL_COMMIT_BYTES;
        // It takes its own records into its memory as well.
        let applied = into.records_per_s + out.records_per_s;
        Self {
            out,
            into,
            journal_bytes_per_day: journal * 86_400.0,
            cores: into.cores() + out.cores() + applied * m::APPLY_NS / 1e9,
            memory: Memory::of(fleet),
        }
    }
}

impl Memory {
    fn of(fleet: &Fleet) -> Self {
        let kept = fleet.entry_bytes.unwrap_or(m::ENTRY_BYTES) - m::ENTRY_BYTES;
        let per_s = fleet.rate * (m::HELD_BYTES + kept.max(0.0));
        let room = fleet.memory_bytes_max as f64;
        let age = (fleet.memory_age_s > 0).then_some(fleet.memory_age_s as f64);
        let full_s = if per_s > 0.0 { room / per_s } else { f64::MAX };
        let reaches_s = age.map_or(full_s, |age| age.min(full_s));
        let of_session = m::STATE_BYTES + fleet.state_bytes;
        let sessions = match fleet.state_bytes > 0.0 {
            true => fleet.sessions as f64,
            false => 0.0,
        };
        let state_room = fleet.state_bytes_max as f64;
        Self {
            bytes: (per_s * reaches_s).min(room),
            bytes_for_age: age.map(|age| per_s * age),
            reaches_s,
            state_bytes: (sessions * of_session).min(state_room),
            state_sessions: (state_room / of_session).floor(),
        }
    }
}

/// At the bus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bus {
    /// What comes over its link.
    #[serde(rename = "in")]
    pub into: Flow,
    /// What goes.
    pub out: Flow,
    /// Cores that it keeps busy; `None`: not measured.
    pub cores: Option<f64>,
    /// What its disk grows by.
    pub stored_bytes_per_day: f64,
}

impl Bus {
    /// It is in the gateway's process, whose own journal takes no link, and stores nothing. To each
    /// server it gives what the others announce, to each reader everything.
    pub(crate) fn hub(fleet: &Fleet, request: &PerRequest) -> Self {
        let server = Flow::over_links(request.server(fleet));
        let gateway = Flow::over_links(request.gateway(fleet));
        let (servers, readers) = (fleet.servers as f64, fleet.readers as f64);
        let into = server.times(servers);
        let of_servers = server.times(servers * (servers - 1.0).max(0.0) + servers * readers);
        let out = of_servers.plus(gateway.times(servers + readers));
        Self {
            into,
            out,
            cores: Some(into.cores() + out.cores()),
            stored_bytes_per_day: 0.0,
        }
    }

    /// The leader of the stream gets everything, gives it to two replicas and to every process,
    /// its own and the gateway's among it; all three store it.
    pub(crate) fn jetstream(fleet: &Fleet, request: &PerRequest) -> Self {
        let (servers, readers) = (fleet.servers as f64, fleet.readers as f64);
        let journals = servers + 1.0;
        let of_servers = Flow::over_jetstream(request.server(fleet), journals).times(servers);
        let into = of_servers.plus(Flow::over_jetstream(request.gateway(fleet), journals));
        let stored = fleet.rate * (request.server_bytes + request.gateway_bytes)
            + into.batches_per_s * m::JETSTREAM_MESSAGE_BYTES;
        Self {
            into,
            out: into.times(2.0 + servers + 1.0 + readers),
            cores: None,
            stored_bytes_per_day: stored * 86_400.0,
        }
    }
}
