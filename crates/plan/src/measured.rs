//! The constants, and where each was measured.
//!
//! Bytes: a running fleet of this version with its defaults, by the counters of its journals; the
//! system test `plan` measures them again and fails where they have moved by a tenth. Times: the
//! benchmarks named, on two shared cores; doubt them by a factor of two.

/// Records that a request leaves in the gateway's journal: its own entry, and its call.
pub const GATEWAY_RECORDS: f64 = 2.0;
/// Bytes of these.
pub const GATEWAY_BYTES: f64 = 410.0;

/// Records that a request leaves in the journal of the server that answers it: its opening, which
/// its ordering id needs at once, and its end.
pub const ENTRY_RECORDS: f64 = 2.0;
/// Bytes of these.
pub const ENTRY_BYTES: f64 = 235.0;

/// Records of a call to a deeper service: each side's entry.
pub const CALL_RECORDS: f64 = 2.0;
/// Bytes of these.
pub const CALL_BYTES: f64 = 440.0;

/// What a journal's file has beside a record's bytes: the frame's head (docs/formats/journal.md).
pub const JOURNAL_FRAME_BYTES: f64 = 8.0;
/// And beside a commit's: its head.
pub const JOURNAL_COMMIT_BYTES: f64 = 24.0;

/// Commits that one disk makes in a second: an fdatasync takes 0.12 to 0.24 ms. What comes
/// meanwhile is one batch on the bus.
pub const COMMITS_PER_S_MAX: f64 = 4_000.0;

/// A batch on the bus beside its records (docs/formats/bus.md): frame 12, server's name about 10,
/// epoch 12, first sequence 8, count 4.
pub const BATCH_BYTES: f64 = 46.0;
/// And for each record its length.
pub const BATCH_RECORD_BYTES: f64 = 4.0;

/// Messages that one stream takes in a second where each is synced: each journal has one of them
/// under way (docs/adr/jetstream-bus.md).
pub const JETSTREAM_MESSAGES_PER_S_MAX: f64 = 3_650.0;
/// A message of JetStream beside its records: subject and headers of NATS about 150, kind 2,
/// instance 16, what it follows 21, the batch's own as over links without the frame 34, seal 32.
pub const JETSTREAM_MESSAGE_BYTES: f64 = 255.0;

/// What Ethernet, IP and TCP add to a packet: preamble and gap 20, frame 18, IP 20, TCP 32.
pub const PACKET_BYTES: f64 = 90.0;
/// What a packet holds.
pub const PACKET_HOLDS_BYTES: f64 = 1_448.0;

/// What a memory estimates that it holds for an entry of which nothing is kept.
pub const HELD_BYTES: f64 = 810.0;

/// What a session's state takes in a memory beside its value, at most: 32 actions.
pub const STATE_BYTES: f64 = 5_600.0;

/// Processor time of one side of the bus for a batch and for a record in it: the rows `bus` of the
/// benchmarks over TCP, of five sides on two cores.
pub const BATCH_NS: f64 = 720.0;
/// See [`BATCH_NS`].
pub const RECORD_NS: f64 = 150.0;

/// Processor time to take one record into a memory. An estimate on the high side, the one time here
/// that is not measured: the bench `memory` tells it, a record half a request.
pub const APPLY_NS: f64 = 700.0;
