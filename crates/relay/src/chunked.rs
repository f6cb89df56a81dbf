//! The chunked coding, read strictly and written anew.
//!
//! Sizes are hexadecimal digits and nothing else, lines end in CR LF, extensions are skipped up
//! to a bound (each costs the reader without giving the body anything), trailers are checked and
//! dropped.

use bytes::{Bytes, BytesMut};

use crate::BodyError;
use crate::fields::is_text;
use crate::parse::is_field_line;

/// The longest size line with its extensions.
const LINE_MAX: usize = 512;
/// Extensions of a whole body.
const EXTENSIONS_MAX: usize = 16 * 1024;
/// Trailers of a whole body.
const TRAILERS_MAX: usize = 16 * 1024;

/// What a decoder made of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A part of the body.
    Data(Bytes),
    /// More bytes are needed.
    More,
    /// The body has ended; what is left in the buffer is the next message's.
    End,
}

/// Decodes the chunked coding as bytes arrive.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    extensions: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

impl ChunkDecoder {
    /// Takes from the front of `buffer` what can be decoded.
    ///
    /// # Errors
    /// Where the bytes are not a chunked body; the decoder must not be used further.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, BodyError> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = take_line(buffer)? else {
                        return Ok(Decoded::More);
                    };
                    let size = self.read_size(&line)?;
                    self.state = if size == 0 {
                        State::Trailers
                    } else {
                        State::Data(size)
                    };
                }
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Decoded::More);
                    }
                    let take = usize::try_from(left).map_or(buffer.len(), |n| n.min(buffer.len()));
                    let left = left - take as u64;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Decoded::Data(buffer.split_to(take).freeze()));
                }
                State::DataEnd => {
                    let end = &buffer[..buffer.len().min(2)];
                    if !b"\r\n".starts_with(end) {
                        return Err(BodyError::Malformed("chunk longer than its size"));
                    }
                    if end.len() < 2 {
                        return Ok(Decoded::More);
                    }
                    let _ = buffer.split_to(2);
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(line) = take_line(buffer)? else {
                        return Ok(Decoded::More);
                    };
                    if line.is_empty() {
                        self.state = State::Done;
                        return Ok(Decoded::End);
                    }
                    self.trailers += line.len();
                    if self.trailers > TRAILERS_MAX {
                        return Err(BodyError::Malformed("trailers too large"));
                    }
                    if !is_field_line(&line) {
                        return Err(BodyError::Malformed("bad trailer"));
                    }
                }
                State::Done => return Ok(Decoded::End),
            }
        }
    }

    fn read_size(&mut self, line: &[u8]) -> Result<u64, BodyError> {
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        // 15 digits are an exabyte: no overflow, and no zeros to hide behind.
        if !(1..=15).contains(&digits) {
            return Err(BodyError::Malformed("bad chunk size"));
        }
        if !extension.is_empty() {
            self.extensions += extension.len();
            if extension[0] != b';' || !extension.iter().copied().all(is_text) {
                return Err(BodyError::Malformed("bad chunk size"));
            }
            if self.extensions > EXTENSIONS_MAX {
                return Err(BodyError::Malformed("chunk extensions too large"));
            }
        }
        let digit = |b: u8| (b as char).to_digit(16).map_or(0, u64::from);
        Ok(size.iter().fold(0, |sum, &b| sum << 4 | digit(b)))
    }
}

/// Takes a line and its CR LF from the front; the line is returned without them.
fn take_line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, BodyError> {
    let window = &buffer[..buffer.len().min(LINE_MAX)];
    match memchr::memchr(b'\n', window) {
        Some(0) => Err(BodyError::Malformed("line ends without CR")),
        Some(at) if buffer[at - 1] != b'\r' => Err(BodyError::Malformed("line ends without CR")),
        Some(at) => {
            let mut line = buffer.split_to(at + 1);
            line.truncate(at - 1);
            if line.contains(&b'\r') {
                return Err(BodyError::Malformed("CR within a line"));
            }
            Ok(Some(line))
        }
        None if window.len() == LINE_MAX => Err(BodyError::Malformed("chunk line too long")),
        None => Ok(None),
    }
}

/// The line before a chunk of so many bytes; after it comes CR LF.
pub(crate) fn size_line(size: usize) -> BytesMut {
    use std::fmt::Write;
    let mut line = BytesMut::with_capacity(20);
    // Writing to a growing buffer cannot fail.
    let _ = write!(line, "{size:x}\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(parts: &[&[u8]]) -> Result<(Vec<u8>, usize), BodyError> {
        let mut decoder = ChunkDecoder::default();
        let mut buffer = BytesMut::new();
        let mut body = Vec::new();
        for part in parts {
            buffer.extend_from_slice(part);
            loop {
                match decoder.decode(&mut buffer)? {
                    Decoded::Data(data) => body.extend_from_slice(&data),
                    Decoded::More => break,
                    Decoded::End => return Ok((body, buffer.len())),
                }
            }
        }
        Err(BodyError::Closed)
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let whole = b"4;a=b\r\nwiki\r\n00A\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nGET ";
        for cut in 0..whole.len() {
            let (body, left) = decode(&[&whole[..cut], &whole[cut..]]).expect("valid");
            assert_eq!(body, b"wiki0123456789");
            assert!(left <= 4);
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(decode(&bytes).expect("valid").0, b"wiki0123456789");
    }

    #[test]
    fn everything_with_two_readings_is_refused() {
        let bad: &[&[u8]] = &[
            b"\r\n",
            b"g\r\n",
            b" 4\r\nwiki\r\n",
            b"4 \r\nwiki\r\n",
            b"+4\r\nwiki\r\n",
            b"0x4\r\nwiki\r\n",
            b"4\nwiki\r\n",
            b"4\r\nwikix\r\n",
            b"4\r\nwiki\n",
            b"4;a\rb\r\nwiki\r\n",
            b"4;a\0b\r\nwiki\r\n",
            b"1000000000000000\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n folded: x\r\n\r\n",
            b"0\r\na: b\n\r\n",
        ];
        for bytes in bad {
            let got = decode(&[bytes]);
            assert!(
                matches!(got, Err(BodyError::Malformed(_))),
                "{:?} gave {got:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn endless_extensions_and_trailers_are_refused() {
        let mut extensions = Vec::new();
        for _ in 0..200 {
            extensions.extend_from_slice(b"1;");
            extensions.extend_from_slice(&[b'x'; 400]);
            extensions.extend_from_slice(b"\r\na\r\n");
        }
        assert!(decode(&[&extensions]).is_err());
        assert!(decode(&[b"1;", &[b'x'; 600]]).is_err());
        let mut trailers = b"0\r\n".to_vec();
        for _ in 0..4000 {
            trailers.extend_from_slice(b"abc: def\r\n");
        }
        assert!(matches!(decode(&[&trailers]), Err(BodyError::Malformed(_))));
    }
}
