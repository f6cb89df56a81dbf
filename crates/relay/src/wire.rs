//! The two halves of a connection, each with its buffer and its deadline.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use crate::timer::Timer;

/// Room for a head.
pub(crate) const SMALL: usize = 8 * 1024;
/// Room for a part of a body.
pub(crate) const LARGE: usize = 64 * 1024;

/// What a connection sends us, with what was read ahead.
#[derive(Debug)]
pub(crate) struct Source {
    half: OwnedReadHalf,
    pub(crate) buffer: BytesMut,
    timer: Timer,
    deadline: Option<Instant>,
}

impl Source {
    pub(crate) fn new(half: OwnedReadHalf) -> Self {
        Self {
            half,
            buffer: BytesMut::new(),
            timer: Timer::default(),
            deadline: None,
        }
    }

    pub(crate) fn half(&self) -> &OwnedReadHalf {
        &self.half
    }

    /// The half and what was read ahead.
    pub(crate) fn into_parts(self) -> (OwnedReadHalf, BytesMut) {
        (self.half, self.buffer)
    }

    /// Gives the buffer back: a connection that waits for its next request holds none.
    pub(crate) fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads what is there, at most about `room` bytes, into the buffer; 0 is the end. Fails with
    /// `TimedOut` when nothing came for `limit`, counted from the first poll of a wait.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        limit: Duration,
    ) -> Poll<io::Result<usize>> {
        // Without a buffer there is no hurry to get one: there may be nothing to read for long.
        let ready =
            self.buffer.capacity() > 0 || self.half.as_ref().poll_read_ready(cx)?.is_ready();
        if ready {
            if self.buffer.capacity() - self.buffer.len() < room.min(SMALL / 2) {
                self.buffer.reserve(room);
            }
            let polled = pin!(self.half.read_buf(&mut self.buffer)).poll(cx);
            if polled.is_ready() {
                self.deadline = None;
                return polled;
            }
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        if self.timer.poll(cx, deadline).is_ready() {
            self.deadline = None;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    pub(crate) async fn fill(&mut self, limit: Duration) -> io::Result<usize> {
        self.deadline = None;
        poll_fn(|cx| self.poll_fill(cx, SMALL, limit)).await
    }

    /// Whether an unused connection can be used again: nothing has come, not even its end.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        self.buffer.is_empty()
            && matches!(self.half.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// What we send on a connection.
#[derive(Debug)]
pub(crate) struct Sink {
    half: OwnedWriteHalf,
    timer: Timer,
    limit: Duration,
    /// Whether the peer's host took any byte since this was last reset.
    pub(crate) wrote: bool,
}

impl Sink {
    pub(crate) fn new(half: OwnedWriteHalf, limit: Duration) -> Self {
        Self {
            half,
            timer: Timer::default(),
            limit,
            wrote: false,
        }
    }

    pub(crate) fn into_half(self) -> OwnedWriteHalf {
        self.half
    }

    /// Writes all of it, several pieces in one system call; each step within the time limit.
    pub(crate) async fn write(&mut self, mut data: impl Buf) -> io::Result<()> {
        while data.has_remaining() {
            let mut deadline = None;
            let (timer, limit) = (&mut self.timer, self.limit);
            let half = &mut self.half;
            let written = poll_fn(|cx| {
                // One piece is the usual case, and cheaper without a vector.
                let polled = if data.chunk().len() == data.remaining() {
                    pin!(half.write(data.chunk())).poll(cx).map_ok(|written| {
                        data.advance(written);
                        written
                    })
                } else {
                    pin!(half.write_buf(&mut data)).poll(cx)
                };
                if polled.is_ready() {
                    return polled;
                }
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
                timer
                    .poll(cx, deadline)
                    .map(|()| Err(io::ErrorKind::TimedOut.into()))
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.wrote = true;
        }
        Ok(())
    }

    pub(crate) async fn shutdown(&mut self) {
        // Failing to say goodbye to a peer that has gone is nothing to report.
        let _ = self.half.shutdown().await;
    }
}

/// Closes a connection whose peer may still be sending: an immediate close would answer its bytes
/// with a reset, and the reset can overtake our last answer.
pub(crate) async fn linger(mut source: Source, mut sink: Sink) {
    const BYTES_MAX: usize = 256 * 1024;
    let drain = async {
        sink.shutdown().await;
        let mut drained = 0;
        while drained < BYTES_MAX {
            source.buffer.clear();
            match source.fill(Duration::from_secs(1)).await {
                Ok(0) | Err(_) => break,
                Ok(n) => drained += n,
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), drain).await;
}

/// The far side of a connection that changed its protocol (101): whoever takes it copies bytes
/// both ways.
#[derive(Debug)]
pub struct Tunnel {
    pub(crate) source: Source,
    pub(crate) sink: Sink,
}

impl Tunnel {
    /// Copies both ways until both sides have ended or nothing moved for `idle`. Returns the
    /// bytes (to the far side, from it).
    pub(crate) async fn join(self, near: (Source, Sink), idle: Duration) -> (u64, u64) {
        let Self { source, sink } = self;
        let (near_source, near_sink) = near;
        tokio::join!(copy(near_source, sink, idle), copy(source, near_sink, idle))
    }
}

async fn copy(mut from: Source, mut to: Sink, idle: Duration) -> u64 {
    let mut copied = 0;
    loop {
        if !from.buffer.is_empty() {
            let part = from.buffer.split();
            copied += part.len() as u64;
            if to.write(part).await.is_err() {
                break;
            }
        }
        match from.fill(idle).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    to.shutdown().await;
    copied
}

/// Who is on the other side and on ours.
pub(crate) fn addresses(half: &OwnedReadHalf) -> io::Result<(SocketAddr, SocketAddr)> {
    Ok((half.peer_addr()?, half.local_addr()?))
}
