//! A broadcast as a server-sent event: what the gateway tells one client, and how a client that is
//! no browser reads it.
//!
//! The event is for one session: of all heads it holds that session's own, as text that goes back
//! in `selvedge-session`. Its data is one line of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use selvedge_identity::{AddressedHead, Position, SessionId};
use serde::{Deserialize, Serialize};

use crate::{CONTENT_MAX, Message};

/// The name of the event that brings a broadcast.
pub const BROADCAST: &str = "broadcast";
/// The name of the event that says: broadcasts may have been missed before the next one.
pub const GAP: &str = "gap";

/// The longest event that is read, in bytes: JSON may take six for one of the content's.
const EVENT_MAX: usize = 6 * CONTENT_MAX + 4096;

/// What the event's data says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The broadcast's name: where its record stands.
    pub broadcast: Position,
    /// What the content is.
    pub content_type: String,
    /// The content, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The content otherwise, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// The head for this client's session, if the broadcast addresses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

impl Told {
    /// What a message says to a client of this session.
    #[must_use]
    pub fn of(message: &Message, session: Option<SessionId>) -> Self {
        let broadcast = &message.broadcast;
        let (content, content_base64) = match std::str::from_utf8(broadcast.content()) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(broadcast.content()))),
        };
        let head = session.and_then(|session| broadcast.head_for(session));
        Self {
            broadcast: message.position.clone(),
            content_type: broadcast.content_type().to_owned(),
            content,
            content_base64,
            head: head.map(AddressedHead::text),
        }
    }

    /// The content, whichever way it was told; `None` if it is not right.
    #[must_use]
    pub fn bytes(&self) -> Option<Bytes> {
        match (&self.content, &self.content_base64) {
            (Some(text), None) => Some(text.clone().into()),
            (None, Some(base64)) => Some(STANDARD.decode(base64).ok()?.into()),
            _ => None,
        }
    }
}

/// A message as it is told to many: what is the same for all is written once.
#[derive(Debug)]
pub struct Prepared {
    message: Message,
    /// What is said to those whom it does not address.
    data: String,
}

impl Prepared {
    /// Writes it.
    #[must_use]
    pub fn new(message: Message) -> Self {
        // Strings cannot fail to be written.
        let data = serde_json::to_string(&Told::of(&message, None)).unwrap_or_default();
        Self { message, data }
    }

    /// The event for a client of this session, with this id.
    #[must_use]
    pub fn event(&self, id: &str, session: Option<SessionId>) -> String {
        let head = session.and_then(|session| self.message.broadcast.head_for(session));
        let (data, head) = match head {
            // A head has no character that JSON would escape.
            Some(head) => (
                self.data.strip_suffix('}').unwrap_or_default(),
                format!(",\"head\":\"{}\"}}", head.text()),
            ),
            None => (&*self.data, String::new()),
        };
        format!("id: {id}\nevent: {BROADCAST}\ndata: {data}{head}\n\n")
    }
}

/// The event that says that broadcasts may have been missed.
#[must_use]
pub fn gap() -> String {
    format!("event: {GAP}\ndata: {{}}\n\n")
}

/// One event as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The id to come back with; empty if there never was one.
    pub id: String,
    /// What it is; `message` if it did not say.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// A stream that brings more than an event may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_MAX} bytes")]
pub struct Oversized;

/// Reads a stream of events, in pieces of any size.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    /// The last byte was a CR: an LF right after it ends no line of its own.
    after_cr: bool,
    begun: bool,
    id: String,
    event: String,
    data: String,
}

impl EventReader {
    /// Takes a piece; hands on each event that it completes.
    ///
    /// # Errors
    /// When an event is longer than any of ours; the stream is then of no more use.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(Event)) -> Result<(), Oversized> {
        for &byte in piece {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.end_of_line(&line, &mut each);
                    self.line = line;
                    self.line.clear();
                }
                _ if self.line.len() + self.data.len() >= EVENT_MAX => return Err(Oversized),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &[u8], each: &mut impl FnMut(Event)) {
        let line = match self.begun {
            true => line,
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        self.begun = true;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let mut data = std::mem::take(&mut self.data);
            // Without data it is no event. The last line's end is not data.
            if data.pop().is_some() {
                each(Event {
                    id: self.id.clone(),
                    event: match event.is_empty() {
                        true => "message".to_owned(),
                        false => event,
                    },
                    data,
                });
            }
            return;
        }
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // Comments, and fields that we do not know.
            _ => {}
        }
    }
}
