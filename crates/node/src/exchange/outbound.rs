//! A call that handling a request makes.

use std::sync::{Arc, Mutex, PoisonError};

use selvedge_entry::{Call, Direction, Fields, Opening, Record, Text};
use selvedge_identity::carrier::{self, Injected};
use selvedge_identity::{HeaderText, Interaction, RequestIdentifier, SessionToken, StateText};

use super::actions::Begin;
use super::{End, Inner, Stage};
use crate::{Wrap, Wrapped};

/// An outbound call: its entry is the calling side. Dropped without [`Outbound::close`], it is
/// written as failed.
pub struct Outbound {
    exchange: Arc<Inner>,
    shared: Arc<Shared>,
    identifier: RequestIdentifier,
    interaction: Interaction,
    /// Trace flags and other systems' `tracestate`, where they are not the request's.
    passed_on: Option<(u8, Option<String>)>,
    begin: Begin,
}

/// What the entry's late writer shares with the call.
struct Shared {
    stage: Mutex<Stage>,
    node: crate::Node,
    began_ns: u64,
}

/// The headers to put on the call's request, in place of any of the same names.
#[derive(Clone, Debug)]
pub struct OutboundHeaders {
    /// `selvedge-request`.
    pub request: HeaderText<{ RequestIdentifier::TEXT_MAX }>,
    /// `traceparent`.
    pub traceparent: HeaderText<55>,
    /// `tracestate`.
    pub tracestate: StateText,
    /// The forms of other systems (D15).
    pub wrapped: Wrapped,
    /// `selvedge-caller`.
    pub caller: Text,
    /// `selvedge-carried`, where there is a session.
    pub carried: Option<String>,
}

impl Outbound {
    pub(super) fn begin(
        exchange: Arc<Inner>,
        interaction: Interaction,
        peer: Option<&str>,
        peer_host: Option<&str>,
        method: &str,
        path: &str,
    ) -> Self {
        let node = exchange.node.clone();
        let identifier = node.advance(&exchange.identifier, interaction);
        let path = node.keep().path(path);
        let mut opening: Opening = node.opening(Direction::Outbound, &action_name(method, path));
        opening.request.fields = request_fields(method, path);
        opening.service = exchange.service.clone();
        opening.session = exchange.session;
        opening.client = exchange.client;
        opening.generated = Some(opening.at);
        opening.call = Some(Call {
            identifier: node.identifiers().levels.in_entry(&identifier).0,
            interaction: Some(interaction),
            peer: peer.map(Into::into),
            peer_host: peer_host.map(Into::into),
        });
        let begin = exchange.lock().actions.begin();
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Unwritten(Box::new(opening))),
            began_ns: node.monotonic_ns(),
            node: node.clone(),
        });
        let late = Arc::downgrade(&shared);
        node.write_later(Box::new(move || {
            if let Some(shared) = late.upgrade() {
                shared.write_opening();
            }
        }));
        Self {
            exchange,
            shared,
            identifier,
            interaction,
            passed_on: None,
            begin,
        }
    }

    /// The call passes on these trace flags and members of `tracestate` instead of its request's:
    /// where the code has made its own of those.
    #[must_use]
    pub fn passing_on(mut self, flags: u8, tracestate: Option<String>) -> Self {
        self.passed_on = Some((flags, tracestate));
        self
    }

    /// The identifier that the call carries.
    #[must_use]
    pub fn identifier(&self) -> &RequestIdentifier {
        &self.identifier
    }

    /// The headers of its request. `carried` is signed only when asked for: the gateway, which
    /// hands the whole token on, does not ask.
    #[must_use]
    pub fn headers(&self, carried: bool) -> OutboundHeaders {
        self.headers_as(carried, Wrap::default())
    }

    /// As [`Outbound::headers`], in these forms of other systems beside those that this node
    /// always writes: for a caller or a callee that speaks them.
    #[must_use]
    pub fn headers_as(&self, carried: bool, also: Wrap) -> OutboundHeaders {
        let exchange = &self.exchange;
        let (flags, tracestate) = match &self.passed_on {
            Some((flags, tracestate)) => (*flags, tracestate.as_deref()),
            None => (exchange.trace_flags, exchange.tracestate.as_deref()),
        };
        let Injected {
            request,
            traceparent,
            tracestate,
        } = carrier::inject(&self.identifier, self.interaction, flags, tracestate);
        let session = exchange.session.filter(|_| carried);
        let carried = session.map(|session| {
            let heads = self.begin.after.iter().cloned().collect();
            SessionToken { session, heads }.sign(exchange.node.keys())
        });
        OutboundHeaders {
            request,
            traceparent,
            tracestate,
            wrapped: exchange.wrapped(
                &self.identifier,
                self.interaction,
                exchange.interaction,
                also,
            ),
            caller: exchange.service.clone(),
            carried,
        }
    }

    /// The call was sent now, having waited since it was made (D6).
    pub fn sent(&self) {
        let mut stage = self.shared.lock();
        if let Stage::Unwritten(opening) = &mut *stage {
            opening.at = self.exchange.node.now();
        }
    }

    /// The callee answered with this `selvedge-session`: actions that its code recorded are the
    /// request's, too. A token that does not hold, or of another session, is ignored.
    pub fn answered(&self, session: &[u8]) {
        let exchange = &self.exchange;
        let Ok(token) = SessionToken::verify(session, exchange.node.keys()) else {
            return;
        };
        if exchange.session != Some(token.session) {
            return;
        }
        let mut state = exchange.lock();
        for head in token.heads {
            if !state.actions.is_full() {
                state.actions.add(&self.begin, head, true);
            }
        }
    }

    /// The call ended.
    pub fn close(self, end: End) {
        self.shared.close(end);
    }
}

/// Method and path, as entries name them. A call without a method has none.
pub(crate) fn request_fields(method: &str, path: &str) -> Fields {
    let method = (!method.is_empty()).then(|| (crate::text("method"), crate::text(method)));
    let path = (crate::text("path"), path.into());
    method.into_iter().chain([path]).collect()
}

/// What is done: `POST /orders`; without a method the path, bare of its slash, as gRPC writes
/// `shop.Catalogue/Price`.
pub(crate) fn action_name(method: &str, path: &str) -> String {
    match method {
        "" => path.strip_prefix('/').unwrap_or(path).to_owned(),
        method => format!("{method} {path}"),
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.shared.close(End {
            error: Some("given up before its answer ended".to_owned()),
            ..End::default()
        });
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_opening(&self) {
        let mut stage = self.lock();
        if let Stage::Unwritten(_) = *stage {
            let Stage::Unwritten(opening) = std::mem::replace(&mut *stage, Stage::Closed) else {
                return;
            };
            if let Some(at) = self.node.append(&Record::Opening(opening)) {
                *stage = Stage::Opened(at);
            }
        }
    }

    fn close(&self, end: End) {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Closed) {
            return;
        }
        let status = end.status;
        let closing = self
            .node
            .closing(end, status, self.began_ns, &mut Fields::new());
        match std::mem::replace(&mut *stage, Stage::Closed) {
            Stage::Unwritten(opening) => self.node.append(&Record::Whole(opening, closing)),
            Stage::Opened(at) => {
                let record = Record::Closing {
                    opening: at.sequence,
                    closing,
                };
                self.node.append_after(at, &record)
            }
            Stage::Closed => None,
        };
    }
}
