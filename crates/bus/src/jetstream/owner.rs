//! What an owner does besides publishing: it says that it is there, and answers questions.

use std::sync::Arc;

use async_nats::{Message as NatsMessage, Subscriber};
use futures_util::StreamExt;
use selvedge_identity::ServerName;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::client::Link;
use crate::hub::BATCH_BYTES_MAX;
use crate::tcp::asking::fitting as fitting_answer;
use crate::tcp::client_link::fitting as fitting_read;
use crate::tcp::message::Message;
use crate::{Source, SourceError};

/// Questions that may wait for an answer at a time; those who ask more are not answered in time.
const WAITING_MAX: usize = 4096;
/// Reads of the journal that run at a time.
const READS_MAX: usize = 8;
/// Questions that are looked into at a time: they must not keep reads waiting.
const FINDS_MAX: usize = 2;
/// What a part of an answer needs besides its bytes.
const PART_OVERHEAD: usize = 256;

/// Says that the owner is there and answers `questions`, until it is dropped.
pub(super) async fn serve(
    link: Arc<Link>,
    server: ServerName,
    source: Arc<dyn Source>,
    mut questions: Subscriber,
) {
    let (alive, asked) = (link.subjects.alive(&server), link.subjects.ask(&server));
    let mut beats = tokio::time::interval(link.options.heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0;
    let mut answering = JoinSet::new();
    let answers = Arc::new(Answers {
        source,
        reads: Semaphore::new(READS_MAX),
        finds: Semaphore::new(FINDS_MAX),
        link: Arc::clone(&link),
    });
    loop {
        let question = tokio::select! {
            _ = beats.tick() => {
                count += 1;
                let beat = link.seal.alive(&alive, link.instance, count);
                // A connection that is down is made again, and the next beat follows.
                let _ = link.client.publish(alive.clone(), beat).await;
                continue;
            }
            question = questions.next() => question,
        };
        let Some(question) = question else {
            return;
        };
        while answering.try_join_next().is_some() {}
        match link.seal.open_question(&asked, &question.payload) {
            Ok((nonce, message)) if answering.len() < WAITING_MAX => {
                let answers = Arc::clone(&answers);
                answering.spawn(async move { answers.answer(&question, nonce, message).await });
            }
            Ok(_) => {}
            Err(error) => {
                link.counters.refused.add(1);
                tracing::warn!(%server, %error, "nats brought a wrong question");
            }
        }
    }
}

struct Answers {
    source: Arc<dyn Source>,
    reads: Semaphore,
    finds: Semaphore,
    link: Arc<Link>,
}

impl Answers {
    async fn answer(&self, question: &NatsMessage, nonce: [u8; 16], message: Message) {
        let answer = match message {
            // Another would have the name.
            Message::Alive => Message::NameTaken {
                owner: self.link.name.clone(),
            },
            Message::Read {
                id,
                epoch,
                from,
                bytes_max,
            } => {
                let _room = self.reads.acquire().await;
                let bytes_max = (bytes_max as usize).min(BATCH_BYTES_MAX);
                let read = self.source.read(epoch, from, bytes_max).await;
                let result = read.map(fitting_read).map_err(|error| error.0);
                Message::ReadDone { id, result }
            }
            Message::Find { id, question } => {
                let _room = self.finds.acquire().await;
                let found = self.source.find(question).await;
                let result = fitting_answer(found);
                Message::Answer { id, result }
            }
            Message::ReportTaken { epoch, end } => {
                self.source.taken(epoch, end);
                return;
            }
            _ => {
                let error = SourceError("not a question to an owner".to_owned());
                let result = fitting_answer(Err(error));
                Message::Answer { id: 0, result }
            }
        };
        let Some(reply) = question.reply.clone() else {
            return;
        };
        let part_max = self.link.payload_max() - PART_OVERHEAD;
        for part in self.link.seal.answer(nonce, &answer, part_max) {
            if self.link.client.publish(reply.clone(), part).await.is_err() {
                return; // who asked asks again
            }
        }
    }
}
