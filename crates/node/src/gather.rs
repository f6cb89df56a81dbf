//! What passes through a body: counted always, gathered where it is to be kept.

use selvedge_entry::Data;

use crate::Keep;

/// The bytes of one body as they pass. It holds at most one byte more than may be kept, so that
/// what was cut shows.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    content_type: Option<String>,
    room: usize,
    kept: Vec<u8>,
    bytes: u64,
}

impl Gathered {
    /// Begins a body of this content type.
    #[must_use]
    pub fn new(keep: &Keep, content_type: Option<&str>) -> Self {
        let room = match keep.wants_body(content_type) {
            true => keep.body_bytes_max + 1,
            false => 0,
        };
        Self {
            content_type: content_type.filter(|_| room > 0).map(str::to_owned),
            room,
            kept: Vec::new(),
            bytes: 0,
        }
    }

    /// A part came.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        let take = part.len().min(self.room - self.kept.len());
        self.kept.extend_from_slice(&part[..take]);
    }

    /// How many bytes came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What an entry keeps of what came.
    #[must_use]
    pub fn data(&self, keep: &Keep) -> Data {
        let (body, truncated) = keep.body(self.content_type.as_deref(), &self.kept);
        Data {
            body,
            truncated,
            ..Data::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_counted_whole_and_kept_up_to_the_bound() {
        let keep = Keep {
            bodies: vec!["text/plain".to_owned()],
            body_bytes_max: 4,
            ..Keep::default()
        };
        let mut gathered = Gathered::new(&keep, Some("text/plain"));
        for part in ["ab", "", "cd"] {
            gathered.push(part.as_bytes());
        }
        let data = gathered.data(&keep);
        assert_eq!(
            (data.body.as_deref(), data.truncated),
            (Some(&b"abcd"[..]), false)
        );
        gathered.push(b"efgh");
        let data = gathered.data(&keep);
        assert_eq!(
            (data.body.as_deref(), data.truncated),
            (Some(&b"abcd"[..]), true)
        );
        assert_eq!(gathered.bytes(), 8);
    }

    #[test]
    fn a_body_that_is_not_kept_takes_no_room() {
        let mut gathered = Gathered::new(&Keep::default(), Some("application/json"));
        gathered.push(&[b'x'; 1000]);
        assert_eq!(gathered.bytes(), 1000);
        assert!(gathered.data(&Keep::default()).is_empty());
        assert_eq!(gathered.kept.capacity(), 0);
    }
}
