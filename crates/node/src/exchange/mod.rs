//! One inbound request, from its head to its end: what a server's front (gateway, sidecar, SDK)
//! holds while it handles the request.
//!
//! [`Node::take`] makes one that advances its session's ordering, [`Node::enter`] one that only
//! stands in the call tree. Its entry is written as records: the opening at once where an ordering
//! id depends on it, else only if the request is still going on after a while, so that short ones
//! cost one record; the effect before the answer's first byte; the closing at the end.

mod action;
mod actions;
mod broadcast;
mod outbound;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_entry::{Closing, Data, Effect, Fields, Follow, Link, Opening, Outcome, Record};
use selvedge_identity::carrier::{self, TraceContext, b3};
use selvedge_identity::{ClientId, Head, Interaction, RequestIdentifier, SessionId, SessionToken};
use selvedge_journal::Appended;
use selvedge_session::{Timeline, timeline};
use smallvec::SmallVec;

pub use self::action::Action;
use self::actions::Actions;
pub use self::broadcast::{BroadcastError, Sent};
pub use self::outbound::{Outbound, OutboundHeaders};
pub(crate) use self::outbound::{action_name, request_fields};
use self::state::Written;
pub use self::state::{
    STATE_NAME_BYTES_MAX, STATE_NAMES_MAX, STATE_SESSION_BYTES_MAX, STATE_VALUE_BYTES_MAX,
    State as SessionState, StateError, StateValue,
};
use crate::{Acknowledge, Node, Wrap, Wrapped};

/// An inbound request that is being handled. Clones are the same request.
#[derive(Clone)]
pub struct Exchange {
    inner: Arc<Inner>,
}

/// What the answer must carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The value of the answer's `selvedge-session` header, where the session moved on.
    pub session: Option<String>,
    /// How far the session's part of it has got, at least.
    pub acknowledged: Acknowledge,
}

/// How a request, a call or an action ended.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// HTTP status; 0 where none came.
    pub status: u16,
    /// Why it failed, in a sentence; makes the outcome an error.
    pub error: Option<String>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// What is kept of the request's body.
    pub request: Data,
    /// What is kept of the answer.
    pub response: Data,
    /// The quantum of work it cost; by default its time in microseconds (D6).
    pub work: Option<u64>,
}

impl End {
    /// An end with nothing but a status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// How an HTTP status reads as an outcome.
#[must_use]
pub fn outcome_of(status: u16) -> Outcome {
    match status {
        0 => Outcome::Unknown,
        1..=399 => Outcome::Ok,
        400..=499 => Outcome::Refused,
        _ => Outcome::Error,
    }
}

/// What a node found out about a request's origin and session before it began.
pub(crate) struct Begun {
    pub(crate) opening: Opening,
    pub(crate) began_ns: u64,
    pub(crate) heads: SmallVec<[Head; 1]>,
    pub(crate) trace_flags: u8,
    pub(crate) tracestate: Option<String>,
    pub(crate) b3: Option<b3::Form>,
    /// As it came: the entry has its level in place of its depth.
    pub(crate) identifier: RequestIdentifier,
    pub(crate) role: Role,
}

/// What a server does to the session of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It was called by the gateway: its entry is an action of the session.
    Advances,
    /// It was called deeper, or is the gateway: only actions that its code records are.
    Carries,
}

struct Inner {
    node: Node,
    identifier: RequestIdentifier,
    interaction: Option<Interaction>,
    session: Option<SessionId>,
    client: Option<ClientId>,
    service: selvedge_entry::Text,
    began_ns: u64,
    trace_flags: u8,
    tracestate: Option<String>,
    b3: Option<b3::Form>,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    actions: Actions,
    /// Attributes added since the last record.
    attributes: Fields,
    status: u16,
    /// What was written of the session's state.
    written: Written,
    /// The newest record of an action that the request's code recorded.
    newest: Option<Appended>,
}

/// How far an entry has been written.
pub(crate) enum Stage {
    Unwritten(Box<Opening>),
    Opened(Appended),
    Closed,
}

impl Exchange {
    pub(crate) fn begin(node: Node, begun: Begun) -> Self {
        let Begun { opening, .. } = begun;
        let call = opening.call.as_ref().expect("an inbound entry is a call");
        let interaction = call.interaction;
        let (session, client) = (opening.session, opening.client);
        let service = opening.service.clone();
        let mut actions = Actions::new(begun.heads.into_vec());
        let stage = match (begun.role, session) {
            (Role::Advances, Some(session)) => {
                let begin = actions.begin();
                match node.append_action(session, begin.floor(), opening) {
                    Some((head, at)) => {
                        actions.add_own(&begin, head);
                        Stage::Opened(at)
                    }
                    None => Stage::Closed,
                }
            }
            _ => Stage::Unwritten(Box::new(opening)),
        };
        let lazily = matches!(stage, Stage::Unwritten(_));
        let exchange = Self {
            inner: Arc::new(Inner {
                identifier: begun.identifier,
                interaction,
                session,
                client,
                service,
                began_ns: begun.began_ns,
                trace_flags: begun.trace_flags,
                tracestate: begun.tracestate,
                b3: begun.b3,
                state: Mutex::new(State {
                    stage,
                    actions,
                    attributes: Fields::new(),
                    status: 0,
                    written: Written::default(),
                    newest: None,
                }),
                node,
            }),
        };
        if lazily {
            let inner = Arc::downgrade(&exchange.inner);
            exchange.inner.node.write_later(Box::new(move || {
                if let Some(inner) = inner.upgrade() {
                    inner.write_opening();
                }
            }));
        }
        exchange
    }

    /// The request's identifier: as received, or a new root's.
    #[must_use]
    pub fn identifier(&self) -> &RequestIdentifier {
        &self.inner.identifier
    }

    /// The whole interaction id of this request, where its caller told it.
    #[must_use]
    pub fn interaction(&self) -> Option<Interaction> {
        self.inner.interaction
    }

    /// The visit that it belongs to.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.inner.session
    }

    /// Who visits.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        self.inner.client
    }

    /// The node that handles it.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    /// Adds an attribute to the entry.
    pub fn attribute(&self, key: &str, value: &str) {
        let mut state = self.inner.lock();
        let field = (key.into(), value.into());
        match &mut state.stage {
            Stage::Unwritten(opening) => opening.attributes.push(field),
            Stage::Opened(_) => state.attributes.push(field),
            Stage::Closed => {}
        }
    }

    /// Marks the entry as odd in this way, if its opening is not written yet.
    pub fn flag(&self, flag: &str) {
        if let Stage::Unwritten(opening) = &mut self.inner.lock().stage {
            opening.flags.push(crate::text(flag));
        }
    }

    /// Adds a related context, if the opening is not written yet: what caused this request beside
    /// its parent, as each message of a batch does.
    pub fn link(&self, link: Link) {
        if let Stage::Unwritten(opening) = &mut self.inner.lock().stage {
            opening.links.push(link);
        }
    }

    /// What this server's memory holds of the session: its actions in order, and which of them are
    /// concurrent; this request's own among them once it is durable. Empty where there is no
    /// session.
    #[must_use]
    pub fn history(&self) -> Timeline {
        let session = self.inner.session;
        session.map_or_else(Timeline::default, |id| {
            timeline(id, self.inner.node.memory().history(id))
        })
    }

    /// Waits, as a request of a gateway does before it begins (E6), until this server's memory
    /// holds what the request follows meanwhile: for a deeper server, which begins at once, before
    /// it reads the history or state; and after a call whose callee recorded actions. Returns
    /// whether all of it is held.
    pub async fn catch_up(&self) -> bool {
        let node = &self.inner.node;
        let others: Vec<Follow> = {
            let state = self.inner.lock();
            let unwaited = state.actions.unwaited();
            let others = unwaited.filter(|head| head.position.server != *node.server());
            others.map(Follow::from).collect()
        };
        node.wait_until_held(&others).await.is_empty()
    }

    /// Records that the request does something of its own name (A9): an action with an ordering
    /// id that follows every finished action of the request. It ends when it is finished or
    /// dropped.
    pub fn action(&self, name: &str) -> Action {
        Action::begin(self.inner.clone(), name)
    }

    /// The answer's status is known: writes the effect and waits until it is as safe as the node's
    /// [`AcknowledgeOptions`](crate::AcknowledgeOptions) ask. Call it before the answer's first
    /// byte.
    pub async fn answer(&self, status: u16) -> Answer {
        let written = self.inner.write_effect(status);
        self.inner.proven(written).await
    }

    /// The whole answer is known before its first byte: writes the end, and waits as
    /// [`Exchange::answer`] does.
    pub async fn finish(&self, end: End) -> Answer {
        let written = self.inner.write_closing(end);
        self.inner.proven(written).await
    }

    /// The answer has ended. After [`Exchange::finish`] it does nothing.
    pub fn close(&self, end: End) {
        self.inner.write_closing(end);
    }

    /// A call to another service that handling the request needs: an interaction of its own (each
    /// retry one more). `peer` is the callee's service, where it is known.
    #[must_use]
    pub fn call(
        &self,
        peer: Option<&str>,
        peer_host: Option<&str>,
        method: &str,
        path: &str,
    ) -> Outbound {
        let interaction = Interaction::from_random(self.inner.node.random());
        self.call_as(interaction, peer, peer_host, method, path)
    }

    /// As [`Exchange::call`], of an interaction that the code has given an id of its own: a span
    /// of OpenTelemetry's, whose id then names the call everywhere.
    #[must_use]
    pub fn call_as(
        &self,
        interaction: Interaction,
        peer: Option<&str>,
        peer_host: Option<&str>,
        method: &str,
        path: &str,
    ) -> Outbound {
        Outbound::begin(
            self.inner.clone(),
            interaction,
            peer,
            peer_host,
            method,
            path,
        )
    }

    /// What the request's own identifier looks like in W3C Trace Context, and in the forms that
    /// this node writes for other systems (D15) and in `also`. `None` where only a part of the id
    /// of this interaction is known, which those forms have no place for.
    #[must_use]
    pub fn trace_context(&self, also: Wrap) -> Option<(TraceContext, Wrapped)> {
        let inner = &*self.inner;
        let interaction = inner.interaction?;
        let context = carrier::inject_trace_context(
            &inner.identifier,
            interaction,
            inner.trace_flags,
            inner.tracestate.as_deref(),
        );
        let wrapped = inner.wrapped(&inner.identifier, interaction, None, also);
        Some((context, wrapped))
    }
}

impl Inner {
    /// The headers of other systems' forms.
    fn wrapped(
        &self,
        identifier: &RequestIdentifier,
        interaction: Interaction,
        before: Option<Interaction>,
        also: Wrap,
    ) -> Wrapped {
        let wrap = self.node.identifiers().wrap.and(also);
        let b3 = wrap.any().then(|| {
            let form = self.b3.unwrap_or(b3::Form::of_flags(self.trace_flags));
            b3::inject(identifier, interaction, before, form)
        });
        Wrapped { wrap, b3 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_opening(&self) {
        let mut state = self.lock();
        if let Stage::Unwritten(_) = state.stage {
            let Stage::Unwritten(opening) = std::mem::replace(&mut state.stage, Stage::Closed)
            else {
                return;
            };
            if let Some(at) = self.node.append(&Record::Opening(opening)) {
                state.stage = Stage::Opened(at);
            }
        }
    }

    /// Returns what must be durable before the answer may go out.
    fn write_effect(&self, status: u16) -> Option<Appended> {
        let mut state = self.lock();
        state.status = status;
        let Stage::Opened(opened) = state.stage else {
            return None; // it will be one record, written at the end
        };
        let effect = Effect {
            after_ns: self.elapsed_ns(),
            status,
            outcome: outcome_of(status),
            attributes: std::mem::take(&mut state.attributes),
            state: state.written.pending(),
        };
        let record = Record::Effect {
            opening: opened.sequence,
            effect,
        };
        let written = self.node.append_after(opened, &record);
        self.settle(&mut state, written);
        written
    }

    fn write_closing(&self, end: End) -> Option<Appended> {
        let mut state = self.lock();
        let status = if end.status == 0 {
            state.status
        } else {
            end.status
        };
        let mut closing = self
            .node
            .closing(end, status, self.began_ns, &mut state.attributes);
        closing.state = state.written.pending();
        let written = match std::mem::replace(&mut state.stage, Stage::Closed) {
            Stage::Unwritten(opening) => self.node.append(&Record::Whole(opening, closing)),
            Stage::Opened(opened) => {
                let record = Record::Closing {
                    opening: opened.sequence,
                    closing,
                };
                self.node.append_after(opened, &record)
            }
            Stage::Closed => None,
        };
        self.settle(&mut state, written);
        written
    }

    /// A record of the request's own was written, with the writes of state that were pending.
    fn settle(&self, state: &mut State, written: Option<Appended>) {
        let at = written.map(|at| self.node.position(at));
        state.written.settled(at.as_ref());
    }

    /// Waits until the session's part of what was written is acknowledged, and signs what it proves.
    async fn proven(&self, written: Option<Appended>) -> Answer {
        let (Some(session), mut heads) = (self.session, self.lock().actions.tips()) else {
            return Answer::default();
        };
        if heads.is_empty() {
            return Answer::default();
        }
        // Actions recorded since, and whatever else this journal took meanwhile: durable before
        // the answer, too.
        let newest = written.into_iter().chain(self.lock().newest).max();
        let mut acknowledged = Acknowledge::Journal;
        if let Some(at) = newest {
            acknowledged = self.node.acknowledged(at).await;
            for head in &mut heads {
                // The journal's own: everything up to the effect record is durable now.
                if head.position.server == *self.node.server() && head.position.epoch == at.epoch {
                    head.effect = head.effect.max(at.sequence);
                }
            }
        }
        let token = SessionToken {
            session,
            heads: heads.into(),
        };
        Answer {
            session: Some(token.sign(self.node.keys())),
            acknowledged,
        }
    }

    fn elapsed_ns(&self) -> u64 {
        self.node.monotonic_ns().saturating_sub(self.began_ns)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !matches!(self.lock().stage, Stage::Closed) {
            self.write_closing(End {
                error: Some("dropped before its answer ended".to_owned()),
                ..End::default()
            });
        }
    }
}

impl Node {
    fn closing(
        &self,
        end: End,
        status: u16,
        began_ns: u64,
        attributes: &mut Fields,
    ) -> Box<Closing> {
        let duration_ns = self.monotonic_ns().saturating_sub(began_ns);
        Box::new(Closing {
            duration_ns,
            status,
            outcome: match end.error {
                Some(_) => Outcome::Error,
                None => outcome_of(status),
            },
            error: end.error.map(Into::into),
            work: end.work.unwrap_or(duration_ns / 1000),
            request_bytes: end.request_bytes,
            response_bytes: end.response_bytes,
            request: end.request,
            response: end.response,
            attributes: std::mem::take(attributes),
            state: Vec::new(),
        })
    }
}
