//! A file of spans in pieces that are read one after the other, so that memory is bounded however
//! long the file is.
//!
//! A short file is one piece, as it is. Of a long one the elements of its outermost lists are
//! gathered into pieces of the same form: spans or traces of Zipkin's, `resourceSpans` of OTLP's
//! (of one batch or of many, one a line), traces of Jaeger's `data`, the messages of OTLP protobuf.
//! Brackets are counted and nothing is parsed here: what is wrong inside an element says the
//! piece's reader.
//!
//! Limits: an element is never split. What Zipkin's reader does with several spans together (parts
//! of one span merged, a receiving side marked that shares its caller's id) it does within a piece.

use std::io::Read;

use thiserror::Error;

use crate::file::is_protobuf;

/// The most bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Spaces that a long file may begin with, before it is known what it is.
const SPACES_MAX: usize = 1 << 20;

/// How long pieces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceSizes {
    /// A piece is given out once it is at least this long.
    pub enough_bytes: usize,
    /// No element may be longer.
    pub element_bytes_max: usize,
}

/// A part of a file that can be read by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What [`crate::read`] reads.
    pub bytes: Vec<u8>,
    /// Bytes of the file that were read so far.
    pub read: u64,
}

/// Why a file cannot be taken apart.
#[derive(Debug, Error)]
pub enum PieceError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It begins like none of the forms, or holds none of their lists.
    #[error(
        "neither OTLP (JSON or protobuf), nor Zipkin v2 JSON, nor Jaeger JSON, from byte {0} on"
    )]
    Unknown(u64),
    /// It ends within an element.
    #[error("cut off after {0} bytes")]
    Cut(u64),
    /// An element is too long to be taken whole.
    #[error("an element of more than {bytes_max} bytes before byte {at}; split it")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
        /// Where reading stood.
        at: u64,
    },
}

/// The pieces of a file, in order. After an error it ends.
pub struct Pieces<R> {
    input: R,
    sizes: PieceSizes,
    /// What was read and is not yet given out or passed over.
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    offset: u64,
    /// How much of the buffer was looked at.
    seen: usize,
    ended: bool,
    state: State,
    /// The piece that is being gathered, without its end.
    piece: Vec<u8>,
    form: Form,
}

enum State {
    /// Nothing was read.
    New,
    Json(Scan),
    Protobuf,
    Done,
}

/// What the elements of a piece are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Zipkin,
    Otlp,
    Jaeger,
}

impl Form {
    fn opening(self) -> &'static [u8] {
        match self {
            Self::Zipkin => b"[",
            Self::Otlp => b"{\"resourceSpans\":[",
            Self::Jaeger => b"{\"data\":[",
        }
    }

    fn closing(self) -> &'static [u8] {
        match self {
            Self::Zipkin => b"]",
            Self::Otlp | Self::Jaeger => b"]}",
        }
    }
}

/// Where in JSON it stands.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_text: bool,
    escaped: bool,
    /// The list whose elements are gathered: its depth.
    list: Option<u32>,
    /// Whether the outermost value had such a list.
    found: bool,
    /// Where in the buffer the element that is being looked at begins.
    element: Option<usize>,
    /// A member's name in an outermost object: where in the buffer it begins and ends.
    name: Option<(usize, usize)>,
}

impl<R: Read> Pieces<R> {
    /// The pieces of `input`.
    pub fn new(input: R, sizes: PieceSizes) -> Self {
        Self {
            input,
            sizes,
            buffer: Vec::new(),
            offset: 0,
            seen: 0,
            ended: false,
            state: State::New,
            piece: Vec::new(),
            form: Form::Zipkin,
        }
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, PieceError> {
        if matches!(self.state, State::New) {
            while !self.ended && self.buffer.len() <= self.sizes.enough_bytes {
                self.fill()?;
            }
            if self.ended {
                self.state = State::Done;
                let bytes = std::mem::take(&mut self.buffer);
                let read = bytes.len() as u64;
                return Ok(Some(Piece { bytes, read }));
            }
            let protobuf = loop {
                match is_protobuf(&self.buffer) {
                    Some(known) => break known,
                    None if self.ended || self.buffer.len() > SPACES_MAX => {
                        return Err(PieceError::Unknown(0));
                    }
                    None => self.fill()?,
                }
            };
            let mut bytes = self.buffer.iter();
            self.state = match bytes.find(|byte| !byte.is_ascii_whitespace()) {
                _ if protobuf => State::Protobuf,
                Some(b'[' | b'{') | None => State::Json(Scan::default()),
                Some(_) => return Err(PieceError::Unknown(0)),
            };
        }
        match self.state {
            State::Json(_) => self.next_json(),
            State::Protobuf => self.next_protobuf(),
            State::New | State::Done => Ok(None),
        }
    }

    fn next_json(&mut self) -> Result<Option<Piece>, PieceError> {
        loop {
            while self.seen < self.buffer.len() {
                let full = self.look()?;
                if full {
                    return Ok(self.give());
                }
            }
            if self.ended {
                let State::Json(scan) = &self.state else {
                    return Ok(None);
                };
                if scan.depth > 0 || scan.in_text {
                    return Err(PieceError::Cut(self.at()));
                }
                self.state = State::Done;
                return Ok(self.give());
            }
            self.pass_over();
            self.fill()?;
        }
    }

    /// Looks at one byte of JSON; returns whether a piece is full.
    fn look(&mut self) -> Result<bool, PieceError> {
        let at = self.seen;
        let place = self.offset + at as u64;
        let State::Json(scan) = &mut self.state else {
            return Ok(false);
        };
        let byte = self.buffer[at];
        self.seen += 1;
        if scan.in_text {
            match byte {
                _ if scan.escaped => scan.escaped = false,
                b'\\' => scan.escaped = true,
                b'"' => {
                    scan.in_text = false;
                    if let Some((_, end)) = &mut scan.name
                        && scan.depth == 1
                    {
                        *end = at;
                    }
                }
                _ => {}
            }
            return Ok(false);
        }
        // The end of an element: a comma between two, or the list's own end.
        if scan.list == Some(scan.depth)
            && matches!(byte, b',' | b']' | b'}')
            && let Some(start) = scan.element.take()
        {
            let form = self.form;
            self.gather(form, start, at)?;
        }
        let State::Json(scan) = &mut self.state else {
            return Ok(false);
        };
        if scan.list == Some(scan.depth)
            && scan.element.is_none()
            && !byte.is_ascii_whitespace()
            && !matches!(byte, b',' | b']' | b'}')
        {
            scan.element = Some(at);
        }
        let mut changed = None;
        match byte {
            b'"' => {
                scan.in_text = true;
                if scan.depth == 1 && scan.list.is_none() {
                    scan.name = Some((at + 1, at + 1));
                }
            }
            b'[' | b'{' => {
                let named = scan.name.take();
                let name = named.map_or(&[][..], |(start, end)| &self.buffer[start..end]);
                let form = match (scan.depth, byte, name) {
                    (0, b'[', _) => Some(Form::Zipkin),
                    (1, b'[', b"resourceSpans") => Some(Form::Otlp),
                    (1, b'[', b"data") => Some(Form::Jaeger),
                    _ => None,
                };
                scan.depth += 1;
                if let Some(form) = form.filter(|_| scan.list.is_none()) {
                    scan.list = Some(scan.depth);
                    scan.found = true;
                    changed = Some(form).filter(|form| *form != self.form);
                }
            }
            b']' | b'}' => {
                if scan.list == Some(scan.depth) {
                    scan.list = None;
                }
                scan.depth = scan
                    .depth
                    .checked_sub(1)
                    .ok_or(PieceError::Unknown(place))?;
                if scan.depth == 0 && !std::mem::take(&mut scan.found) {
                    return Err(PieceError::Unknown(place));
                }
            }
            byte if scan.depth == 0 && !byte.is_ascii_whitespace() => {
                return Err(PieceError::Unknown(place));
            }
            _ => {}
        }
        if let Some(form) = changed {
            // What was gathered has another form; it goes out first.
            let full = !self.piece.is_empty();
            if full {
                self.piece.extend_from_slice(self.form.closing());
            }
            self.form = form;
            return Ok(full);
        }
        Ok(self.piece.len() >= self.sizes.enough_bytes && self.end_piece())
    }

    /// Adds an element, of the buffer, to the piece.
    fn gather(&mut self, form: Form, start: usize, end: usize) -> Result<(), PieceError> {
        if end - start > self.sizes.element_bytes_max {
            return Err(self.too_large());
        }
        let before: &[u8] = if self.piece.is_empty() {
            form.opening()
        } else {
            b","
        };
        self.piece.extend_from_slice(before);
        self.piece.extend_from_slice(&self.buffer[start..end]);
        Ok(())
    }

    fn end_piece(&mut self) -> bool {
        self.piece.extend_from_slice(self.form.closing());
        true
    }

    /// Gives out what was gathered and closed; what was not is closed here.
    fn give(&mut self) -> Option<Piece> {
        if self.piece.is_empty() {
            return None;
        }
        if matches!(self.state, State::Done) {
            self.end_piece();
        }
        Some(Piece {
            bytes: std::mem::take(&mut self.piece),
            read: self.at(),
        })
    }

    fn next_protobuf(&mut self) -> Result<Option<Piece>, PieceError> {
        loop {
            match message_length(&self.buffer[self.seen..]) {
                Some(length) if length > self.sizes.element_bytes_max => {
                    return Err(self.too_large());
                }
                Some(length) if self.buffer.len() - self.seen >= length => {
                    self.seen += length;
                    if self.seen < self.sizes.enough_bytes {
                        continue;
                    }
                }
                _ if !self.ended => {
                    self.fill()?;
                    continue;
                }
                None if self.seen == self.buffer.len() => self.state = State::Done,
                _ => return Err(PieceError::Cut(self.at())),
            }
            let bytes: Vec<u8> = self.buffer.drain(..self.seen).collect();
            self.offset += bytes.len() as u64;
            self.seen = 0;
            let read = self.offset;
            return Ok((!bytes.is_empty()).then_some(Piece { bytes, read }));
        }
    }

    /// Reads on.
    fn fill(&mut self) -> Result<(), PieceError> {
        if let State::Json(scan) = &self.state
            && self.buffer.len() > self.sizes.element_bytes_max + CHUNK_BYTES
            && (scan.element.is_some() || scan.name.is_some())
        {
            return Err(self.too_large());
        }
        let before = self.buffer.len();
        let mut chunk = (&mut self.input).take(CHUNK_BYTES as u64);
        self.ended = chunk.read_to_end(&mut self.buffer)? == 0;
        debug_assert!(self.ended || self.buffer.len() > before);
        Ok(())
    }

    /// Lets go of what is no part of an element or a name.
    fn pass_over(&mut self) {
        let State::Json(scan) = &mut self.state else {
            return;
        };
        let name = scan.name.map(|(start, _)| start);
        let keep = scan.element.into_iter().chain(name).min();
        let gone = keep.unwrap_or(self.seen).min(self.seen);
        self.buffer.drain(..gone);
        self.offset += gone as u64;
        self.seen -= gone;
        scan.element = scan.element.map(|start| start - gone);
        scan.name = scan.name.map(|(start, end)| (start - gone, end - gone));
    }

    /// Where in the file it stands.
    fn at(&self) -> u64 {
        self.offset + self.seen as u64
    }

    fn too_large(&self) -> PieceError {
        PieceError::TooLarge {
            bytes_max: self.sizes.element_bytes_max,
            at: self.at(),
        }
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = Result<Piece, PieceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_piece();
        if next.is_err() {
            self.state = State::Done;
            self.piece.clear();
        }
        next.transpose()
    }
}

/// The length of the first field of a batch: its key, its own length, and its bytes. `None` where
/// that is not here yet, or is not such a field.
fn message_length(rest: &[u8]) -> Option<usize> {
    let (&key, rest) = rest.split_first()?;
    let mut length = 0_usize;
    for (n, byte) in rest.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return (key == 0x0a).then_some(2 + n + length);
        }
    }
    None
}
