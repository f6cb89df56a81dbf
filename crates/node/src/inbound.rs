//! A request comes in: what its headers say, and what the node makes of it.

use std::net::IpAddr;

use selvedge_entry::{Call, Data, Direction, Follow, Opening, Text, Timestamp};
use selvedge_identity::carrier::{self, Extracted, b3};
use selvedge_identity::{
    ClientId, Head, Interaction, Origin, Position, RequestIdentifier, SessionId, SessionToken,
    TokenError, Union,
};
use smallvec::SmallVec;

use crate::exchange::{Begun, Role, action_name, request_fields};
use crate::metrics::{add, count};
use crate::wait::{Waited, wait};
use crate::{Exchange, Node};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Inbound<'a> {
    /// The values of its `selvedge-session` headers.
    pub sessions: SmallVec<[&'a [u8]; 2]>,
    /// `selvedge-carried`.
    pub carried: Option<&'a [u8]>,
    /// `selvedge-client`.
    pub client: Option<&'a [u8]>,
    /// The identifying headers.
    pub headers: carrier::Headers<'a>,
    /// The headers of B3 (D15).
    pub b3: b3::Headers<'a>,
    /// `selvedge-caller`.
    pub caller: Option<&'a str>,
    /// The method; empty where the path alone says what is done (a gRPC call).
    pub method: &'a str,
    /// The request target's path and query.
    pub path: &'a str,
    /// Where it came from.
    pub peer: Option<IpAddr>,
    /// Its identifiers are continued wherever it came from: who hands it in vouches for it, as
    /// for a queue that only this fleet writes to.
    pub vouched: bool,
    /// When it was received, on this node's clock.
    pub received: Timestamp,
    /// Kept headers and fields, beside method and path.
    pub request: Data,
}

/// The longest service name that a caller may claim, in bytes.
const CALLER_MAX: usize = 128;

impl Node {
    /// Takes a request for a content server. One that its gateway sent (it has a valid
    /// `selvedge-session`) waits until this server's memory holds what its client has seen (E6),
    /// and becomes an action of its session (A1, A2); any other only stands in the call tree.
    pub async fn take(&self, inbound: Inbound<'_>) -> Exchange {
        let began_ns = self.monotonic_ns();
        let mut flags = Vec::new();
        let (token, role) = self.session_of(&inbound, &mut flags);
        let client = self.client_of(inbound.client, &mut flags);
        let (mut opening, extracted) = self.inbound_opening(&inbound, flags);
        let heads = match token {
            Some(token) => {
                opening.session = Some(token.session);
                token.heads
            }
            None => SmallVec::new(),
        };
        opening.client = client;
        if role == Role::Advances {
            opening.after = heads.iter().map(Follow::from).collect();
            opening.unseen = self.wait_until_held(&opening.after).await;
            count(&self.metrics().actions_taken);
        } else {
            count(&self.metrics().requests_entered);
        }
        let begun = begun(opening, extracted, began_ns, heads, role);
        Exchange::begin(self.clone(), begun)
    }

    /// Takes a request that only stands in the call tree, of a session and a client that the
    /// caller has established: the gateway's side.
    #[must_use]
    pub fn enter(
        &self,
        inbound: &Inbound<'_>,
        session: Option<SessionId>,
        client: Option<ClientId>,
    ) -> Exchange {
        let began_ns = self.monotonic_ns();
        let (mut opening, extracted) = self.inbound_opening(inbound, Vec::new());
        opening.session = session;
        opening.client = client;
        count(&self.metrics().requests_entered);
        let begun = begun(opening, extracted, began_ns, SmallVec::new(), Role::Carries);
        Exchange::begin(self.clone(), begun)
    }

    /// Counts why tokens were refused, and returns the reasons as an entry's flags.
    pub fn count_refused(&self, union: &Union) -> Vec<Text> {
        let metrics = self.metrics();
        add(&metrics.tokens_other_session, union.other_sessions);
        add(&metrics.heads_refused, union.heads_refused);
        let reasons = union.refused.iter().map(|reason| {
            let (counter, flag) = match reason {
                TokenError::Malformed => (&metrics.tokens_malformed, "malformed_token"),
                TokenError::Oversized => (&metrics.tokens_oversized, "oversized_token"),
                TokenError::UnknownKey => (&metrics.tokens_unknown_key, "unknown_key_token"),
                TokenError::Forged => (&metrics.tokens_forged, "forged_token"),
            };
            count(counter);
            Text::from(flag)
        });
        let mut flags: Vec<Text> = reasons.collect();
        if union.heads_refused > 0 {
            flags.push("refused_head".into());
        }
        flags.sort();
        flags.dedup();
        flags
    }

    fn session_of(
        &self,
        inbound: &Inbound<'_>,
        flags: &mut Vec<Text>,
    ) -> (Option<SessionToken>, Role) {
        if !inbound.sessions.is_empty() {
            let union = SessionToken::unite(inbound.sessions.iter().copied(), self.keys());
            flags.extend(self.count_refused(&union));
            if union.token.is_some() {
                return (union.token, Role::Advances);
            }
        }
        let carried = inbound.carried.map(|token| {
            let union = SessionToken::unite(std::iter::once(token), self.keys());
            flags.extend(self.count_refused(&union));
            union.token
        });
        (carried.flatten(), Role::Carries)
    }

    fn client_of(&self, client: Option<&[u8]>, flags: &mut Vec<Text>) -> Option<ClientId> {
        let verified = ClientId::verify(client?, self.keys());
        if verified.is_err() {
            count(&self.metrics().clients_refused);
            flags.push("refused_client".into());
        }
        verified.ok()
    }

    /// Waits until the memory holds `heads` and what they follow; returns what it waited for in
    /// vain.
    pub(crate) async fn wait_until_held(&self, heads: &[Follow]) -> Vec<Position> {
        match wait(self.memory(), heads, self.wait_options(), self.waiters()).await {
            Waited::NotAtAll => Vec::new(),
            Waited::InTime => {
                count(&self.metrics().waits_in_time);
                Vec::new()
            }
            Waited::InVain(unseen) => {
                count(&self.metrics().waits_in_vain);
                tracing::debug!(heads = heads.len(), unseen = unseen.len(), "waited in vain");
                unseen
            }
        }
    }

    fn inbound_opening(&self, inbound: &Inbound<'_>, flags: Vec<Text>) -> (Opening, Extracted) {
        let continued = inbound.vouched || self.trusts(inbound.peer);
        let mut headers = inbound.headers;
        if !continued {
            headers.request = None;
        }
        let extract = match self.identifiers().correct {
            false => carrier::extract_wrapped,
            true => carrier::extract_correcting,
        };
        let mut extracted = extract(headers, inbound.b3, continued, self.shape());
        let path = self.keep().path(inbound.path);
        let action = action_name(inbound.method, path);
        let mut opening = self.opening(Direction::Inbound, &action);
        opening.at = inbound.received;
        opening.flags = flags;
        self.note_faults(&extracted, &mut opening.flags);
        opening.request = inbound.request.clone();
        let mut fields = request_fields(inbound.method, path);
        fields.append(&mut opening.request.fields);
        opening.request.fields = fields;
        opening.links = extracted.link.map(Into::into).into_iter().collect();
        let identifier = extracted.identifier.get_or_insert_with(|| {
            let own = Interaction::from_random(self.random());
            extracted.interaction = Some(own);
            self.root(own)
        });
        let (identifier, known) = self.identifiers().levels.in_entry(identifier);
        if !known {
            opening.flags.push("unknown_level".into());
        }
        opening.call = Some(Call {
            identifier,
            interaction: extracted.interaction,
            peer: inbound
                .caller
                .filter(|caller| caller.len() <= CALLER_MAX)
                .map(Into::into),
            peer_host: inbound.peer.map(|peer| peer.to_string().into()),
        });
        (opening, extracted)
    }

    fn root(&self, own: Interaction) -> RequestIdentifier {
        let unix_ms = u64::try_from(self.now().0 / 1_000_000).unwrap_or(0);
        let origin = Origin::new(unix_ms, self.random());
        let depth = self.identifiers().levels.depth(0);
        RequestIdentifier::root(origin, own, self.shape()).at_depth(depth)
    }

    fn note_faults(&self, extracted: &Extracted, flags: &mut Vec<Text>) {
        let metrics = self.metrics();
        let mut note = |fault: bool, counter, flag: &str| {
            if fault {
                count(counter);
                flags.push(flag.into());
            }
        };
        note(
            extracted.native_fault.is_some(),
            &metrics.identifiers_refused,
            "refused_identifier",
        );
        note(
            extracted.sv_fault.is_some(),
            &metrics.sv_refused,
            "refused_sv",
        );
        note(
            extracted.traceparent_fault,
            &metrics.traceparents_refused,
            "refused_traceparent",
        );
        note(extracted.b3_fault, &metrics.b3_refused, "refused_b3");
        note(extracted.link.is_some(), &metrics.contexts_linked, "linked");
        if extracted.disagree {
            flags.push("identifiers_disagree".into());
        }
        if extracted.corrected {
            flags.push("corrected_identifier".into());
        }
        if extracted.ignored_hop {
            flags.push("ignored_hop".into());
        }
    }
}

fn begun(
    opening: Opening,
    extracted: Extracted,
    began_ns: u64,
    heads: SmallVec<[Head; 1]>,
    role: Role,
) -> Begun {
    Begun {
        opening,
        began_ns,
        heads,
        // Our roots are sampled, and their origin is random (W3C Trace Context level 2).
        trace_flags: extracted.flags,
        tracestate: extracted.tracestate,
        b3: extracted.b3,
        // `inbound_opening` has seen to one.
        identifier: extracted.identifier.expect("every request has one"),
        role,
    }
}
