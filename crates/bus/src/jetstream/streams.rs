//! The two streams: made where they are missing, written to, and read where something is known of
//! what they hold.

use async_nats::StatusCode;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, LastRawMessageErrorKind, StorageType,
};
use bytes::Bytes;
use futures_util::StreamExt;

use super::client::Link;

/// Messages that one reading of a run takes at most.
const RUN_MAX: usize = 256;

/// A message that JetStream did not take.
pub(super) enum Untaken {
    /// The subject's last message is another than the sender thought.
    Outdated,
    /// NATS is away, or has trouble.
    Away(String),
}

impl Link {
    /// Makes the streams that are not there. Those that are stay as they are.
    pub(super) async fn ensure_streams(&self) -> Result<(), String> {
        let options = &self.options;
        let common = Config {
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: options.replicas,
            allow_direct: true,
            ..Config::default()
        };
        let journals = Config {
            name: self.subjects.journals.clone(),
            description: Some("journals' records, as their owners announce them".to_owned()),
            subjects: vec![self.subjects.all("journal")],
            max_bytes: i64::try_from(options.retain_bytes).unwrap_or(i64::MAX),
            max_age: options.retain_age,
            duplicate_window: DUPLICATES.min(options.retain_age),
            ..common.clone()
        };
        let owners = Config {
            name: self.subjects.owners.clone(),
            description: Some("what holds of each journal and its owner".to_owned()),
            subjects: vec![self.subjects.all("owner")],
            max_messages_per_subject: 1,
            ..common
        };
        for config in [journals, owners] {
            let name = config.name.clone();
            let made = self.context.get_or_create_stream(config).await;
            let stream = made.map_err(|error| {
                format!("stream {name}: {error} (does the NATS server run with JetStream?)")
            })?;
            let replicas = stream.cached_info().config.num_replicas;
            if replicas != options.replicas {
                tracing::debug!(name, replicas, "stream has other replicas than configured");
            }
        }
        Ok(())
    }

    /// Has a message stored, if the last one on its subject is `expected` (0: there is none).
    pub(super) async fn store(
        &self,
        subject: &str,
        payload: Bytes,
        id: Option<String>,
        expected: u64,
    ) -> Result<u64, Untaken> {
        let mut message = PublishMessage::build()
            .payload(payload)
            .expected_last_subject_sequence(expected);
        if let Some(id) = id {
            message = message.message_id(id);
        }
        let taken = match self.context.send_publish(subject.to_owned(), message).await {
            Ok(acknowledged) => acknowledged.await,
            Err(error) => Err(error),
        };
        match taken {
            // What is stored under that id may be less than this.
            Ok(taken) if taken.duplicate => Err(Untaken::Outdated),
            Ok(taken) => Ok(taken.sequence),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Err(Untaken::Outdated)
            }
            Err(error) => Err(Untaken::Away(error.to_string())),
        }
    }

    /// The last message on a subject, as the stream's leader has it.
    pub(super) async fn last_of(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(u64, Bytes)>, String> {
        let stream = self.context.get_stream_no_info(stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some((message.sequence, message.payload))),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                other => Err(other.to_string()),
            },
        }
    }

    /// The first message on a journal's subject that is not before `sequence`, as any server of
    /// the stream has it.
    pub(super) async fn next_of(
        &self,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<(u64, Bytes)>, String> {
        let stream = self
            .context
            .get_stream_no_info(&self.subjects.journals)
            .await;
        let stream = stream.map_err(|error| error.to_string())?;
        match stream
            .direct_get_next_for_subject(subject, Some(sequence.max(1)))
            .await
        {
            Ok(message) => Ok(Some((message.sequence, message.payload))),
            Err(error) => match error.kind() {
                DirectGetErrorKind::NotFound => Ok(None),
                other => Err(other.to_string()),
            },
        }
    }

    /// The first and the last sequence of the journals' stream.
    pub(super) async fn bounds(&self) -> Result<(u64, u64), String> {
        let stream = self.context.get_stream(&self.subjects.journals).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let state = &stream.cached_info().state;
        Ok((state.first_sequence, state.last_sequence))
    }

    /// Messages on a journal's subject from `sequence` on, about `bytes_max` bytes of them.
    pub(super) async fn run_of(
        &self,
        subject: &str,
        sequence: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await;
        let answers = answers.as_mut().map_err(|e| failed(e))?;
        let question = format!(
            r#"{{"seq":{sequence},"next_by_subj":"{subject}","batch":{RUN_MAX},"max_bytes":{bytes_max}}}"#
        );
        let get = format!("$JS.API.DIRECT.GET.{}", self.subjects.journals);
        self.client
            .publish_with_reply(get, inbox, question.into())
            .await
            .map_err(|e| failed(&e))?;
        let mut run: Vec<(u64, Bytes)> = Vec::new();
        let reading = async {
            while let Some(message) = answers.next().await {
                match message.status {
                    None | Some(StatusCode::OK) => {}
                    Some(status) if status.as_u16() == 204 => break, // that was the last
                    Some(StatusCode::NOT_FOUND) => break,
                    Some(status) => return Err(format!("JetStream says {status}")),
                }
                let sequence = message.headers.as_ref().and_then(|headers| {
                    let sequence = headers.get(async_nats::header::NATS_SEQUENCE)?;
                    sequence.as_str().parse().ok()
                });
                let Some(sequence) = sequence else {
                    return Err("JetStream gave a message without its sequence".to_owned());
                };
                run.push((sequence, message.payload));
            }
            Ok(())
        };
        tokio::time::timeout(self.options.answer_max, reading)
            .await
            .map_err(|_| "JetStream did not answer in time".to_owned())??;
        Ok(run)
    }
}

/// For so long JetStream takes no second message of one id.
const DUPLICATES: std::time::Duration = std::time::Duration::from_secs(120);
