//! What can go wrong, told so that one knows where and what to do.

use std::io;
use std::path::PathBuf;

use selvedge_identity::{Epoch, ServerName};
use thiserror::Error;

/// Why a journal could not be opened or read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another writer, of this process or another, owns the folder.
    #[error(
        "journal {} is already open in another process; stop that one, or give this server a folder of its own",
        dir.display()
    )]
    InUse {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// The folder is another server's journal.
    #[error("{} belongs to the journal of {found}, not of {expected}; use another folder", path.display())]
    ForeignServer {
        /// The segment that says so.
        path: PathBuf,
        /// Whose it is.
        found: ServerName,
        /// Who asked.
        expected: ServerName,
    },
    /// A segment of a later program.
    #[error("{} has format version {version}, this program knows 1; use a newer selvedge", path.display())]
    UnsupportedVersion {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// Not a segment at all.
    #[error("{} is not a journal segment", path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// Bytes in a segment changed after they were written: the records `from` up to but not
    /// including `to` cannot be read. Equal bounds: no record is lost (a damaged segment header).
    #[error("{} is damaged at byte {offset}: records {from} to {to} (exclusive) of epoch {epoch} are lost", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damage starts, in bytes.
        offset: u64,
        /// The segment's epoch.
        epoch: Epoch,
        /// The first lost sequence.
        from: u64,
        /// The first sequence that is not lost.
        to: u64,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Storage {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl JournalError {
    /// For `map_err`: wraps what the operating system said with what was tried.
    pub(crate) fn storage(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Storage {
            action,
            path,
            source,
        }
    }
}

/// Why a payload was not taken. Nothing was appended and no sequence was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// A record has at least one byte, its kind.
    #[error("empty record")]
    Empty,
    /// The first byte 0 marks the journal's own records.
    #[error("record kind 0 is the journal's own")]
    ReservedKind,
    /// Over [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX).
    #[error("record of {bytes} bytes is longer than {}", crate::RECORD_BYTES_MAX)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The journal was closed.
    #[error("journal is closed")]
    Closed,
}
