//! Where a journal's records are read that fell out of a process's picture: from what JetStream
//! keeps, and past that from the owner's journal.
//!
//! A subject's messages stand in the journal's order, so the one that holds a position is found by
//! halving the stream. What was read last is remembered, so that reading on needs no search.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use selvedge_identity::{Epoch, ServerName};

use super::asking::AskError;
use super::client::{Link, WeakLink, lock};
use super::message::{Told, What};
use crate::tcp::message::Message;
use crate::{Batch, Extent, Found, Source, SourceError, SourceRead, Terms};

/// Places where reading may go on that are remembered.
const PLACES_MAX: usize = 16;

pub(super) struct Kept {
    server: ServerName,
    /// The link keeps the picture, and the picture this.
    link: WeakLink,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    terms: Terms,
    reported: Option<(Epoch, u64)>,
    /// Positions, and where in the stream the message with them is to be looked for.
    places: Vec<((Epoch, u64), u64)>,
}

/// What JetStream has at a position.
enum Looked {
    Batch(Batch),
    /// Nothing; but from this sequence of the same epoch on it has something.
    From(Option<u64>),
}

impl Kept {
    pub(super) fn new(server: ServerName, link: WeakLink) -> Self {
        Self {
            server,
            link,
            state: Mutex::default(),
        }
    }

    /// What the owner stated.
    pub(super) fn state(&self, terms: Terms, reported: Option<(Epoch, u64)>) {
        let mut state = lock(&self.state);
        (state.terms, state.reported) = (terms, reported);
    }

    fn link(&self) -> Result<Arc<Link>, SourceError> {
        let gone = || SourceError("the bus is stopped".to_owned());
        self.link.upgrade().ok_or_else(gone)
    }

    async fn look(
        &self,
        link: &Link,
        epoch: Epoch,
        from: u64,
        bytes_max: usize,
    ) -> Result<Looked, String> {
        let subject = link.subjects.journal(&self.server);
        let place = {
            let state = lock(&self.state);
            let place = state.places.iter().find(|(at, _)| *at == (epoch, from));
            place.map(|(_, sequence)| *sequence)
        };
        let sequence = match place {
            Some(sequence) => sequence,
            None => match search(link, &subject, (epoch, from)).await? {
                Ok(sequence) => sequence,
                Err(next) => return Ok(Looked::From(next)),
            },
        };
        let mut batch: Option<Batch> = None;
        for (sequence, payload) in link.run_of(&subject, sequence, bytes_max).await? {
            let Some(told) = open(link, &subject, &payload) else {
                break;
            };
            let at = batch.as_ref().map_or((epoch, from), |b| (b.epoch, b.end()));
            let What::Batch(next) = told.what else {
                match batch.is_some() || told.end() != Some(at) {
                    true => break,
                    false => continue, // a claim
                }
            };
            if next.epoch != epoch || next.first > at.1 || next.server != self.server {
                break;
            }
            let Some(next) = next.slice(at.1, u64::MAX) else {
                continue;
            };
            match &mut batch {
                Some(batch) => batch.records.extend(next.records),
                None => batch = Some(next),
            }
            if let Some(batch) = &batch {
                self.remember((epoch, batch.end()), sequence + 1);
            }
        }
        Ok(match batch {
            Some(batch) => Looked::Batch(batch),
            None => Looked::From(None),
        })
    }

    fn remember(&self, at: (Epoch, u64), sequence: u64) {
        let mut state = lock(&self.state);
        state
            .places
            .retain(|(known, known_at)| *known != at && *known_at != sequence);
        if state.places.len() >= PLACES_MAX {
            state.places.remove(0);
        }
        state.places.push((at, sequence));
    }
}

/// The sequence of the message on a subject that holds a position; else the next sequence of the
/// same epoch that one holds.
async fn search(
    link: &Link,
    subject: &str,
    (epoch, from): (Epoch, u64),
) -> Result<Result<u64, Option<u64>>, String> {
    let (mut low, mut high) = link.bounds().await?;
    high += 1;
    let is_before = |end: (Epoch, u64)| match end.0 == epoch {
        true => end.1 <= from,
        false => end.0.counter < epoch.counter,
    };
    let mut found: Option<(u64, Told)> = None;
    // Most that is asked for is either older than all of it, or found by halving.
    let mut middle = low;
    while low < high {
        match link.next_of(subject, middle).await? {
            None => high = middle,
            Some((sequence, payload)) => {
                let told = open(link, subject, &payload);
                let Some((told, end)) = told.and_then(|told| Some((told.end()?, told))).map(swap)
                else {
                    low = sequence + 1; // says nothing of positions
                    middle = low;
                    continue;
                };
                if is_before(end) {
                    low = sequence + 1;
                } else {
                    found = Some((sequence, told));
                    high = middle;
                }
            }
        }
        middle = low + high.saturating_sub(low) / 2;
    }
    let Some((sequence, told)) = found else {
        return Ok(Err(None));
    };
    Ok(match (told.first(), told.what) {
        (Some((first_epoch, first)), What::Batch(_)) if first_epoch == epoch && first <= from => {
            Ok(sequence)
        }
        (Some((first_epoch, first)), What::Batch(_)) if first_epoch == epoch => Err(Some(first)),
        _ => Err(None),
    })
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

fn open(link: &Link, subject: &str, payload: &Bytes) -> Option<Told> {
    match link.seal.open_told(subject, payload) {
        Ok(told) => Some(told),
        Err(error) => {
            link.counters.refused.add(1);
            tracing::warn!(subject, %error, "nats holds a wrong message");
            None
        }
    }
}

#[async_trait]
impl Source for Kept {
    fn server(&self) -> ServerName {
        self.server.clone()
    }

    /// The owner states them, and the picture has them; nobody asks here.
    fn epochs(&self) -> Vec<Extent> {
        Vec::new()
    }

    async fn read(
        &self,
        epoch: Epoch,
        from: u64,
        bytes_max: usize,
    ) -> Result<SourceRead, SourceError> {
        let link = self.link()?;
        let looked = self.look(&link, epoch, from, bytes_max).await;
        let next = match looked {
            Ok(Looked::Batch(batch)) => {
                link.counters.stream_reads.add(1);
                return Ok(SourceRead::Batch(batch));
            }
            Ok(Looked::From(next)) => next,
            Err(reason) => return Err(SourceError(reason)),
        };
        let question = Message::Read {
            id: 0,
            epoch,
            from,
            bytes_max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
        };
        let read = match link.ask(&self.server, &question).await {
            Ok(Message::ReadDone { result, .. }) => result.map_err(SourceError)?,
            Ok(_) => return Err(SourceError("it answered something else".to_owned())),
            Err(AskError::Absent) => {
                let away = "JetStream does not have it, and its owner is away";
                return Err(SourceError(away.to_owned()));
            }
            Err(AskError::Failed(reason)) => return Err(SourceError(reason)),
        };
        link.counters.owner_reads.add(1);
        Ok(match (read, next) {
            // What the owner no longer has JetStream may still have.
            (SourceRead::Gap { to }, Some(next)) => SourceRead::Gap { to: to.min(next) },
            (SourceRead::End, Some(next)) => SourceRead::Gap { to: next },
            (read, _) => read,
        })
    }

    fn terms(&self) -> Terms {
        lock(&self.state).terms
    }

    fn reported(&self) -> Option<(Epoch, u64)> {
        lock(&self.state).reported
    }

    fn taken(&self, epoch: Epoch, end: u64) {
        if let Ok(link) = self.link() {
            let server = self.server.clone();
            tokio::spawn(async move {
                link.tell(&server, &Message::ReportTaken { epoch, end })
                    .await;
            });
        }
    }

    async fn find(&self, _question: Bytes) -> Result<Found, SourceError> {
        Err(SourceError("questions go to the owner".to_owned()))
    }
}
