//! Receivers of notifications: a webhook, or an encoder over the threshold link.
//!
//! Each has a task of its own that sends what waits for it, one after the other, and again until
//! it is acknowledged, with growing pauses; one that hangs delays only itself.

pub mod link;
mod webhook;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;

use crate::outbox::{Notification, Outbox};

/// How long a receiver may take to acknowledge.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pauses after failures: the first, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A receiver as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum ReceiverConfig {
    /// `http://host[:port]/path`: each notification is a POST of its JSON with its id as
    /// `idempotency-key`; any status 2xx acknowledges.
    Webhook(String),
    /// `host:port` of an encoder (or whoever listens with [`link::LinkListener`]).
    Link(String),
}

impl ReceiverConfig {
    /// Its name in metrics, answers and the written state.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook(url) => url,
            Self::Link(address) => address,
        }
    }

    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// A sentence that names it and the remedy.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Webhook(url) => match reqwest::Url::parse(url) {
                Ok(parsed) if parsed.scheme() == "http" && parsed.has_host() => Ok(()),
                Ok(_) => Err(format!("webhook {url}: write http://host:port/path")),
                Err(error) => Err(format!(
                    "webhook {url}: {error}; write http://host:port/path"
                )),
            },
            Self::Link(address) => match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
                _ => Err(format!("link {address}: write host:port")),
            },
        }
    }
}

/// What the monitor and its receivers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    outbox: Mutex<Outbox>,
    /// Something was put into the outbox.
    pushed: Notify,
    /// Something was acknowledged.
    acknowledged: Notify,
}

impl Shared {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self {
            outbox: Mutex::new(outbox),
            ..Self::default()
        }
    }

    pub(crate) fn outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the receivers notifications, which are on the disk.
    pub(crate) fn push(&self, notifications: impl Iterator<Item = Notification>) {
        let mut pushed = false;
        {
            let mut outbox = self.outbox();
            for notification in notifications {
                outbox.push(&notification);
                pushed = true;
            }
        }
        if pushed {
            self.pushed.notify_waiters();
        }
    }

    /// Waits for an acknowledgement.
    pub(crate) async fn acknowledged(&self) {
        self.acknowledged.notified().await;
    }
}

/// One attempt at a receiver.
enum Sender {
    Webhook(webhook::Webhook),
    Link(link::LinkSender),
}

impl Sender {
    async fn send(&mut self, notification: &Notification) -> Result<(), String> {
        match self {
            Self::Webhook(webhook) => webhook.send(notification).await,
            Self::Link(link) => link.send(notification).await,
        }
    }
}

/// Sends what waits for one receiver, for ever. `key`: of the threshold link.
pub(crate) async fn serve(
    config: ReceiverConfig,
    instance: String,
    key: [u8; 32],
    shared: Arc<Shared>,
) {
    let name = config.name().to_owned();
    let mut sender = match config {
        ReceiverConfig::Webhook(url) => Sender::Webhook(webhook::Webhook::new(url)),
        ReceiverConfig::Link(address) => {
            Sender::Link(link::LinkSender::new(address, instance, key))
        }
    };
    let mut pause = PAUSE_FIRST;
    loop {
        let pushed = shared.pushed.notified();
        tokio::pin!(pushed);
        // Registered before the look, so that no push falls in between.
        pushed.as_mut().enable();
        let front = shared.outbox().front(&name).cloned();
        let Some(notification) = front else {
            pushed.await;
            continue;
        };
        let sent = tokio::time::timeout(ANSWER_WITHIN, sender.send(&notification)).await;
        match sent.unwrap_or_else(|_| Err("no acknowledgement in time".to_owned())) {
            Ok(()) => {
                pause = PAUSE_FIRST;
                shared.outbox().acknowledge(&name, &notification.id);
                shared.acknowledged.notify_one();
            }
            Err(error) => {
                if pause == PAUSE_FIRST {
                    tracing::warn!(receiver = name, %error, "notification not taken; repeating");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
