//! Head and body onto a connection, in as few system calls as possible.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};

use crate::chunked::size_line;
use crate::wire::Sink;
use crate::{Body, BodyError};

/// A first part up to this size is copied behind its head; a larger one goes beside it.
const SMALL: usize = 8 * 1024;

/// Why copying stopped.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The body's sender failed.
    Body(BodyError),
    /// Its receiver failed.
    Write(io::Error),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl Sink {
    /// Writes the head, then the body as it comes. The head waits for nothing, but takes along
    /// what is there.
    pub(crate) async fn copy(
        &mut self,
        mut head: BytesMut,
        body: &mut Body,
        chunked: bool,
    ) -> Result<(), CopyError> {
        let ready = poll_fn(|cx| Poll::Ready(body.poll_chunk(cx))).await;
        let mut next = match ready {
            Poll::Ready(part) => part,
            Poll::Pending => {
                self.write(std::mem::take(&mut head)).await?;
                body.chunk().await
            }
        };
        while let Some(part) = next {
            let part = part.map_err(CopyError::Body)?;
            self.write_part(&mut head, part, chunked).await?;
            next = body.chunk().await;
        }
        if chunked {
            head.extend_from_slice(b"0\r\n\r\n");
        }
        if !head.is_empty() {
            self.write(head).await?;
        }
        Ok(())
    }

    async fn write_part(
        &mut self,
        head: &mut BytesMut,
        part: Bytes,
        chunked: bool,
    ) -> io::Result<()> {
        if chunked {
            let size = size_line(part.len());
            if head.len() + part.len() <= SMALL {
                head.extend_from_slice(&size);
                head.extend_from_slice(&part);
                head.extend_from_slice(b"\r\n");
                return self.write(head.split()).await;
            }
            let end: &[u8] = b"\r\n";
            return self
                .write(head.split().chain(size).chain(part).chain(end))
                .await;
        }
        if !head.is_empty() && head.len() + part.len() <= SMALL {
            head.extend_from_slice(&part);
            return self.write(head.split()).await;
        }
        self.write(head.split().chain(part)).await
    }
}
