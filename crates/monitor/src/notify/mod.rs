//! Receivers of notifications: a webhook, an encoder over the threshold link, or everyone on the bus.
//!
//! Each has a task of its own that sends what waits for it, one after the other, and again until
//! it is acknowledged, with growing pauses; one that hangs delays only itself.

mod bus;
pub mod link;
mod webhook;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selvedge_identity::ServerName;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::outbox::{Notification, Outbox};
use crate::saved::Step;
use crate::watch::MonitorOptions;

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
    /// The name of a server of the monitor's own on the bus: each notification is an entry of its
    /// journal.
    Bus(String),
}

impl ReceiverConfig {
    /// Its name in metrics, answers and the written state.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook(url) => url,
            Self::Link(address) => address,
            Self::Bus(server) => server,
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
            Self::Bus(server) => match ServerName::new(server) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!(
                    "bus {server:?}: {error}; write a server's name, as in \"thresholds\""
                )),
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
    /// What was acknowledged, and not yet taken: receiver and id.
    acknowledgements: Mutex<Vec<(String, String)>>,
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
    pub(crate) fn push(&self, notifications: Vec<Notification>) {
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

    fn acknowledge(&self, receiver: &str, id: &str) {
        self.outbox().acknowledge(receiver, id);
        let acknowledgement = (receiver.to_owned(), id.to_owned());
        self.lock_acknowledgements().push(acknowledgement);
        self.acknowledged.notify_one();
    }

    /// Waits for an acknowledgement.
    pub(crate) async fn acknowledged(&self) {
        self.acknowledged.notified().await;
    }

    /// What was acknowledged since it was last asked for.
    pub(crate) fn take_acknowledged(&self) -> Vec<Step> {
        let all = std::mem::take(&mut *self.lock_acknowledgements());
        all.into_iter()
            .map(|(receiver, id)| Step::Acknowledged { receiver, id })
            .collect()
    }

    fn lock_acknowledgements(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        let lock = self.acknowledgements.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a receiver is told.
pub(crate) enum Sender {
    Webhook(webhook::Webhook),
    Link(link::LinkSender),
    Bus(bus::BusSender),
}

impl Sender {
    /// `instance` names the monitor on the threshold link.
    pub(crate) fn new(
        config: ReceiverConfig,
        instance: &str,
        options: &MonitorOptions,
    ) -> Result<Self, String> {
        Ok(match config {
            ReceiverConfig::Webhook(url) => Self::Webhook(webhook::Webhook::new(url)?),
            ReceiverConfig::Link(address) => {
                let instance = instance.to_owned();
                Self::Link(link::LinkSender::new(address, instance, options.link_key))
            }
            ReceiverConfig::Bus(server) => {
                let mut nodes = options.nodes.iter();
                let node = nodes.find(|node| node.server().as_str() == server);
                let node = node.ok_or_else(|| format!("bus {server}: no such server here"))?;
                Self::Bus(bus::BusSender::new(node.clone()))
            }
        })
    }

    async fn send(&mut self, notification: &Notification) -> Result<(), String> {
        match self {
            Self::Webhook(webhook) => webhook.send(notification).await,
            Self::Link(link) => link.send(notification).await,
            Self::Bus(bus) => bus.send(notification).await,
        }
    }
}

/// Sends what waits for the receiver of this name, for ever.
pub(crate) async fn serve(name: String, mut sender: Sender, shared: Arc<Shared>) {
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
                shared.acknowledge(&name, &notification.id);
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
