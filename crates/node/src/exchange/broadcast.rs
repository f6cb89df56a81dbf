//! An answer to many at once: a request's code broadcasts content, and for each session that it
//! addresses the broadcast is an action of that session, with an ordering id and a head (A10).
//!
//! For the request's own session it follows what the request did so far. Another session's client
//! asked for nothing: there it follows what this server knows of that session, and is linked to the
//! request that caused it. Everything is durable before anything is announced, so a head that a
//! receiver gives back is never of an action that a crash took away.
//!
//! The broadcast itself is one record in this server's journal. Who sends it on reads it there, as
//! the back-end network brings it ([`crate::Broadcasts`]).

use std::collections::BTreeSet;

use bytes::Bytes;
use selvedge_entry::{Closing, Direction, Link, Outcome, Record};
use selvedge_identity::{Head, Position, SessionId};
use selvedge_transmit::Broadcast;
use thiserror::Error;

use super::Exchange;
use crate::metrics::count;

/// A broadcast that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its name: where its record stands.
    pub position: Position,
    /// How many sessions it brings a head.
    pub addressed: usize,
}

/// Why nothing was broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BroadcastError {
    /// It is not of a form that could be.
    #[error(transparent)]
    Form(#[from] selvedge_transmit::BroadcastError),
    /// The journal took no more: the server is stopping, or its disk failed meanwhile.
    #[error("not broadcast: the journal did not take it; try again")]
    NotWritten,
}

impl Exchange {
    /// Sends content to all receivers, with a head for each of these sessions; `name` is what the
    /// action is called. Returns once all of it is durable: then it goes out, whatever becomes of
    /// this server.
    ///
    /// # Errors
    /// See [`BroadcastError`]. Actions may stand in the sessions all the same; their heads are lost.
    pub async fn broadcast(
        &self,
        name: &str,
        content_type: &str,
        content: Bytes,
        to: &[SessionId],
    ) -> Result<Sent, BroadcastError> {
        Broadcast::check(content_type, &content, to.len())?;
        let node = self.node();
        let sessions: BTreeSet<SessionId> = to.iter().copied().collect();
        let mut own = self.action(name);
        own.attribute("content_type", content_type);
        own.attribute("content_bytes", &content.len().to_string());
        own.attribute("addressed", &sessions.len().to_string());
        let at = own.appended().ok_or(BroadcastError::NotWritten)?;
        let others = sessions
            .iter()
            .filter(|session| Some(**session) != self.session());
        let mut heads: Vec<(SessionId, Head)> = others
            .filter_map(|&session| Some((session, self.address(name, session)?)))
            .collect();
        let head = own.ended();
        if let Some(session) = self.session().filter(|own| sessions.contains(own)) {
            heads.extend(head.map(|head| (session, head)));
        }
        let broadcast = Broadcast::new(node.random(), content_type, content, &heads, node.keys())?;
        let mut bytes = Vec::new();
        broadcast.encode(&mut bytes);
        let record = Record::Broadcast {
            opening: at.sequence,
            broadcast: bytes.into(),
        };
        let written = node.append_after(at, &record);
        let written = written.ok_or(BroadcastError::NotWritten)?;
        node.acknowledged(written).await;
        count(&node.metrics().broadcasts);
        Ok(Sent {
            position: node.position(written),
            addressed: broadcast.addressed(),
        })
    }

    /// The broadcast as an action of another session; `None` if that can have no more.
    fn address(&self, name: &str, session: SessionId) -> Option<Head> {
        let node = self.node();
        let known = node.memory().tips(session);
        let mut opening = node.opening(Direction::Internal, name);
        opening.service = self.inner.service.clone();
        opening.session = Some(session);
        opening.client = known.client;
        opening.after = known.tips.into();
        let interaction = self.interaction();
        opening.links.extend(interaction.map(|interaction| Link {
            origin: self.identifier().origin(),
            interaction,
        }));
        let closing = Box::new(Closing {
            outcome: Outcome::Ok,
            ..Closing::default()
        });
        let whole = |opening| Record::Whole(opening, closing);
        let (head, _) = node.append_ordered(session, known.floor.unwrap_or(0), opening, whole)?;
        Some(head)
    }
}
