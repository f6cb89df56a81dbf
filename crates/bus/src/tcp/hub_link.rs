//! The hub's side of one link.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_identity::{Epoch, ServerName};
use tokio::io::BufReader;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::asking::Refusal;
use super::frame::{BODY_MAX, Frame, FrameError, read_frame};
use super::handshake::Peer;
use super::message::{BATCH, Message, batch_body, batch_body_len};
use super::outbox::{LinkEnded, Outbox};
use super::remote::{Reads, RemoteSource};
use super::stream::{LinkStream, ReadHalf};
use crate::batch::split;
use crate::hub::{BATCH_BYTES_MAX, Claim, HubSubscription, Inner, Item, Shared};
use crate::{BusError, Event, Subscribe};

/// Channels that one link may have open.
const CHANNELS_MAX: usize = 1024;
/// Announced bytes that are acknowledged together while more of them come.
const TAKEN_BYTES: u64 = 128 * 1024;
/// Questions of one link that wait for an answer at a time.
const ASKED_MAX: usize = 8;

/// Serves a link until it ends. Then its journals are left and its subscriptions ended.
pub(crate) async fn serve(inner: &Arc<Inner>, stream: LinkStream, peer: &str, who: Peer) {
    let (read, write) = stream.into_split();
    let options = inner.options.link.clone();
    let outbox = Arc::new(Outbox::default());
    let sending = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move {
            outbox
                .send(write, options.heartbeat, options.stalled_max)
                .await
        }
    });
    let mut link = HubLink {
        inner,
        outbox: Arc::clone(&outbox),
        name: format!("{} at {peer}", who.name),
        instance: who.instance,
        reads: Arc::default(),
        owned: HashMap::new(),
        subscriptions: HashMap::new(),
        taken: HashMap::new(),
        asked: JoinSet::new(),
    };
    tracing::debug!(link = link.name, "bus link up");
    let reason = tokio::select! {
        biased;
        () = outbox.closed() => FrameError::Ended,
        Err(error) = link.read(BufReader::with_capacity(64 * 1024, read)) => error,
    };
    if reason.is_fault() {
        inner.counters.frames_refused.add(1);
        let name = &link.name;
        tracing::warn!(link = name, %reason, "bus link ended for a wrong frame");
        let reason = reason.to_string();
        let _ = outbox.push(Message::Refused { reason }.frame(0));
    } else {
        tracing::debug!(link = link.name, %reason, "bus link down");
    }
    if matches!(reason, FrameError::Idle) {
        inner.counters.links_timed_out.add(1);
    }
    drop(link); // closes the outbox
    if let Ok(false) = sending.await {
        inner.counters.links_timed_out.add(1);
    }
}

struct HubLink<'a> {
    inner: &'a Arc<Inner>,
    outbox: Arc<Outbox>,
    /// For people.
    name: String,
    instance: [u8; 16],
    reads: Arc<Reads>,
    owned: HashMap<u16, Owned>,
    subscriptions: HashMap<u16, Delivery>,
    /// Announced bytes taken and not yet acknowledged.
    taken: HashMap<u16, u64>,
    /// Questions that wait for an answer; they end with the link.
    asked: JoinSet<()>,
}

struct Owned {
    claim: Claim,
    source: Arc<RemoteSource>,
}

struct Delivery {
    /// All bytes that the reader ever let come.
    credit: watch::Sender<u64>,
    task: AbortHandle,
    /// Who holds what it delivers.
    holder: Option<(ServerName, u64)>,
}

impl From<LinkEnded> for FrameError {
    fn from(_: LinkEnded) -> Self {
        Self::Ended
    }
}

impl HubLink<'_> {
    async fn read(&mut self, mut from: BufReader<ReadHalf>) -> Result<(), FrameError> {
        let idle = self.inner.options.link.idle_max;
        loop {
            let frame = read_frame(&mut from, BODY_MAX, idle).await?;
            if frame.kind == BATCH {
                self.announced(&frame)?;
            } else {
                self.message(&frame)?;
            }
            if !self.taken.is_empty() {
                let sum: u64 = self.taken.values().sum();
                if sum >= TAKEN_BYTES || from.buffer().is_empty() {
                    for (channel, bytes) in self.taken.drain() {
                        self.outbox.push(Message::Taken { bytes }.frame(channel))?;
                    }
                }
            }
        }
    }

    fn announced(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let Message::Batch(batch) = Message::parse(frame)? else {
            return Err(FrameError::Content("no batch"));
        };
        *self.taken.entry(frame.channel).or_default() += frame.cost() as u64;
        let Some(owned) = self.owned.get(&frame.channel) else {
            return Ok(()); // it left, or was refused, while this was on its way
        };
        if batch.server != owned.source.server {
            return Err(FrameError::Content("batch of a journal not owned"));
        }
        let result = if batch.cost() <= BATCH_BYTES_MAX {
            let shared = Shared::with_body(batch, frame.body.clone(), frame.body_crc);
            self.inner.announce(owned.claim, &shared)
        } else {
            split(batch, BATCH_BYTES_MAX)
                .into_iter()
                .try_for_each(|part| self.inner.announce(owned.claim, &Shared::new(part)))
        };
        match result {
            Err(BusError::Closed) => Err(FrameError::Ended),
            // Another link of the same program took the journal over; this one will end.
            _ => Ok(()),
        }
    }

    fn message(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let channel = frame.channel;
        match Message::parse(frame)? {
            Message::Alive => {}
            Message::Join {
                server,
                extents,
                terms,
                reported,
            } => {
                let answer = match self.owned.get(&channel) {
                    Some(owned) if owned.source.server == server => {
                        self.inner.extents(owned.claim, &extents);
                        Message::Joined
                    }
                    Some(_) => return Err(FrameError::Content("channel in use")),
                    None => self.join(channel, server, &extents, (terms, reported))?,
                };
                self.outbox.push(answer.frame(channel))?;
            }
            Message::Leave => {
                if let Some(owned) = self.owned.remove(&channel) {
                    self.inner.leave(owned.claim);
                }
            }
            Message::Extents(extents) => {
                if let Some(owned) = self.owned.get(&channel) {
                    self.inner.extents(owned.claim, &extents);
                }
            }
            Message::Report { epoch, end } => {
                if let Some(owned) = self.owned.get(&channel) {
                    // Another link of the same program may have taken the journal over.
                    let _ = self.inner.report(owned.claim, epoch, end);
                }
            }
            Message::ReadDone { id, result } => self.reads.done(id, result),
            Message::Answer { id, result } => self.reads.found(id, result),
            Message::Ask {
                id,
                server,
                question,
            } => self.ask(id, server, question)?,
            Message::Subscribe {
                name,
                begin,
                reports,
                skip,
                holds,
                from,
            } => {
                let request = Subscribe {
                    name,
                    from,
                    skip,
                    reports,
                    holds,
                    ..Subscribe::default()
                };
                self.bound()?;
                if self.subscriptions.contains_key(&channel) {
                    return Err(FrameError::Content("channel in use"));
                }
                match self.inner.subscribe(request, begin) {
                    Ok((subscription, from)) => {
                        let answer = Message::Subscribed { from };
                        self.outbox.push(answer.frame(channel))?;
                        self.deliver(channel, subscription);
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        let answer = Message::Denied { reason };
                        self.outbox.push(answer.frame(channel))?;
                    }
                }
            }
            Message::Unsubscribe => {
                if let Some(delivery) = self.subscriptions.remove(&channel) {
                    delivery.task.abort();
                }
            }
            Message::Held(positions) => {
                let delivery = self.subscriptions.get(&channel);
                if let Some((server, id)) = delivery.and_then(|d| d.holder.as_ref()) {
                    self.inner.hold(server, *id, &positions);
                }
            }
            Message::Credit { bytes } => {
                if let Some(delivery) = self.subscriptions.get(&channel) {
                    let more = |credit: &mut u64| *credit = credit.saturating_add(bytes);
                    delivery.credit.send_modify(more);
                }
            }
            _ => return Err(FrameError::Content("not for a hub")),
        }
        Ok(())
    }

    fn join(
        &mut self,
        channel: u16,
        server: ServerName,
        extents: &[crate::Extent],
        handed: (crate::Terms, Option<(Epoch, u64)>),
    ) -> Result<Message, FrameError> {
        self.bound()?;
        let source = Arc::new(RemoteSource::new(
            server.clone(),
            channel,
            Arc::clone(&self.outbox),
            Arc::clone(&self.reads),
            self.inner.options.link.read_max,
            handed,
        ));
        let claim = self.inner.claim(
            &server,
            self.name.clone(),
            Some(self.instance),
            Arc::clone(&source) as Arc<dyn crate::Source>,
        );
        Ok(match claim {
            Ok(claim) => {
                self.inner.extents(claim, extents);
                self.owned.insert(channel, Owned { claim, source });
                Message::Joined
            }
            Err(BusError::NameTaken { owner, .. }) => Message::NameTaken { owner },
            Err(BusError::Closed) => return Err(FrameError::Ended),
            Err(other) => Message::Denied {
                reason: other.to_string(),
            },
        })
    }

    /// Asks an owner, and answers when it has.
    fn ask(
        &mut self,
        id: u32,
        server: ServerName,
        question: bytes::Bytes,
    ) -> Result<(), FrameError> {
        while self.asked.try_join_next().is_some() {}
        if self.asked.len() >= ASKED_MAX {
            let result = Err(Refusal::Unanswered("too many questions at once".to_owned()));
            self.outbox.push(Message::Answer { id, result }.frame(0))?;
            return Ok(());
        }
        let inner = Arc::clone(self.inner);
        let outbox = Arc::clone(&self.outbox);
        self.asked.spawn(async move {
            let result = inner.ask(&server, question).await.map_err(Refusal::of);
            let answer = Message::Answer { id, result }.frame(0);
            let _ = outbox.push_when_room(answer).await;
        });
        Ok(())
    }

    fn bound(&self) -> Result<(), FrameError> {
        if self.owned.len() + self.subscriptions.len() >= CHANNELS_MAX {
            return Err(FrameError::Content("too many channels"));
        }
        Ok(())
    }

    fn deliver(&mut self, channel: u16, mut subscription: HubSubscription) {
        let (credit, mut granted) = watch::channel(0);
        let holder = subscription.holder();
        let outbox = Arc::clone(&self.outbox);
        let task = tokio::spawn(async move {
            let mut used: u64 = 0;
            loop {
                // Fails when the link is gone.
                if granted.wait_for(|granted| *granted > used).await.is_err() {
                    return;
                }
                let Some(item) = subscription.next_item().await else {
                    return;
                };
                let frame = delivery(&item, channel);
                used = used.saturating_add(frame.cost() as u64);
                if outbox.push_when_room(frame).await.is_err() {
                    return;
                }
            }
        });
        let task = task.abort_handle();
        let delivery = Delivery {
            credit,
            task,
            holder,
        };
        self.subscriptions.insert(channel, delivery);
    }
}

impl Drop for HubLink<'_> {
    fn drop(&mut self) {
        for delivery in self.subscriptions.values() {
            delivery.task.abort();
        }
        for owned in self.owned.values() {
            self.inner.leave(owned.claim);
        }
        self.reads.fail_all();
        self.outbox.close();
    }
}

fn delivery(item: &Item, channel: u16) -> Frame {
    let message = match item {
        Item::Shared(shared) if batch_body_len(&shared.batch) <= BODY_MAX => {
            let (body, body_crc) = shared.body.get_or_init(|| {
                let body = batch_body(&shared.batch);
                let crc = crc32c::crc32c(&body);
                (body, crc)
            });
            return Frame {
                kind: BATCH,
                channel,
                body: body.clone(),
                body_crc: *body_crc,
            };
        }
        Item::Shared(shared) => too_long(&shared.batch),
        Item::Event(Event::Batch(batch)) if batch_body_len(batch) <= BODY_MAX => {
            return Frame::new(BATCH, channel, batch_body(batch));
        }
        Item::Event(Event::Batch(batch)) => too_long(batch),
        Item::Event(Event::Gap {
            server,
            epoch,
            from,
            to,
        }) => Message::Gap {
            server: server.clone(),
            epoch: *epoch,
            from: *from,
            to: *to,
        },
        Item::Event(Event::Joined {
            server,
            epoch,
            terms,
        }) => Message::Present {
            server: server.clone(),
            epoch: *epoch,
            terms: *terms,
        },
        Item::Event(Event::Left { server }) => Message::Absent {
            server: server.clone(),
        },
    };
    message.frame(channel)
}

/// A record that no frame holds (batches are cut far below that): said, not silently dropped.
fn too_long(batch: &crate::Batch) -> Message {
    tracing::warn!(server = %batch.server, epoch = %batch.epoch, first = batch.first, "record too long for a bus link");
    Message::Gap {
        server: batch.server.clone(),
        epoch: batch.epoch,
        from: batch.first,
        to: batch.end(),
    }
}
