//! From the bytes of a message to the bytes of its answer.
//!
//! A [`Responder`] is one thread's: it holds the zones, a rate limit and counters, and allocates
//! nothing for names that are not steered. Time and randomness are arguments.

mod raced;
mod steer;
mod write;

use core::net::SocketAddr;
use std::sync::Arc;

use crate::authority::{Authority, any_contains};
use crate::body::Body;
use crate::counts::{Count, Counts};
use crate::limit::{LimitOptions, Limiter, Verdict};
use crate::name::{NAME_MAX, lower};
use crate::query::{self, Malformed, PLAIN_MAX, Query, kind, rcode};
use crate::zone::{Found, Zones};
use write::{Answer, Opt};

/// Bytes of an answer over TCP at most.
const TCP_MAX: usize = 0xffff;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// As a datagram to that address of ours.
    Udp(SocketAddr),
    /// Over a connection, so that its source is proven.
    Tcp,
}

/// What time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Seconds since 1970.
    pub unix_s: u64,
    /// Milliseconds of a steady clock.
    pub steady_ms: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer is in the buffer.
    Send,
    /// There is none.
    Silent,
}

/// One thread's part of a name server.
#[derive(Debug)]
pub struct Responder {
    pub(crate) authority: Arc<Authority>,
    zones: Arc<Zones>,
    generation: u64,
    limiter: Limiter,
    pub(crate) counts: Counts,
}

/// A query, and what its answering needs.
struct Asked<'a> {
    query: Query<'a>,
    /// Its name in lower case.
    key: &'a [u8],
    from: SocketAddr,
    via: Via,
    now: Now,
    random: u64,
    /// Whether its cookie proves its source.
    cookie_proves: bool,
    answer: Answer<'a>,
    /// The query as it came.
    message: &'a [u8],
}

impl Responder {
    /// A thread's part of that name server.
    #[must_use]
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            zones: authority.zones(),
            generation: authority.generation(),
            limiter: Limiter::new(authority.options.limit, authority.seed()),
            counts: Counts::default(),
            authority,
        }
    }

    /// One for connections, whose sources are proven: without a limit.
    #[must_use]
    pub fn unlimited(authority: Arc<Authority>) -> Self {
        let options = LimitOptions {
            per_s: 0,
            ..authority.options.limit
        };
        Self {
            zones: authority.zones(),
            generation: authority.generation(),
            limiter: Limiter::new(options, 0),
            counts: Counts::default(),
            authority,
        }
    }

    /// Hands its counters in. To be called now and then.
    pub fn hand_in(&mut self) {
        self.authority.count(&mut self.counts);
    }

    /// Takes newer zones, if there are.
    fn renew(&mut self) {
        let generation = self.authority.generation();
        if generation != self.generation {
            self.generation = generation;
            self.zones = self.authority.zones();
        }
    }

    /// Something of the transport's to be counted.
    pub fn count(&mut self, count: Count) {
        self.counts.add(count);
    }

    /// Answers a message into `out`, which is emptied first.
    pub fn respond(
        &mut self,
        message: &[u8],
        from: SocketAddr,
        via: Via,
        now: Now,
        random: u64,
        out: &mut Vec<u8>,
    ) -> Reply {
        out.clear();
        self.renew();
        self.counts.add(match via {
            Via::Udp(_) => Count::Udp,
            Via::Tcp => Count::Tcp,
        });
        if !is_possible(from) {
            self.counts.add(Count::NoSource);
            return Reply::Silent;
        }
        let query = match query::read(message) {
            Ok(query) => query,
            Err(Malformed::Silent) => {
                self.counts.add(Count::NoQuery);
                return Reply::Silent;
            }
            Err(Malformed::Told {
                id,
                opcode,
                recursion_desired,
                question,
                rcode,
            }) => {
                self.counts.add(match rcode {
                    rcode::NOT_IMPLEMENTED => Count::NotImplemented,
                    _ => Count::Malformed,
                });
                let flags = u16::from(opcode) << 11 | u16::from(recursion_desired) << 8;
                let answer = Answer::new(id, flags, question, None, PLAIN_MAX);
                return self.limited(
                    from,
                    via,
                    now,
                    u64::from(rcode),
                    false,
                    &answer,
                    out,
                    |out| {
                        answer.error(rcode, out);
                    },
                );
            }
        };
        let mut room = [0; NAME_MAX];
        let key = lower(query.name(), &mut room);
        // The answer borrows the server's name, and this thread's state changes meanwhile.
        let authority = self.authority.clone();
        let (answer, cookie_proves) = prepare(&authority, &query, from, via, now);
        if cookie_proves {
            self.counts.add(Count::Cookies);
        }
        let asked = Asked {
            query,
            key,
            from,
            via,
            now,
            random,
            cookie_proves,
            answer,
            message,
        };
        self.answer(&asked, out)
    }

    fn answer(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) -> Reply {
        let query = &asked.query;
        if query.edns.is_some_and(|edns| edns.version > 0) {
            self.counts.add(Count::NotImplemented);
            return self.error(asked, rcode::BAD_VERSION, out);
        }
        if query.question.is_empty() {
            // A query for a cookie alone.
            self.counts.add(Count::Answered);
            return self.error(asked, rcode::NO_ERROR, out);
        }
        // Transfers and other types of queries, but for "everything".
        let transfer = matches!(query.kind, 128..=254 | 0);
        if query.class != 1 || transfer {
            self.counts.add(Count::Refused);
            return self.error(asked, rcode::REFUSED, out);
        }
        let zones = self.zones.clone();
        match zones.find(asked.key, query.kind) {
            Found::Elsewhere => {
                self.counts.add(Count::Refused);
                self.error(asked, rcode::REFUSED, out)
            }
            Found::Body(body, identity) => {
                self.counts.add(match body.counts {
                    [0, _, _] if !body.authoritative => Count::Referred,
                    [0, _, _] => Count::Negative,
                    _ => Count::Answered,
                });
                self.body(asked, body, identity, out)
            }
            Found::Everything => {
                self.counts.add(Count::Answered);
                self.send(asked, u64::from(kind::ANY), out, |out| {
                    asked.answer.everything(out);
                    true
                })
            }
            Found::Steered(policed) => self.steered(asked, &zones, policed, out),
            Found::BelowRace(policed) => self.below_race(asked, &zones, policed, out),
        }
    }

    fn error(&mut self, asked: &Asked<'_>, rcode: u16, out: &mut Vec<u8>) -> Reply {
        self.send(asked, u64::from(rcode), out, |out| {
            asked.answer.error(rcode, out);
            true
        })
    }

    fn body(&mut self, asked: &Asked<'_>, body: &Body, identity: u64, out: &mut Vec<u8>) -> Reply {
        self.send(asked, identity, out, |out| asked.answer.body(body, out))
    }

    /// As [`Self::limited`], of a question that is understood; `write` says whether all of it fitted.
    fn send(
        &mut self,
        asked: &Asked<'_>,
        identity: u64,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Reply {
        let mut truncated = false;
        let reply = self.limited(
            asked.from,
            asked.via,
            asked.now,
            identity,
            asked.cookie_proves,
            &asked.answer,
            out,
            |out| truncated = !write(out),
        );
        if truncated {
            self.counts.add(Count::Truncated);
        }
        reply
    }

    /// Sends what `write` writes, unless the source had enough of it.
    #[allow(
        clippy::too_many_arguments,
        reason = "the one place where all of them meet"
    )]
    fn limited(
        &mut self,
        from: SocketAddr,
        via: Via,
        now: Now,
        identity: u64,
        proves: bool,
        answer: &Answer<'_>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Reply {
        match self.charge(from, via, now, identity, proves, 1) {
            Verdict::Send => {
                write(out);
                Reply::Send
            }
            Verdict::Slip => {
                self.counts.add(Count::Slipped);
                answer.cut_short(out);
                Reply::Send
            }
            Verdict::Drop => {
                self.counts.add(Count::Limited);
                Reply::Silent
            }
        }
    }

    /// Whoever shows with this very message that it gets what is sent to it is not limited.
    fn charge(
        &mut self,
        from: SocketAddr,
        via: Via,
        now: Now,
        identity: u64,
        proves: bool,
        answers: u32,
    ) -> Verdict {
        let unlimited = &self.authority.options.unlimited;
        if proves || via == Via::Tcp || any_contains(unlimited, from.ip()) {
            return Verdict::Send;
        }
        self.limiter
            .charge(from.ip(), identity, answers, now.steady_ms)
    }
}

/// What an answer to that query begins and ends with, and whether its cookie proves its source.
fn prepare<'a>(
    authority: &'a Authority,
    query: &Query<'a>,
    from: SocketAddr,
    via: Via,
    now: Now,
) -> (Answer<'a>, bool) {
    let options = &authority.options;
    let mut cookie_proves = false;
    let opt = query.edns.map(|edns| {
        let cookie = edns.cookie.map(|cookie| {
            let (secrets, address) = (&authority.secrets, from.ip().to_canonical());
            let now_s = now.unix_s as u32;
            let right = secrets.check(&cookie.client, cookie.server, address, now_s);
            cookie_proves = right.is_some();
            let server = right.unwrap_or_else(|| secrets.make(&cookie.client, address, now_s));
            (cookie.client, server)
        });
        let nsid = edns.nsid && !options.nsid.is_empty();
        Opt {
            size: options.udp_bytes_max as u16,
            dnssec_ok: edns.dnssec_ok,
            nsid: nsid.then_some(&options.nsid),
            cookie,
        }
    });
    let limit = match via {
        Via::Tcp => TCP_MAX,
        Via::Udp(_) => {
            let size = query.edns.map_or(0, |edns| usize::from(edns.size));
            size.clamp(PLAIN_MAX, options.udp_bytes_max.max(PLAIN_MAX))
        }
    };
    let flags = u16::from(query.recursion_desired) << 8 | u16::from(query.checking_disabled) << 4;
    let answer = Answer::new(query.id, flags, query.question, opt, limit);
    (answer, cookie_proves)
}

/// Whether somebody can have that address and port.
fn is_possible(from: SocketAddr) -> bool {
    let address = from.ip().to_canonical();
    let broadcast = matches!(address, core::net::IpAddr::V4(address) if address.is_broadcast());
    from.port() != 0 && !address.is_multicast() && !address.is_unspecified() && !broadcast
}

#[cfg(test)]
pub(crate) mod tests;
