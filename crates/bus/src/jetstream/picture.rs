//! The task that pictures the streams in this process's hub.
//!
//! Two consumers without acknowledgements, one of each stream, from the last message on each
//! subject on; whatever of a journal is before that, a subscriber reads by itself. When anything is
//! missed (a connection, a server, a heartbeat of the stream, a number in the order of delivery)
//! the consumers are made anew behind the last message that was seen. Flow control bounds what is
//! under way to a process that does not keep up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use futures_util::StreamExt;
use selvedge_identity::{Epoch, ServerName};
use tokio::time::{Instant, MissedTickBehavior};

use super::client::Link;
use super::kept::Kept;
use super::message::{Instance, State, Told, What};
use super::subjects::Subjects;
use crate::hub::Shared;
use crate::{BusError, Source};

/// Wait before consumers that failed are made anew.
const RETRY: Duration = Duration::from_millis(100);
/// JetStream takes no shorter heartbeats of consumers.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
/// Epochs of a journal whose owner has stated nothing yet.
const UNSTATED_MAX: usize = 64;

/// Pictures the streams, for ever.
pub(super) async fn run(link: Arc<Link>) {
    let mut picture = Picture {
        journals: HashMap::new(),
        last_state: 0,
        last_told: 0,
        link,
    };
    loop {
        picture.link.connected().await;
        let reason = match picture.follow().await {
            Ok(()) => "the connection ended".to_owned(),
            Err(reason) => reason,
        };
        if !*picture.link.watch_connected().borrow() {
            picture.lose_all();
        }
        picture.link.counters.restarts.add(1);
        tracing::debug!(nats = picture.link.address, reason, "reads streams anew");
        tokio::time::sleep(RETRY).await;
    }
}

struct Picture {
    link: Arc<Link>,
    journals: HashMap<ServerName, Pictured>,
    /// The last messages seen of either stream.
    last_state: u64,
    last_told: u64,
}

/// A journal, beside what the hub has of it.
struct Pictured {
    /// Its place in the hub.
    index: usize,
    kept: Arc<Kept>,
    /// The owner as it stated itself: who, its name, and whether it is there.
    owner: Option<(Instance, String, bool)>,
    /// The last sign of life: whose, which, when.
    heard: Option<(Instance, u64, Instant)>,
    /// The hub knows the owner to be there.
    present: bool,
    /// How far epochs go that were heard of before the owner stated anything.
    unstated: Vec<(Epoch, u64)>,
}

impl Picture {
    /// Follows both streams and the owners' signs of life until something is missed.
    async fn follow(&mut self) -> Result<(), String> {
        let link = Arc::clone(&self.link);
        link.ensure_streams().await?;
        let subjects = &link.subjects;
        let beats = link.client.subscribe(subjects.all("alive")).await;
        let mut beats = beats.map_err(|error| error.to_string())?;
        // What is stated comes first: a journal's epochs, before a subscriber goes into the last.
        let (states, pending) = self
            .consume(&subjects.owners, "owner", self.last_state)
            .await?;
        let mut states = Numbered::new(states, pending);
        while states.pending > 0 {
            let message = states.next().await?;
            self.took_state(&message)?;
        }
        let (tolds, pending) = self
            .consume(&subjects.journals, "journal", self.last_told)
            .await?;
        let mut tolds = Numbered::new(tolds, pending);
        let mut ticks = tokio::time::interval(link.options.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connected = link.watch_connected();
        loop {
            if tolds.pending == 0 && !*link.settled.borrow() {
                link.settled.send_replace(true);
            }
            tokio::select! {
                Ok(_) = connected.wait_for(|connected| !*connected) => return Ok(()),
                message = states.next() => self.took_state(&message?)?,
                message = tolds.next() => self.took_told(&message?)?,
                Some(beat) = beats.next() => self.took_beat(&beat),
                _ = ticks.tick() => self.miss_silent(),
            }
        }
    }

    /// Consumes a stream behind the last message that was seen of it, or from the last message on
    /// each subject. Returns how many messages are there already, too.
    async fn consume(
        &mut self,
        stream: &str,
        kind: &str,
        last: u64,
    ) -> Result<(push::Messages, u64), String> {
        let link = &self.link;
        let stream = link.context.get_stream(stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        // A stream that ends before what was seen of it is another one.
        let goes_on = last > 0 && stream.cached_info().state.last_sequence >= last;
        let deliver_policy = match goes_on {
            true => DeliverPolicy::ByStartSequence {
                start_sequence: last + 1,
            },
            false => DeliverPolicy::LastPerSubject,
        };
        let config = push::Config {
            deliver_subject: link.client.new_inbox(),
            description: Some(format!("the picture of {}", link.name)),
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: link.subjects.all(kind),
            flow_control: true,
            idle_heartbeat: link.options.heartbeat.max(HEARTBEAT_MIN),
            num_replicas: 1,
            memory_storage: true,
            inactive_threshold: 2 * link.options.answer_max,
            ..push::Config::default()
        };
        let consumer = stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| error.to_string())?;
        let pending =
            consumer.cached_info().num_pending + consumer.cached_info().delivered.consumer_sequence;
        let messages = consumer.messages().await;
        Ok((messages.map_err(|error| error.to_string())?, pending))
    }

    fn took_state(&mut self, message: &Message) -> Result<(), String> {
        self.last_state = sequence(message)?;
        let opened = self
            .link
            .seal
            .open_state(&message.subject, &message.payload);
        let (server, state) = match opened {
            Ok((server, state)) if Subjects::server(&message.subject).as_ref() == Some(&server) => {
                (server, state)
            }
            Ok(_) => return self.refuse(message, "of another server than its subject"),
            Err(error) => return self.refuse(message, &error.to_string()),
        };
        let State {
            instance,
            name,
            present,
            extents,
            terms,
            reported,
        } = state;
        let hub = Arc::clone(self.link.hub.inner());
        let Some(journal) = self.journal(&server) else {
            return Ok(());
        };
        journal.kept.state(terms, reported);
        let unstated = std::mem::take(&mut journal.unstated);
        hub.change(journal.index, |known, now| {
            known.merge(&extents, now);
            for (epoch, end) in unstated {
                known.extend(epoch, end, now);
            }
            known.terms = terms;
            if let Some((epoch, end)) = reported {
                known.report(epoch, end);
            }
        });
        let same = journal
            .owner
            .as_ref()
            .is_some_and(|owner| owner.0 == instance);
        journal.owner = Some((instance, name, present));
        if journal.present && !(same && present) {
            journal.present = false;
            hub.set_present(journal.index, None);
        }
        self.meet(&server);
        Ok(())
    }

    fn took_beat(&mut self, beat: &async_nats::Message) {
        let opened = self.link.seal.open_alive(&beat.subject, &beat.payload);
        let (Ok((instance, count)), Some(server)) = (opened, Subjects::server(&beat.subject))
        else {
            self.link.counters.refused.add(1);
            return;
        };
        let Some(journal) = self.journal(&server) else {
            return;
        };
        // One that was heard already is somebody's echo.
        let again = |(heard, last, _)| heard == instance && count <= last;
        if journal.heard.is_some_and(again) {
            return;
        }
        journal.heard = Some((instance, count, Instant::now()));
        self.meet(&server);
    }

    /// Tells the hub of an owner that stated itself and was heard.
    fn meet(&mut self, server: &ServerName) {
        let idle_max = self.link.options.idle_max;
        let hub = Arc::clone(self.link.hub.inner());
        let Some(journal) = self.journals.get_mut(server) else {
            return;
        };
        let (Some((owner, name, true)), Some((heard, _, at))) = (&journal.owner, journal.heard)
        else {
            return;
        };
        if !journal.present && *owner == heard && at.elapsed() < idle_max {
            journal.present = true;
            hub.set_present(journal.index, Some(name));
        }
    }

    fn took_told(&mut self, message: &Message) -> Result<(), String> {
        self.last_told = sequence(message)?;
        let told = match self.link.seal.open_told(&message.subject, &message.payload) {
            Ok(told) => told,
            Err(error) => return self.refuse(message, &error.to_string()),
        };
        let Some(server) = Subjects::server(&message.subject) else {
            return self.refuse(message, "of no server");
        };
        let hub = Arc::clone(self.link.hub.inner());
        let Some(journal) = self.journal(&server) else {
            return Ok(());
        };
        let ends = [told.before, told.end()];
        let Told { before, what, .. } = told;
        if journal.owner.is_none() {
            // Which epochs the journal has the owner states; then these are read.
            for (epoch, end) in ends.into_iter().flatten() {
                journal.unstated.retain(|(known, _)| *known != epoch);
                if journal.unstated.len() < UNSTATED_MAX {
                    journal.unstated.push((epoch, end));
                }
            }
            return Ok(());
        }
        match what {
            What::Batch(batch) if batch.server == server => {
                if let Some((epoch, end)) = before.filter(|before| before.0 != batch.epoch) {
                    hub.change(journal.index, |known, now| known.extend(epoch, end, now));
                }
                hub.pictured(journal.index, &Shared::new(batch));
            }
            What::Batch(_) => return self.refuse(message, "of another server than its subject"),
            What::Elsewhere { .. } | What::Claim => hub.change(journal.index, |known, now| {
                for (epoch, end) in ends.into_iter().flatten() {
                    known.extend(epoch, end, now);
                }
            }),
        }
        Ok(())
    }

    /// The journal of a server, new if it has none yet; `None` past the hub's bound.
    fn journal(&mut self, server: &ServerName) -> Option<&mut Pictured> {
        if !self.journals.contains_key(server) {
            let kept = Arc::new(Kept::new(server.clone(), Arc::downgrade(&self.link)));
            let source = || Arc::clone(&kept) as Arc<dyn Source>;
            let index = match self.link.hub.inner().picture(server, source) {
                Ok(index) => index,
                Err(BusError::Closed) => return None,
                Err(error) => {
                    tracing::warn!(%server, %error, "a journal is not followed");
                    return None;
                }
            };
            let pictured = Pictured {
                index,
                kept,
                owner: None,
                heard: None,
                present: false,
                unstated: Vec::new(),
            };
            self.journals.insert(server.clone(), pictured);
        }
        self.journals.get_mut(server)
    }

    /// Owners that have been silent for too long are gone.
    fn miss_silent(&mut self) {
        let idle_max = self.link.options.idle_max;
        let silent = |heard: Option<(Instance, u64, Instant)>| {
            heard.is_none_or(|(_, _, at)| at.elapsed() >= idle_max)
        };
        self.lose(|journal| silent(journal.heard));
    }

    /// Without a connection nobody is known to be there.
    fn lose_all(&mut self) {
        self.lose(|_| true);
    }

    fn lose(&mut self, lost: impl Fn(&Pictured) -> bool) {
        let hub = Arc::clone(self.link.hub.inner());
        for journal in self.journals.values_mut() {
            if journal.present && lost(journal) {
                journal.present = false;
                hub.set_present(journal.index, None);
            }
        }
    }

    fn refuse(&self, message: &Message, reason: &str) -> Result<(), String> {
        self.link.counters.refused.add(1);
        let subject = message.subject.as_str();
        tracing::warn!(subject, reason, "nats brought a wrong message");
        Ok(())
    }
}

fn sequence(message: &Message) -> Result<u64, String> {
    let info = message.info().map_err(|error| error.to_string())?;
    Ok(info.stream_sequence)
}

/// A consumer's messages, none of which is missing.
struct Numbered {
    messages: push::Messages,
    last: u64,
    /// Messages that were there when this began and have not come yet.
    pending: u64,
}

impl Numbered {
    fn new(messages: push::Messages, pending: u64) -> Self {
        Self {
            messages,
            last: 0,
            pending,
        }
    }

    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Message, String> {
        let message = self.messages.next().await;
        let message = message.ok_or("the consumer ended")?;
        let message = message.map_err(|error| error.to_string())?;
        let number = {
            let info = message.info().map_err(|error| error.to_string())?;
            info.consumer_sequence
        };
        if number != self.last + 1 {
            return Err("messages are missing".to_owned());
        }
        self.last = number;
        self.pending = self.pending.saturating_sub(1);
        Ok(message)
    }
}
