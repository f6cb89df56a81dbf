//! Questions to owners, over NATS's request and reply.
//!
//! An answer may be longer than a message: it comes in parts, each sealed, and each names the
//! question by its nonce.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use selvedge_identity::ServerName;

use super::client::Link;
use super::message::answered;
use crate::tcp::frame::BODY_MAX;
use crate::tcp::handshake::random;
use crate::tcp::message::Message;

/// The most parts that an answer may have.
const PARTS_MAX: usize = 4096;

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// Nobody owns that journal now.
    Absent,
    Failed(String),
}

impl Link {
    /// Asks the owner of a journal.
    pub(super) async fn ask(
        &self,
        server: &ServerName,
        question: &Message,
    ) -> Result<Message, AskError> {
        let answer = self.ask_in_any_time(server, question);
        tokio::time::timeout(self.options.answer_max, answer)
            .await
            .unwrap_or_else(|_| Err(AskError::Failed("it did not answer in time".to_owned())))
    }

    async fn ask_in_any_time(
        &self,
        server: &ServerName,
        question: &Message,
    ) -> Result<Message, AskError> {
        let failed = |error: &dyn std::fmt::Display| AskError::Failed(error.to_string());
        let subject = self.subjects.ask(server);
        let nonce = random().map_err(|e| failed(&e))?;
        let payload = self.seal.question(&subject, nonce, question);
        let inbox = self.client.new_inbox();
        let mut parts = Parts::default();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|e| failed(&e))?;
        self.client
            .publish_with_reply(subject, inbox, payload)
            .await
            .map_err(|e| failed(&e))?;
        while let Some(message) = answers.next().await {
            if message.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
                return Err(AskError::Absent);
            }
            match self.seal.open_part(&message.payload) {
                Ok(part) if part.nonce == nonce => {
                    let whole = parts.take(part.index, part.count, part.bytes);
                    if let Some(whole) = whole.map_err(|e| failed(&e))? {
                        return answered(whole).map_err(|e| failed(&e));
                    }
                }
                // What somebody else says into the inbox is no answer.
                Ok(_) => self.counters.refused.add(1),
                Err(error) => {
                    self.counters.refused.add(1);
                    tracing::warn!(%server, %error, "nats brought a wrong answer");
                }
            }
        }
        Err(failed(&"the connection to NATS ended"))
    }

    /// Tells the owner of a journal, who need not answer.
    pub(super) async fn tell(&self, server: &ServerName, told: &Message) {
        let subject = self.subjects.ask(server);
        if let Ok(nonce) = random() {
            let payload = self.seal.question(&subject, nonce, told);
            // It is told again, if it has not heard.
            let _ = self.client.publish(subject, payload).await;
        }
    }
}

/// An answer, as its parts come.
#[derive(Default)]
struct Parts {
    next: u32,
    whole: BytesMut,
}

impl Parts {
    /// All of it, once the last part is there. NATS keeps the order of one sender.
    fn take(
        &mut self,
        index: u32,
        count: u32,
        bytes: Bytes,
    ) -> Result<Option<Bytes>, &'static str> {
        if index != self.next || index >= count || count as usize > PARTS_MAX {
            return Err("part of its answer is missing");
        }
        if self.whole.len() + bytes.len() > BODY_MAX + 1 {
            return Err("its answer is too long");
        }
        self.next += 1;
        if count == 1 {
            return Ok(Some(bytes));
        }
        self.whole.put(bytes);
        let done = self.next == count;
        Ok(done.then(|| std::mem::take(&mut self.whole).freeze()))
    }
}
