//! The connecting side's link: made, used until it ends, made again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::asking;
use super::client::Client;
use super::frame::{BODY_MAX, Frame, FrameError, read_frame};
use super::handshake::{self, HandshakeError};
use super::message::{Message, batch_body_len};
use super::outbox::Outbox;
use super::stream::{LinkStream, ReadHalf};
use crate::batch::split;
use crate::hub::BATCH_BYTES_MAX;
use crate::{BusError, Event, Holders, Source, SourceError, SourceRead};

/// Reads of journals that the hub may have asked for at a time; it asks for fewer.
const READS_WAITING_MAX: usize = 4096;
/// Reads of journals that run at a time.
const READS_MAX: usize = 8;
/// Questions that are looked into at a time: they must not keep reads waiting.
const FINDS_MAX: usize = 2;

/// Why there is no link.
pub(crate) enum DialError {
    Refused(String),
    Unreachable(String),
}

/// Connects and shakes hands.
pub(crate) async fn dial(client: &Client) -> Result<LinkStream, DialError> {
    let limit = client.options.handshake_max;
    let unreachable = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
    let connecting = tokio::time::timeout(limit, client.dial.dial());
    let mut stream = connecting
        .await
        .map_err(|_| unreachable(&"no answer in time"))?
        .map_err(|e| unreachable(&e))?;
    let greeting = handshake::greet(&mut stream, &client.key, &client.me, limit);
    greeting.await.map_err(|error| match error {
        HandshakeError::Refused(reason) => DialError::Refused(reason),
        HandshakeError::WrongKey => DialError::Refused(error.to_string()),
        HandshakeError::Frame(fault) if fault.is_fault() => DialError::Refused(fault.to_string()),
        _ => unreachable(&error),
    })?;
    Ok(stream)
}

/// Keeps a link up, for ever.
pub(crate) async fn run(client: Arc<Client>, mut ready: Option<LinkStream>) {
    let mut backoff = Backoff::new(&client);
    loop {
        let dialled = match ready.take() {
            Some(stream) => Ok(stream),
            None => dial(&client).await,
        };
        match dialled {
            Ok(stream) => {
                client.links.fetch_add(1, Ordering::Relaxed);
                backoff.reset();
                let reason = serve(&client, stream).await;
                tracing::info!(hub = client.address, %reason, "bus link down, connecting again");
            }
            Err(error) => {
                client.failures.fetch_add(1, Ordering::Relaxed);
                match error {
                    DialError::Refused(reason) => {
                        tracing::warn!(hub = client.address, reason, "bus hub refused this link");
                    }
                    DialError::Unreachable(reason) => {
                        tracing::debug!(hub = client.address, reason, "bus hub not reached");
                    }
                }
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Uses a link until it ends; says why it did.
async fn serve(client: &Arc<Client>, stream: LinkStream) -> FrameError {
    let (read, write) = stream.into_split();
    let outbox = Arc::new(Outbox::default());
    let guard = Guard {
        client,
        outbox: Arc::clone(&outbox),
    };
    let options = &client.options;
    let sending = outbox.send(write, options.heartbeat, options.stalled_max);
    tokio::pin!(sending);
    open_all(client, &outbox);
    tracing::debug!(hub = client.address, "bus link up");
    let mut link = ClientLink {
        client,
        outbox: &outbox,
        reads: JoinSet::new(),
        room: Arc::new(Semaphore::new(READS_MAX)),
        finding: Arc::new(Semaphore::new(FINDS_MAX)),
    };
    let reason = tokio::select! {
        biased; // the same order each time, for seeded simulation; windows keep it fair
        in_time = &mut sending => if in_time { FrameError::Ended } else { FrameError::Idle },
        () = tell(client, &outbox) => FrameError::Ended,
        Err(error) = link.read(BufReader::with_capacity(64 * 1024, read)) => error,
    };
    drop(guard);
    reason
}

/// Tells the hub, now and then, of records that nobody announced: an announcement that fell
/// between a journal's end being told and the hub's answer, or a publisher that stopped early.
async fn tell(client: &Client, outbox: &Outbox) {
    let mut ticks = tokio::time::interval(client.options.heartbeat);
    loop {
        ticks.tick().await;
        let sources: Vec<(u16, Arc<dyn Source>)> = {
            let state = client.state();
            let joined = state.joins.iter().filter(|(_, join)| join.joined);
            joined
                .map(|(channel, join)| (*channel, Arc::clone(&join.source)))
                .collect()
        };
        for (channel, source) in sources {
            let extents = source.epochs();
            let end = extents.last().map(|last| (last.epoch, last.end));
            if let Some(join) = client.state().joins.get_mut(&channel)
                && let Some((epoch, end)) = end
                && join.told.is_none_or(|told| told.0 != epoch || told.1 < end)
            {
                join.told = Some((epoch, end));
                let _ = outbox.push(Message::Extents(extents).frame(channel));
            }
        }
    }
}

/// Says on a new link what holds over all links.
fn open_all(client: &Client, outbox: &Arc<Outbox>) {
    let sources: Vec<(u16, Arc<dyn Source>)> = {
        let mut guard = client.state();
        let state = &mut *guard;
        state.link = Some(Arc::clone(outbox));
        for (channel, following) in &mut state.subscriptions {
            for message in following.open(client.options.window_bytes) {
                let _ = outbox.push(message.frame(*channel));
            }
        }
        let source =
            |(channel, join): (&u16, &super::publisher::Join)| (*channel, Arc::clone(&join.source));
        state.joins.iter().map(source).collect()
    };
    for (channel, source) in sources {
        let _ = outbox.push(join(&*source).frame(channel));
    }
    client.link_up.notify_waiters();
}

fn join(source: &dyn Source) -> Message {
    Message::Join {
        server: source.server(),
        extents: source.epochs(),
        terms: source.terms(),
        reported: source.reported(),
    }
}

/// Marks the link as down when it ends, however it ends.
struct Guard<'a> {
    client: &'a Client,
    outbox: Arc<Outbox>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.outbox.close();
        let mut guard = self.client.state();
        let state = &mut *guard;
        state.link = None;
        state.asked.clear();
        for join in state.joins.values_mut() {
            join.joined = false;
            join.taken_by = None;
            join.unacknowledged = 0;
            join.told = None;
            join.room.notify_waiters();
            join.source.held(Holders::default());
        }
        for following in state.subscriptions.values_mut() {
            following.lose();
        }
    }
}

struct ClientLink<'a> {
    client: &'a Arc<Client>,
    outbox: &'a Arc<Outbox>,
    reads: JoinSet<()>,
    room: Arc<Semaphore>,
    finding: Arc<Semaphore>,
}

impl ClientLink<'_> {
    async fn read(&mut self, mut from: BufReader<ReadHalf>) -> Result<(), FrameError> {
        loop {
            let frame = read_frame(&mut from, BODY_MAX, self.client.options.idle_max).await?;
            while self.reads.try_join_next().is_some() {}
            self.message(&frame)?;
        }
    }

    /// The journal that joined on a channel.
    fn source(&self, channel: u16) -> Option<Arc<dyn Source>> {
        let state = self.client.state();
        state.joins.get(&channel).map(|j| Arc::clone(&j.source))
    }

    /// Answers a question of the hub beside what else comes, once there is room for one more.
    fn answer<Asked>(
        &mut self,
        channel: u16,
        room: Arc<Semaphore>,
        ask: impl FnOnce(Option<Arc<dyn Source>>) -> Asked + Send + 'static,
    ) -> Result<(), FrameError>
    where
        Asked: Future<Output = Message> + Send,
    {
        if self.reads.len() >= READS_WAITING_MAX {
            return Err(FrameError::Content("too many reads"));
        }
        let source = self.source(channel);
        let outbox = Arc::clone(self.outbox);
        self.reads.spawn(async move {
            let _room = room.acquire_owned().await;
            let answer = ask(source).await.frame(channel);
            let _ = outbox.push_when_room(answer).await;
        });
        Ok(())
    }

    fn message(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let channel = frame.channel;
        match Message::parse(frame)? {
            Message::Alive => {}
            Message::Refused { reason } => {
                tracing::warn!(hub = self.client.address, reason, "bus hub ended this link");
                return Err(FrameError::Ended);
            }
            Message::Joined => self.joined(channel),
            Message::NameTaken { owner } => self.name_taken(channel, owner),
            Message::Denied { reason } => self.denied(channel, reason),
            Message::Taken { bytes } => {
                if let Some(join) = self.client.state().joins.get_mut(&channel) {
                    join.unacknowledged = join.unacknowledged.saturating_sub(bytes);
                    join.room.notify_waiters();
                }
            }
            Message::Read {
                id,
                epoch,
                from,
                bytes_max,
            } => {
                let bytes_max = (bytes_max as usize).min(BATCH_BYTES_MAX);
                let room = Arc::clone(&self.room);
                self.answer(channel, room, move |source| async move {
                    let result = match source {
                        Some(source) => {
                            let read = source.read(epoch, from, bytes_max).await;
                            read.map(fitting).map_err(|error| error.0)
                        }
                        None => Err("the owner left".to_owned()),
                    };
                    Message::ReadDone { id, result }
                })?;
            }
            Message::Find { id, question } => {
                let room = Arc::clone(&self.finding);
                self.answer(channel, room, move |source| async move {
                    let found = match source {
                        Some(source) => source.find(question).await,
                        None => Err(SourceError("the owner left".to_owned())),
                    };
                    let result = asking::fitting(found);
                    Message::Answer { id, result }
                })?;
            }
            Message::ReportTaken { epoch, end } => {
                if let Some(source) = self.source(channel) {
                    source.taken(epoch, end);
                }
            }
            Message::Holders(holders) => {
                let state = self.client.state();
                if let Some(join) = state.joins.get(&channel) {
                    join.source.held(holders);
                }
            }
            Message::Answer { id, result } => {
                if let Some(waiting) = self.client.state().asked.remove(&id) {
                    let _ = waiting.send(result);
                }
            }
            Message::Subscribed { from } => {
                if let Some(following) = self.client.state().subscriptions.get_mut(&channel) {
                    following.settle(from);
                }
            }
            Message::Batch(batch) => self.event(frame, Event::Batch(batch))?,
            Message::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                let gap = Event::Gap {
                    server,
                    epoch,
                    from,
                    to,
                };
                self.event(frame, gap)?;
            }
            Message::Present {
                server,
                epoch,
                terms,
            } => {
                let joined = Event::Joined {
                    server,
                    epoch,
                    terms,
                };
                self.event(frame, joined)?;
            }
            Message::Absent { server } => self.event(frame, Event::Left { server })?,
            _ => return Err(FrameError::Content("not from a hub")),
        }
        Ok(())
    }

    fn event(&self, frame: &Frame, event: Event) -> Result<(), FrameError> {
        let mut state = self.client.state();
        // One that is not there any more was dropped while this was on its way.
        if let Some(following) = state.subscriptions.get_mut(&frame.channel) {
            if following.allowed <= 0 {
                return Err(FrameError::Content("more than was asked for"));
            }
            following.take(event, frame.cost());
        }
        Ok(())
    }

    fn joined(&self, channel: u16) {
        let source = {
            let mut state = self.client.state();
            let Some(join) = state.joins.get_mut(&channel) else {
                return;
            };
            join.joined = true;
            join.taken_by = None;
            if let Some(answer) = join.answer.take() {
                let _ = answer.send(Ok(()));
            }
            Arc::clone(&join.source)
        };
        // What was announced before this instant was dropped; from now on it is sent. So what
        // the journal holds now closes the gap between.
        let extents = source.epochs();
        if let Some(join) = self.client.state().joins.get_mut(&channel) {
            join.told = extents.last().map(|last| (last.epoch, last.end));
        }
        let _ = self.outbox.push(Message::Extents(extents).frame(channel));
        if let Some((epoch, end)) = source.reported() {
            let _ = self
                .outbox
                .push(Message::Report { epoch, end }.frame(channel));
        }
    }

    /// Refused: for good where the owner just joins, else tried again, for the hub may not have
    /// noticed yet that a former owner is gone.
    fn name_taken(&mut self, channel: u16, owner: String) {
        let mut guard = self.client.state();
        let state = &mut *guard;
        let Some(join) = state.joins.get_mut(&channel) else {
            return;
        };
        let server = join.server.clone();
        if let Some(answer) = join.answer.take() {
            state.joins.remove(&channel);
            let _ = answer.send(Err(BusError::NameTaken { server, owner }));
            return;
        }
        tracing::warn!(%server, owner, "server name taken while the bus link was down");
        join.taken_by = Some(owner);
        let source = Arc::clone(&join.source);
        let outbox = Arc::clone(self.outbox);
        let wait = self.client.options.heartbeat;
        self.reads.spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = outbox.push(self::join(&*source).frame(channel));
        });
    }

    fn denied(&self, channel: u16, reason: String) {
        let mut guard = self.client.state();
        let state = &mut *guard;
        tracing::warn!(
            hub = self.client.address,
            reason,
            "bus hub refused a channel"
        );
        if let Some(answer) = state.joins.get_mut(&channel).and_then(|j| j.answer.take()) {
            state.joins.remove(&channel);
            let address = self.client.address.clone();
            let _ = answer.send(Err(BusError::Refused { address, reason }));
        } else if let Some(following) = state.subscriptions.get_mut(&channel) {
            following.denied = Some(reason);
            following.settled.send_replace(true);
        }
    }
}

/// Cuts an answer to what a frame holds.
pub(crate) fn fitting(read: SourceRead) -> SourceRead {
    let SourceRead::Batch(batch) = read else {
        return read;
    };
    let Some(part) = split(batch, BATCH_BYTES_MAX).into_iter().next() else {
        return SourceRead::End;
    };
    if batch_body_len(&part) + 8 > BODY_MAX {
        tracing::warn!(server = %part.server, epoch = %part.epoch, first = part.first, "record too long for a bus link");
        return SourceRead::Gap { to: part.end() };
    }
    SourceRead::Batch(part)
}

/// Waits that double, with jitter, so that a fleet does not come back all at once.
struct Backoff {
    min: Duration,
    max: Duration,
    wait: Duration,
    random: u64,
}

impl Backoff {
    fn new(client: &Client) -> Self {
        let options = &client.options;
        let drawn = || handshake::random().map_or(1, u64::from_le_bytes);
        Self {
            min: options.reconnect_min,
            max: options.reconnect_max,
            wait: options.reconnect_min,
            random: options.seed.unwrap_or_else(drawn),
        }
    }

    fn reset(&mut self) {
        self.wait = self.min;
    }

    /// Between half of the wait and all of it.
    fn next(&mut self) -> Duration {
        // SplitMix64, the reference constants.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let wait = self.wait / 2 + (self.wait / 2).mul_f64(bits as f64 / u64::MAX as f64);
        self.wait = (self.wait * 2).min(self.max);
        wait
    }
}
