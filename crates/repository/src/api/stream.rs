//! Answers of any size in little memory: written piece by piece while the client reads.
//!
//! A small answer is sent whole, with its length. A large one is sent as it is made, at most
//! [`AHEAD`] pieces ahead of the client; a client that stops reading for [`READ_WAIT`] is left. An
//! error that comes after the first piece breaks the connection off: no client takes a part for
//! the whole.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::error::ApiError;

/// A piece's size, and the largest answer that is sent whole, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait for a client.
const AHEAD: usize = 4;
/// How long a client may read nothing.
const READ_WAIT: Duration = Duration::from_secs(60);

type Piece = io::Result<Bytes>;

/// What an answer begins with.
enum Start {
    Whole(Vec<u8>),
    Pieces(mpsc::Receiver<Piece>),
}

/// Answers with JSON that `make` writes, on a thread that may block.
///
/// # Errors
/// What `make` says before it has written much.
pub(super) async fn answer(
    make: impl FnOnce(&mut Writing) -> Result<(), ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (start, started) = oneshot::channel();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut writing = Writing {
            buffer: Vec::new(),
            start: Some(start),
            pieces: None,
            runtime,
        };
        let made = make(&mut writing);
        writing.end(made);
    });
    let start = started.await.map_err(|error| ApiError::internal(&error))?;
    let body = match start? {
        Start::Whole(bytes) => Body::from(bytes),
        Start::Pieces(pieces) => Body::new(Pieces(pieces)),
    };
    Ok(([(header::CONTENT_TYPE, super::JSON)], body).into_response())
}

/// Where an answer is written to.
pub(super) struct Writing {
    buffer: Vec<u8>,
    start: Option<oneshot::Sender<Result<Start, ApiError>>>,
    pieces: Option<mpsc::Sender<Piece>>,
    runtime: Handle,
}

impl Writing {
    /// Writes a value as JSON.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        serde_json::to_writer(self, value).map_err(|error| ApiError::internal(&error))
    }

    fn send(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        if let Some(start) = self.start.take() {
            let (pieces, taken) = mpsc::channel(AHEAD);
            self.pieces = Some(pieces);
            let started = start.send(Ok(Start::Pieces(taken)));
            started.map_err(|_| gone())?;
        }
        let pieces = self.pieces.as_ref().ok_or_else(gone)?;
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        let sending = pieces.send_timeout(Ok(piece), READ_WAIT);
        self.runtime.block_on(sending).map_err(|_| gone())
    }

    fn end(mut self, made: Result<(), ApiError>) {
        match (self.start.take(), made) {
            (Some(start), Ok(())) => _ = start.send(Ok(Start::Whole(self.buffer))),
            (Some(start), Err(error)) => _ = start.send(Err(error)),
            (None, Ok(())) => _ = self.send(),
            (None, Err(_)) => {
                if let Some(pieces) = self.pieces {
                    let broken = Err(io::ErrorKind::Other.into());
                    _ = self
                        .runtime
                        .block_on(pieces.send_timeout(broken, READ_WAIT));
                }
            }
        }
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pieces as a body.
struct Pieces(mpsc::Receiver<Piece>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
