//! HLS: a stream cut into segments at key frames, and the playlist that names them (RFC 8216bis).

mod playlist;
mod segment;

pub use playlist::{Kind, Playlist, PlaylistOptions};
pub use segment::{Segment, Segmenter};
pub(crate) use segment::{leading, starts_key_frame};
