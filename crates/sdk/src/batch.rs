//! Several messages that are worked on as one (D5).
//!
//! A call tree has one parent a node, so a batch is none of its messages' children: it is a root
//! of its own, with a link to each of them. Each message is still received, in the tree of the
//! request that sent it: by an entry that links to the batch and ends with it.

use std::ops::Deref;

use selvedge_entry::Link;
use selvedge_identity::Interaction;
use selvedge_node::{End, Exchange, Node};

use crate::arrival::Arrival;
use crate::root::begin;

/// Messages whose links the batch's entry holds; of more only the number is kept.
const LINKS_MAX: usize = 128;

/// A batch at work. It is its root exchange: calls and actions are made with that.
pub struct Batch {
    root: Exchange,
    messages: Vec<Exchange>,
}

impl Batch {
    /// The node takes these messages as one batch, whose entry is `RUN <name>`.
    pub async fn take(node: &Node, name: &str, arrivals: Vec<Arrival<'_>>) -> Self {
        let root = begin(node, name);
        let batch = link(&root);
        let mut messages = Vec::new();
        for arrival in arrivals {
            let message = arrival.take(node).await;
            // At once: links must be there before openings are written.
            batch.iter().for_each(|batch| message.link(*batch));
            if let Some(message) = link(&message)
                && messages.len() < LINKS_MAX
            {
                root.link(message);
            }
            messages.push(message);
        }
        root.attribute("messages", &messages.len().to_string());
        Self { root, messages }
    }

    /// Its messages, in the order they were given.
    #[must_use]
    pub fn messages(&self) -> &[Exchange] {
        &self.messages
    }

    /// All of it ended so, its messages too.
    pub fn close(self, end: End) {
        for message in &self.messages {
            message.close(End {
                status: end.status,
                error: end.error.clone(),
                ..End::default()
            });
        }
        self.root.close(end);
    }
}

impl Deref for Batch {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.root
    }
}

/// What names an exchange in a link: its whole interaction id, which a message with Trace Context
/// tells; of one with only the native header the bytes that are known, with zeros behind.
fn link(exchange: &Exchange) -> Option<Link> {
    let own = exchange.identifier().own();
    let padded = || {
        let mut bytes = [0; 8];
        bytes[..own.as_bytes().len()].copy_from_slice(own.as_bytes());
        Interaction::from_bytes(bytes)
    };
    Some(Link {
        origin: exchange.identifier().origin(),
        interaction: exchange.interaction().or_else(padded)?,
    })
}
