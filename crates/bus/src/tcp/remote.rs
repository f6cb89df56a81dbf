//! A journal at the other end of a link, as the hub reads from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};
use tokio::sync::{Semaphore, oneshot};

use super::asking::Refusal;
use super::message::Message;
use super::outbox::Outbox;
use crate::{Extent, Found, Holders, Source, SourceError, SourceRead, Terms};

/// Reads that a hub has going on one link at a time.
const READS_MAX: usize = 32;

type Answer = Result<SourceRead, SourceError>;

/// Who waits for which question's answer.
type Waiting<T> = HashMap<u32, oneshot::Sender<Result<T, SourceError>>>;

/// The questions on a link that are not yet answered.
#[derive(Debug)]
pub(crate) struct Reads {
    open: Mutex<Open>,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct Open {
    next: u32,
    waiting: Waiting<SourceRead>,
    finding: Waiting<Found>,
    ended: bool,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            room: Semaphore::new(READS_MAX),
        }
    }
}

impl Reads {
    /// An answer came. One that nobody waits for any more is dropped.
    pub(crate) fn done(&self, id: u32, result: Result<SourceRead, String>) {
        if let Some(waiting) = self.open().waiting.remove(&id) {
            let _ = waiting.send(result.map_err(SourceError));
        }
    }

    /// An answer to a question came.
    pub(crate) fn found(&self, id: u32, result: Result<Found, Refusal>) {
        if let Some(waiting) = self.open().finding.remove(&id) {
            let _ = waiting.send(result.map_err(|refusal| match refusal {
                Refusal::Absent => ended(),
                Refusal::Unanswered(reason) => SourceError(reason),
            }));
        }
    }

    /// The link ended.
    pub(crate) fn fail_all(&self) {
        let mut open = self.open();
        open.ended = true;
        open.waiting.clear();
        open.finding.clear();
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct RemoteSource {
    pub(crate) server: ServerName,
    channel: u16,
    outbox: Arc<Outbox>,
    reads: Arc<Reads>,
    read_max: Duration,
    terms: Terms,
    /// As the owner said when it joined; later it says so by itself.
    reported: Option<(Epoch, u64)>,
}

impl RemoteSource {
    pub(crate) fn new(
        server: ServerName,
        channel: u16,
        outbox: Arc<Outbox>,
        reads: Arc<Reads>,
        read_max: Duration,
        (terms, reported): (Terms, Option<(Epoch, u64)>),
    ) -> Self {
        Self {
            server,
            channel,
            outbox,
            reads,
            read_max,
            terms,
            reported,
        }
    }

    /// Asks the owner, once there is room for one more question, and waits among those for whom
    /// `waiting` holds their answers.
    async fn ask<T>(
        &self,
        waiting: impl FnOnce(&mut Open) -> &mut Waiting<T>,
        question: impl FnOnce(u32) -> Message,
    ) -> Result<T, SourceError> {
        let _room = self.reads.room.acquire().await.map_err(|_| ended())?;
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut open = self.reads.open();
            if open.ended {
                return Err(ended());
            }
            open.next = open.next.wrapping_add(1);
            let id = open.next;
            waiting(&mut open).insert(id, sender);
            id
        };
        let _asked = Asked(&self.reads, id);
        self.outbox
            .push(question(id).frame(self.channel))
            .map_err(|_| ended())?;
        match tokio::time::timeout(self.read_max, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(SourceError("the owner did not answer in time".to_owned())),
        }
    }
}

/// Takes a question back when it is no longer waited for.
struct Asked<'a>(&'a Reads, u32);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut open = self.0.open();
        open.waiting.remove(&self.1);
        open.finding.remove(&self.1);
    }
}

fn ended() -> SourceError {
    SourceError("the owner's link ended".to_owned())
}

#[async_trait]
impl Source for RemoteSource {
    fn server(&self) -> ServerName {
        self.server.clone()
    }

    /// The link hands extents to the hub as they come; nobody asks here.
    fn epochs(&self) -> Vec<Extent> {
        Vec::new()
    }

    async fn read(&self, epoch: Epoch, from: u64, bytes_max: usize) -> Answer {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let question = |id| Message::Read {
            id,
            epoch,
            from,
            bytes_max,
        };
        self.ask(|open| &mut open.waiting, question).await
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn reported(&self) -> Option<(Epoch, u64)> {
        self.reported
    }

    fn taken(&self, epoch: Epoch, end: u64) {
        // A link that has ended is noticed by its own tasks.
        let _ = self
            .outbox
            .push(Message::ReportTaken { epoch, end }.frame(self.channel));
    }

    fn held(&self, holders: Holders) {
        let _ = self
            .outbox
            .push(Message::Holders(holders).frame(self.channel));
    }

    async fn find(&self, question: Bytes) -> Result<Found, SourceError> {
        let question = |id| Message::Find { id, question };
        self.ask(|open| &mut open.finding, question).await
    }
}
