//! Datagrams between our client and the service. They prove nothing but, by the cookie, that the
//! client receives what is sent to its address.

use std::net::SocketAddr;

use selvedge_identity::{KeyId, KeyRing, MAC_LENGTH, purpose};

use super::read::{Reader, put_address, put_long, put_short};
use crate::contest::{ANSWER_MAX, REQUEST_MAX, RaceId};

const MAGIC: [u8; 4] = *b"SVA\x01";

/// Bytes of a cookie.
pub const COOKIE_LENGTH: usize = 24;

/// The shortest question: longer than any single answer to one whose source is not proven.
pub const ASK_MIN: usize = 128;

/// The longest path that can be asked for.
pub const PATH_MAX: usize = 255;

/// The most sites that a client tells of.
const MEASURED_MAX: usize = 64;

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// Client to master: let them race to me.
    Ask(Ask),
    /// Master to client: ask again with this, so that I know that you are there.
    Challenge {
        /// The question's.
        nonce: u64,
        /// To be shown in the next question.
        cookie: [u8; COOKIE_LENGTH],
    },
    /// Replica (or master) to client.
    Answer(Answer),
    /// Master to client: no race, with the reason in words.
    Refused {
        /// The question's.
        nonce: u64,
        /// Why.
        reason: String,
    },
    /// Client to master: how the race went.
    Outcome(Outcome),
}

/// What is raced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The server's address.
    Address,
    /// Its content.
    Content,
}

/// A client's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Drawn by the client: answers carry it.
    pub nonce: u64,
    /// What a challenge gave; zeros before.
    pub cookie: [u8; COOKIE_LENGTH],
    /// What is raced.
    pub wanted: Wanted,
    /// The content's path; empty for an address.
    pub path: String,
}

/// A site's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question's.
    pub nonce: u64,
    /// The race.
    pub race: RaceId,
    /// Who answers; empty if the master does, because all were silent.
    pub site: String,
    /// Where it serves HTTP.
    pub url: String,
    /// The content's status and bytes, if it was asked for.
    pub content: Option<(u16, Vec<u8>)>,
}

/// When a site's answer came, after the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Whose.
    pub site: String,
    /// Nanoseconds after the first.
    pub gap: u64,
}

/// How a race went, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub race: RaceId,
    /// The client's cookie.
    pub cookie: [u8; COOKIE_LENGTH],
    /// The answers in the order of their coming; the first is the winner.
    pub measured: Vec<Measured>,
    /// Which site DNS sends this client to, if it asked.
    pub dns: Option<String>,
}

impl ClientFrame {
    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        match self {
            Self::Ask(ask) => {
                out.push(1);
                out.extend_from_slice(&ask.nonce.to_le_bytes());
                out.extend_from_slice(&ask.cookie);
                out.push(match ask.wanted {
                    Wanted::Address => 1,
                    Wanted::Content => 2,
                });
                put_short(&mut out, ask.path.as_bytes());
                if out.len() < ASK_MIN {
                    out.resize(ASK_MIN, 0);
                }
            }
            Self::Challenge { nonce, cookie } => {
                out.push(2);
                out.extend_from_slice(&nonce.to_le_bytes());
                out.extend_from_slice(cookie);
            }
            Self::Answer(answer) => {
                out.push(3);
                out.extend_from_slice(&answer.nonce.to_le_bytes());
                put_race(&mut out, answer.race);
                put_short(&mut out, answer.site.as_bytes());
                put_short(&mut out, answer.url.as_bytes());
                out.push(u8::from(answer.content.is_some()));
                if let Some((status, bytes)) = &answer.content {
                    out.extend_from_slice(&status.to_le_bytes());
                    put_long(&mut out, bytes);
                }
            }
            Self::Refused { nonce, reason } => {
                out.push(4);
                out.extend_from_slice(&nonce.to_le_bytes());
                put_short(&mut out, reason.as_bytes());
            }
            Self::Outcome(outcome) => {
                out.push(5);
                put_race(&mut out, outcome.race);
                out.extend_from_slice(&outcome.cookie);
                let measured = &outcome.measured[..outcome.measured.len().min(MEASURED_MAX)];
                put_short(
                    &mut out,
                    outcome.dns.as_deref().unwrap_or_default().as_bytes(),
                );
                out.push(u8::try_from(measured.len()).unwrap_or(0));
                for one in measured {
                    put_short(&mut out, one.site.as_bytes());
                    out.extend_from_slice(&one.gap.to_le_bytes());
                }
            }
        }
        out
    }

    /// Reads a datagram; none if it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > ANSWER_MAX.max(REQUEST_MAX) {
            return None;
        }
        let mut reader = Reader(bytes);
        if reader.array::<4>()? != MAGIC {
            return None;
        }
        let frame = match reader.u8()? {
            1 => {
                let ask = Ask {
                    nonce: reader.u64()?,
                    cookie: reader.array()?,
                    wanted: match reader.u8()? {
                        1 => Wanted::Address,
                        2 => Wanted::Content,
                        _ => return None,
                    },
                    path: reader.short_text()?.to_owned(),
                };
                let right = match ask.wanted {
                    Wanted::Address => ask.path.is_empty(),
                    // It goes into a request line.
                    Wanted::Content => {
                        ask.path.starts_with('/') && ask.path.bytes().all(|b| b.is_ascii_graphic())
                    }
                };
                let padded =
                    bytes.len() >= ASK_MIN && (reader.0.is_empty() || bytes.len() == ASK_MIN);
                if !right || !padded || reader.0.iter().any(|b| *b != 0) {
                    return None;
                }
                reader.0 = &[];
                Self::Ask(ask)
            }
            2 => Self::Challenge {
                nonce: reader.u64()?,
                cookie: reader.array()?,
            },
            3 => Self::Answer(Answer {
                nonce: reader.u64()?,
                race: race(&mut reader)?,
                site: reader.short_text()?.to_owned(),
                url: reader.short_text()?.to_owned(),
                content: match reader.u8()? {
                    0 => None,
                    1 => Some((reader.u16()?, reader.long()?.to_vec())),
                    _ => return None,
                },
            }),
            4 => Self::Refused {
                nonce: reader.u64()?,
                reason: reader.short_text()?.to_owned(),
            },
            5 => {
                let race = race(&mut reader)?;
                let cookie = reader.array()?;
                let dns = reader.short_text()?;
                let count = reader.u8()?;
                if usize::from(count) > MEASURED_MAX {
                    return None;
                }
                let mut measured = Vec::new();
                for _ in 0..count {
                    measured.push(Measured {
                        site: reader.short_text()?.to_owned(),
                        gap: reader.u64()?,
                    });
                }
                let dns = (!dns.is_empty()).then(|| dns.to_owned());
                Self::Outcome(Outcome {
                    race,
                    cookie,
                    measured,
                    dns,
                })
            }
            _ => return None,
        };
        reader.0.is_empty().then_some(frame)
    }
}

/// The cookie of a client's address in one period: what it has not received it cannot show.
#[must_use]
pub(crate) fn cookie(keys: &KeyRing, client: SocketAddr, period: u64) -> [u8; COOKIE_LENGTH] {
    let (key, mac) = keys.mac(purpose::RACE_COOKIE, &claim(client, period));
    let mut out = [0; COOKIE_LENGTH];
    out[..8].copy_from_slice(&period.to_le_bytes());
    // Periods never need their last byte.
    out[7] = key.number();
    out[8..].copy_from_slice(&mac);
    out
}

/// Whether the cookie is of this address, and of this period or the one before.
#[must_use]
pub(crate) fn proves(
    keys: &KeyRing,
    client: SocketAddr,
    shown: &[u8; COOKIE_LENGTH],
    period: u64,
) -> bool {
    let Some((head, mac)) = shown.split_last_chunk::<MAC_LENGTH>() else {
        return false;
    };
    let Some(key) = KeyId::new(head[7]) else {
        return false;
    };
    [period, period.wrapping_sub(1)].into_iter().any(|period| {
        period.to_le_bytes()[..7] == head[..7]
            && keys
                .verify_mac(purpose::RACE_COOKIE, key, &claim(client, period), mac)
                .is_ok()
    })
}

fn claim(client: SocketAddr, period: u64) -> Vec<u8> {
    let mut claim = period.to_le_bytes().to_vec();
    put_address(&mut claim, SocketAddr::new(client.ip(), 0));
    claim
}

fn put_race(out: &mut Vec<u8>, race: RaceId) {
    out.extend_from_slice(&race.epoch.to_le_bytes());
    out.extend_from_slice(&race.sequence.to_le_bytes());
}

fn race(reader: &mut Reader<'_>) -> Option<RaceId> {
    Some(RaceId {
        epoch: reader.u64()?,
        sequence: reader.u64()?,
    })
}
