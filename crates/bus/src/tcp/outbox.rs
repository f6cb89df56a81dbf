//! What a link has still to send, and the task that sends it.
//!
//! Answers and requests go in at once; the protocol bounds how many there can be, and a hard
//! bound ends the link of a peer that does not keep to it. Records wait for room.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::frame::Frame;
use super::message::Message;

/// Records wait while so many bytes stand in line.
const SOFT_MAX: usize = 256 * 1024;
/// A peer for which so many bytes stand in line does not read, or asks for too much.
const HARD_MAX: usize = 32 * 1024 * 1024;
/// How much is written at once.
const WRITE: usize = 128 * 1024;

/// The link has ended.
#[derive(Debug)]
pub(crate) struct LinkEnded;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Frame>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    /// Puts a frame in line.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), LinkEnded> {
        let mut state = self.state();
        if state.closed {
            return Err(LinkEnded);
        }
        state.push(frame);
        let too_much = state.bytes > HARD_MAX;
        drop(state);
        if too_much {
            self.close();
            return Err(LinkEnded);
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Puts a frame in line once there is room.
    pub(crate) async fn push_when_room(&self, frame: Frame) -> Result<(), LinkEnded> {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let mut state = self.state();
                if state.closed {
                    return Err(LinkEnded);
                }
                if state.bytes < SOFT_MAX {
                    state.push(frame);
                    break;
                }
            }
            drained.await;
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Ends the link: what stands in line is still sent, nothing more is taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
        self.drained.notify_waiters();
        self.ended.notify_waiters();
    }

    /// Resolves once the link is to end.
    pub(crate) async fn closed(&self) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if !self.state().closed {
            ended.await;
        }
    }

    /// Sends what is put in line, and signs of life in between, until the link is closed. Closes
    /// it when the other side takes nothing for `stalled`: then returns false.
    pub(crate) async fn send(
        &self,
        mut to: impl AsyncWrite + Unpin,
        heartbeat: Duration,
        stalled: Duration,
    ) -> bool {
        let mut bytes = Vec::with_capacity(WRITE);
        let in_time = loop {
            bytes.clear();
            match self.take(&mut bytes) {
                Taken::Frames => {}
                Taken::Ended => break true,
                Taken::Nothing => {
                    let filled = tokio::time::timeout(heartbeat, self.filled.notified());
                    if filled.await.is_ok() {
                        continue;
                    }
                    Message::Alive.frame(0).write(&mut bytes);
                }
            }
            match write_all(&mut to, &bytes, stalled).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => break false,
                Err(_) => break true,
            }
            bytes.shrink_to(2 * WRITE);
        };
        self.close();
        let _ = tokio::time::timeout(heartbeat, to.shutdown()).await;
        in_time
    }

    fn take(&self, out: &mut Vec<u8>) -> Taken {
        let mut state = self.state();
        while out.len() < WRITE {
            let Some(frame) = state.queue.pop_front() else {
                break;
            };
            state.bytes -= frame.cost();
            frame.write(out);
        }
        let taken = match (out.is_empty(), state.closed) {
            (false, _) => Taken::Frames,
            (true, true) => Taken::Ended,
            (true, false) => Taken::Nothing,
        };
        let room = state.bytes < SOFT_MAX;
        drop(state);
        if room {
            self.drained.notify_waiters();
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.cost();
        self.queue.push_back(frame);
    }
}

enum Taken {
    Frames,
    Nothing,
    Ended,
}

async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    stalled: Duration,
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let written = tokio::time::timeout(stalled, to.write(bytes)).await??;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}
