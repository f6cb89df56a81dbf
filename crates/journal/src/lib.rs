//! The durable single-writer log of one server.
//!
//! **Problem.** Before an answer's first byte its effect must be on disk, thousands of times a
//! second, and whatever happens (a kill, a torn write, a full disk) nothing that was acknowledged
//! may be lost and nothing that was not written may be read.
//!
//! **Idea.** One thread owns the files. Appenders copy their record into a buffer and get its
//! position at once; the thread takes everything gathered, writes it with one write, syncs it
//! with one fdatasync and moves the *watermark*: the group commit. Records are framed and
//! checksummed with their epoch and sequence mixed in, so bytes of another life never read as
//! records. Readers tail the watermark: from a ring of recent groups while they keep up, from the
//! files when they fall behind, so they never hold up the writer.
//!
//! **Epochs.** Every opening of the journal begins a new epoch in a new file; a file is never
//! appended to in a later life. Sequences are dense within an epoch. Record 0 of each epoch is an
//! [`EpochStart`], which names the last durable epoch and how many records it durably held.
//!
//! **A failing disk.** When a write or a sync fails, the file is never trusted again. The epoch's
//! durable part ends at the watermark; what had been queued beyond it keeps its positions and
//! lives on in memory, still given to readers, never written later and never issued again under
//! another position. A *volatile* epoch begins, held in a bounded ring; [`Journal::durable`]
//! resolves as [`Kept::Volatile`], so that servers go on serving. The writer tries the disk again
//! every few seconds; once it holds, a durable epoch begins whose first record names the last
//! durable epoch and where it ended.
//!
//! **Limits.** A record has at most [`RECORD_BYTES_MAX`] bytes. The journal knows nothing of what
//! a record means; only the first byte 0 is its own. A damaged last commit cannot be told from
//! one torn by a crash, and is cut; damage anywhere before is reported as a gap and left in place.
//!
//! Requirements: A8, D6. The format is drawn in `docs/formats/journal.md`.

mod disk;
mod error;
mod format;
mod journal;
mod options;
mod pace;
mod queue;
mod read_dir;
mod reader;
mod recovery;
mod scan;
mod segment;
mod start;
mod storage;
pub mod testing;
mod view;
mod writer;

pub use disk::DiskStorage;
pub use error::{AppendError, JournalError};
pub use format::RECORD_BYTES_MAX;
pub use journal::{Appended, Journal, Kept};
pub use options::{Driver, Durability, JournalOptions, Retain};
pub use read_dir::{ReadDir, ReadRecord, read_dir, read_file};
pub use reader::{Batch, Delivery, Gap, GapCause, Reader};
pub use recovery::{Damage, Recovered, Torn};
pub use start::EpochStart;
pub use storage::{File, Lock, Storage};
pub use view::{Counters, EpochRange, JournalState};
