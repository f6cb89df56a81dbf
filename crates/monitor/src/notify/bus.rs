//! Notifications as entries of a journal on the back-end network: whoever follows the bus has them,
//! by a rule of its own, a transaction, or a stream of entries.

use selvedge_entry::Fields;
use selvedge_node::Node;

use crate::outbox::Notification;
use crate::threshold::Change;

/// The server in whose journal notifications stand.
pub(crate) struct BusSender {
    node: Node,
}

impl BusSender {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Done once the entry is durable in the journal; the bus brings it to everyone. After a crash,
    /// or while the journal's disk fails, it may stand there several times, under one id.
    pub(crate) async fn send(&self, notification: &Notification) -> Result<(), String> {
        let action = match notification.change {
            Change::Raised => "threshold raised",
            Change::Cleared => "threshold cleared",
        };
        let noted = self.node.note(action, attributes(notification)).await;
        noted.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// The members of its JSON that are not null, under the same names.
fn attributes(notification: &Notification) -> Fields {
    let number = |number: f64| number.to_string();
    let each = [
        ("id", Some(notification.id.clone())),
        ("rule", Some(notification.rule.clone())),
        ("group", notification.group.clone()),
        ("number", Some(notification.number.to_string())),
        ("at", Some(notification.at.to_string())),
        ("value", Some(number(notification.value))),
        ("error", Some(number(notification.error))),
        ("window", notification.window.map(|start| start.to_string())),
        (
            "cause",
            notification.cause.as_ref().map(ToString::to_string),
        ),
    ];
    let named = each
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), value?.into())));
    named.collect()
}
