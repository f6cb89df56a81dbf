//! The log server: it opens a session for a client that has none, and is the only part that
//! speaks cookies (A3, A4, A9).
//!
//! *In.* Tokens come in `selvedge-session` fields (programs) and in cookies (browsers). Each
//! is checked by itself, the valid ones of one session are united, of several sessions the one
//! with the greatest ordering id wins; with none valid the request gets a fresh session, and why
//! is counted. What goes on to the server is one `selvedge-session` with all heads and one
//! `selvedge-client`; the gateway's cookies, and what only servers may say, are taken out.
//!
//! *Out.* The answer's token goes back the way the client's came. A request with a
//! `selvedge-session` or `selvedge-client` field is a program's: it gets fields and no cookies.
//! One with our cookies is a browser's: it gets cookies ([`crate::jar`]). One with neither may be
//! either: it gets both. (Heads that broadcasts brought decide nothing here: a program sends them
//! beside its token, a page's script beside the cookies.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_entry::Text;
use selvedge_identity::carrier::{self, b3};
use selvedge_identity::{AddressedHead, ClientId, SessionId, SessionToken, TokenError, Union};
use selvedge_node::Node;
use selvedge_relay::{Body, Fields, Response, ResponseHead, is};
use smallvec::SmallVec;

use crate::cookies::{self, Ours};
use crate::jar::{Carried, Jars, Name, fingerprint};
use crate::metrics::Metrics;
use crate::options::CookieOptions;

/// Opens sessions and hands their tokens out.
pub(crate) struct LogServer {
    node: Node,
    metrics: Arc<Metrics>,
    options: CookieOptions,
    /// Sharded by session, so that requests seldom wait for each other.
    jars: [Mutex<Jars<SessionId>>; SHARDS],
}

const SHARDS: usize = 8;

/// One request's session and client, and how to tell its client about them.
pub(crate) struct Visit {
    log_server: Arc<LogServer>,
    pub(crate) session: SessionId,
    pub(crate) client: ClientId,
    /// The token that goes on to the server.
    pub(crate) token: String,
    pub(crate) client_token: String,
    fresh: bool,
    client_fresh: bool,
    way: Way,
    /// A browser's cookies with session tokens.
    carried: Carried,
    /// Why tokens were refused.
    pub(crate) flags: Vec<Text>,
    /// Heads of broadcasts that were.
    heads_refused: usize,
}

/// How a client holds what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Fields,
    Cookies,
    /// Not known yet.
    Both,
}

impl LogServer {
    pub(crate) fn new(node: Node, metrics: Arc<Metrics>, options: CookieOptions) -> Self {
        let sessions_max = options.sessions_max.div_ceil(SHARDS);
        Self {
            node,
            metrics,
            options,
            jars: std::array::from_fn(|_| Mutex::new(Jars::new(sessions_max))),
        }
    }

    /// Finds the request's session and client, or makes them.
    pub(crate) fn admit(self: &Arc<Self>, fields: &Fields) -> Visit {
        let headers: SmallVec<[&[u8]; 2]> = fields.get_all(carrier::SESSION).collect();
        let client_field = fields.get(carrier::CLIENT);
        let ours = Ours::read(fields.get_all("cookie"));
        let of_a_program = client_field.is_some() || !headers.iter().all(|value| is_heads(value));
        let way = if of_a_program {
            Way::Fields
        } else if ours.is_empty() {
            Way::Both
        } else {
            Way::Cookies
        };

        let values = headers
            .iter()
            .copied()
            .chain(ours.tokens.iter().map(|(_, token)| *token));
        let union = SessionToken::unite(values.clone(), self.node.keys());
        let flags = self.node.count_refused(&union);
        let fresh = union.token.is_none();
        if fresh {
            self.metrics.sessions_fresh.count(reason(&union));
        }
        let token = match &union.token {
            Some(token) => sole(values, &union).unwrap_or_else(|| token.sign(self.node.keys())),
            None => {
                let session = SessionId::from_random(self.node.random());
                SessionToken::new(session, []).sign(self.node.keys())
            }
        };
        let session = union.token.as_ref().map_or_else(
            // The text was just written from it.
            || SessionId::parse(&token.as_bytes()[..SessionId::LENGTH * 2]).ok(),
            |token| Some(token.session),
        );
        let session = session.unwrap_or_else(|| SessionId::from_random(self.node.random()));

        let client_text = client_field.or(ours.client);
        let known = client_text.and_then(|text| {
            let client = ClientId::verify(text.trim_ascii(), self.node.keys()).ok()?;
            let text = str::from_utf8(text.trim_ascii()).ok()?;
            Some((client, text.to_owned()))
        });
        let client_fresh = known.is_none();
        let (client, client_token) = known.unwrap_or_else(|| {
            let why = if client_text.is_some() {
                "refused"
            } else {
                "new"
            };
            self.metrics.clients_fresh.count(why);
            let client = ClientId::from_random(self.node.random());
            (client, client.sign(self.node.keys()))
        });

        let mut carried = Carried::new();
        if way == Way::Cookies && !ours.tokens.is_empty() {
            let tokens = ours.tokens.iter();
            carried.extend(tokens.map(|&(name, token)| (name, fingerprint(token))));
            self.jars(session).came(session, &carried);
        }
        Visit {
            log_server: Arc::clone(self),
            session,
            client,
            token,
            client_token,
            fresh,
            client_fresh,
            way,
            carried,
            flags,
            heads_refused: union.heads_refused,
        }
    }

    /// The session that a request's tokens are of; it is not asked for more than that.
    pub(crate) fn session(&self, fields: &Fields) -> Option<SessionId> {
        let ours = Ours::read(fields.get_all("cookie"));
        let cookies = ours.tokens.iter().map(|(_, token)| *token);
        let values = fields.get_all(carrier::SESSION).chain(cookies);
        Some(SessionToken::unite(values, self.node.keys()).token?.session)
    }

    /// Answers a browser whose page gives back heads that broadcasts brought: its cookies get them.
    pub(crate) fn unite(self: &Arc<Self>, fields: &Fields) -> Response {
        let values = fields.get_all(carrier::SESSION);
        let heads = values
            .flat_map(tokens)
            .filter(|t| AddressedHead::is_meant(t));
        let heads = heads.count();
        if heads == 0 {
            let text = "post a broadcast's head in the field selvedge-session\n";
            return Response::text(400, text);
        }
        let visit = self.admit(fields);
        if visit.fresh || visit.heads_refused == heads {
            let text = "these heads are not of the session that the request is of\n";
            return Response::text(403, text);
        }
        let mut head = ResponseHead::new(204);
        head.fields.append(carrier::SESSION, &visit.token);
        visit.mark_answer(&mut head.fields);
        Response {
            head,
            body: Body::empty(),
            tunnel: None,
        }
    }

    fn jars(&self, session: SessionId) -> MutexGuard<'_, Jars<SessionId>> {
        let shard = usize::from(session.as_bytes()[0]) % SHARDS;
        self.jars[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// Takes out of a request what its client may not say or the server need not see, and puts in
    /// session and client.
    pub(crate) fn mark_request(&self, fields: &mut Fields) {
        let mut cookies: SmallVec<[Option<Vec<u8>>; 1]> = SmallVec::new();
        fields.retain(|name, value| {
            if is(name, "cookie") {
                let rest = cookies::without_ours(value);
                if rest.as_deref() == Some(value) {
                    return true;
                }
                cookies.push(rest);
                return false;
            }
            !is_identifying(name)
        });
        for cookie in cookies.into_iter().flatten() {
            fields.append("cookie", cookie);
        }
        fields.append(carrier::SESSION, &self.token);
        fields.append(carrier::CLIENT, &self.client_token);
    }

    /// Puts the session's news into the answer, in place of the server's own words on it.
    pub(crate) fn mark_answer(mut self, fields: &mut Fields) {
        let keys = self.log_server.node.keys();
        // A server that is none of ours can say nothing about sessions.
        let moved = fields.get_all(carrier::SESSION).find_map(|value| {
            let token = SessionToken::verify(value.trim_ascii(), keys).ok()?;
            let text = str::from_utf8(value.trim_ascii()).ok()?;
            (token.session == self.session).then(|| text.to_owned())
        });
        fields.retain(|name, _| !is_identifying(name));
        if let Some(token) = moved.or_else(|| self.fresh.then(|| std::mem::take(&mut self.token))) {
            if self.way != Way::Cookies {
                fields.append(carrier::SESSION, &token);
            }
            if self.way != Way::Fields {
                self.set_cookies(&token, fields);
            }
        }
        if self.client_fresh {
            if self.way != Way::Cookies {
                fields.append(carrier::CLIENT, &self.client_token);
            }
            if self.way != Way::Fields {
                let secure = self.log_server.options.secure;
                let cookie = cookies::set_client(&self.client_token, secure);
                fields.append("set-cookie", cookie);
            }
        }
    }

    fn set_cookies(&self, token: &str, fields: &mut Fields) {
        let secure = self.log_server.options.secure;
        if self.carried.is_empty() {
            let cookie = cookies::set_token(Name::of(token), token, secure);
            fields.append("set-cookie", cookie);
            return;
        }
        let mut jars = self.log_server.jars(self.session);
        let change = jars.answered(self.session, &self.carried, token);
        drop(jars);
        fields.append("set-cookie", cookies::set_token(change.set, token, secure));
        for name in change.clear {
            fields.append("set-cookie", cookies::clear_token(name, secure));
        }
    }
}

/// Fields that only the gateway and the servers set.
fn is_identifying(name: &[u8]) -> bool {
    // Nearly all names end the test at their first letter.
    b3::is_name(name)
        || matches!(name.first(), Some(b's' | b'S' | b't' | b'T'))
            && [
                carrier::SESSION,
                carrier::CARRIED,
                carrier::CLIENT,
                carrier::CALLER,
                carrier::REQUEST,
                carrier::TRACEPARENT,
                carrier::TRACESTATE,
            ]
            .iter()
            .any(|ours| is(name, ours))
}

/// The one token that came, if it says all that there is to say: it need not be signed again.
fn sole<'a>(values: impl Iterator<Item = &'a [u8]>, union: &Union) -> Option<String> {
    if !union.refused.is_empty() || union.other_sessions > 0 {
        return None;
    }
    let mut values = values
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty());
    let only = values.next().filter(|value| !value.contains(&b','))?;
    if values.next().is_some() {
        return None;
    }
    str::from_utf8(only).ok().map(str::to_owned)
}

/// The tokens of one value.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    all.filter(|token| !token.is_empty())
}

/// Whether a value holds heads of broadcasts and nothing else: a page's script may have sent it.
fn is_heads(value: &[u8]) -> bool {
    let mut tokens = tokens(value).peekable();
    tokens.peek().is_some() && tokens.all(AddressedHead::is_meant)
}

/// Why a request got a fresh session.
fn reason(union: &Union) -> &'static str {
    match union.refused.first() {
        None => "new",
        Some(TokenError::Malformed) => "malformed",
        Some(TokenError::Oversized) => "oversized",
        Some(TokenError::UnknownKey) => "unknown_key",
        Some(TokenError::Forged) => "forged",
    }
}
