//! An owned journal over a link, which it outlives.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_identity::{Epoch, ServerName};
use tokio::sync::{Notify, oneshot};

use super::client::Keeper;
use super::frame::{BODY_MAX, Frame};
use super::message::{BATCH, Message, batch_body, batch_body_len};
use crate::announcing::{parts, until_room};
use crate::hub::BATCH_BYTES_MAX;
use crate::{Batch, BusError, Extent, Publisher, Source};

/// An owned journal.
pub(crate) struct Join {
    pub(crate) server: ServerName,
    pub(crate) source: Arc<dyn Source>,
    /// The first answer, as long as the one who joins waits for it.
    pub(crate) answer: Option<oneshot::Sender<Result<(), BusError>>>,
    /// The hub of this link takes announcements.
    pub(crate) joined: bool,
    /// The owner who has the name now, where it was lost between two links.
    pub(crate) taken_by: Option<String>,
    /// Announced on this link, and not yet taken.
    pub(crate) unacknowledged: u64,
    pub(crate) room: Arc<Notify>,
    /// How far the hub of this link has been told of, if at all: epoch, and the sequence after
    /// the last record.
    pub(crate) told: Option<(Epoch, u64)>,
}

impl Join {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        answer: oneshot::Sender<Result<(), BusError>>,
    ) -> Self {
        Self {
            server: source.server(),
            source,
            answer: Some(answer),
            joined: false,
            taken_by: None,
            unacknowledged: 0,
            room: Arc::default(),
            told: None,
        }
    }
}

/// The owner's side of a journal.
pub(crate) struct TcpPublisher {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) channel: u16,
    pub(crate) server: ServerName,
    pub(crate) room: Arc<Notify>,
}

impl TcpPublisher {
    /// Sends frames if the window has room; false if it has none.
    fn try_send(&self, (epoch, end): (Epoch, u64), frame: &Frame) -> Result<bool, BusError> {
        let client = &self.keeper.client;
        let mut guard = client.state();
        let state = &mut *guard;
        if state.stopped {
            return Err(BusError::Closed);
        }
        let Some(join) = state.joins.get_mut(&self.channel) else {
            return Err(BusError::Closed);
        };
        if let Some(owner) = &join.taken_by {
            return Err(BusError::NameTaken {
                server: self.server.clone(),
                owner: owner.clone(),
            });
        }
        if !join.joined {
            return Ok(true); // the hub reads it from the journal once it is back
        }
        if join.unacknowledged >= client.options.window_bytes as u64 {
            return Ok(false);
        }
        if join.told.is_none_or(|(told, _)| told != epoch) {
            // The end of the epoch before counts as announced too.
            let extents = Message::Extents(join.source.epochs()).frame(self.channel);
            if let Some(link) = &state.link {
                let _ = link.push(extents);
            }
        }
        join.told = Some((epoch, end));
        join.unacknowledged += frame.cost() as u64;
        state.push(frame.clone());
        Ok(true)
    }
}

#[async_trait]
impl Publisher for TcpPublisher {
    async fn announce(&self, batch: Batch) -> Result<(), BusError> {
        for part in parts(batch, &self.server, BATCH_BYTES_MAX)? {
            let frame = if batch_body_len(&part) <= BODY_MAX {
                Frame::new(BATCH, self.channel, batch_body(&part))
            } else {
                // Too long for a link. The hub learns that it is there; reading it gives a gap.
                let source = {
                    let state = self.keeper.client.state();
                    state
                        .joins
                        .get(&self.channel)
                        .map(|j| Arc::clone(&j.source))
                };
                let extents = source.map(|source| source.epochs()).unwrap_or_default();
                Message::Extents(extents).frame(self.channel)
            };
            let end = (part.epoch, part.end());
            until_room(&self.room, || self.try_send(end, &frame)).await?;
        }
        Ok(())
    }

    async fn report(&self, epoch: Epoch, end: u64) -> Result<(), BusError> {
        // What was not announced, because peers wait for the report too.
        let source = {
            let state = self.keeper.client.state();
            let join = state.joins.get(&self.channel);
            Arc::clone(&join.ok_or(BusError::Closed)?.source)
        };
        self.tell_reported(source.epochs(), epoch, end)
    }
}

impl TcpPublisher {
    /// Says on the link, if there is one, how far the journal is reported.
    fn tell_reported(&self, extents: Vec<Extent>, epoch: Epoch, end: u64) -> Result<(), BusError> {
        let mut guard = self.keeper.client.state();
        let state = &mut *guard;
        if state.stopped {
            return Err(BusError::Closed);
        }
        let Some(join) = state.joins.get_mut(&self.channel) else {
            return Err(BusError::Closed);
        };
        if join.joined {
            join.told = extents.last().map(|last| (last.epoch, last.end));
            state.push(Message::Extents(extents).frame(self.channel));
            state.push(Message::Report { epoch, end }.frame(self.channel));
        }
        Ok(())
    }
}

impl Drop for TcpPublisher {
    fn drop(&mut self) {
        let mut state = self.keeper.client.state();
        if state.joins.remove(&self.channel).is_some() {
            state.push(Message::Leave.frame(self.channel));
        }
    }
}
