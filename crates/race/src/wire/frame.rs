//! Frames between master and replicas. Each proves by a keyed hash that it is of the fleet, from the
//! side that it says, and for or from this site and no other.

use std::net::SocketAddr;

use selvedge_clock::{Common, Estimate, External, Local, Nanos};
use selvedge_identity::{KeyId, KeyRing, MAC_LENGTH, purpose};
use thiserror::Error;

use super::read::{Reader, put_address, put_long, put_short};
use crate::contest::{Kind, REQUEST_MAX};
use crate::identifier::TransmitIdentifier;

/// The longest frame.
pub const FRAME_MAX: usize = 1400;

const MAGIC: [u8; 4] = *b"SVR\x01";

/// Who sends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The master.
    Master,
    /// A replica.
    Replica,
}

impl Side {
    fn purpose(self) -> &'static str {
        match self {
            Self::Master => purpose::RACE_MASTER,
            Self::Replica => purpose::RACE_REPLICA,
        }
    }
}

/// The run of the sender's master, and a number that rises in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The master's run.
    pub epoch: u64,
    /// From the master: strictly rising. From a replica: of the frame that it answers.
    pub sequence: u64,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Master: the first two stamps of an exchange, and what the last ones showed.
    Probe(Probe),
    /// Replica: the middle two.
    Echo(Echo),
    /// Master: a race's request.
    Forward(Forward),
    /// Master: the event of this number happened, now.
    Signal(u64),
    /// Replica: what became of a race here.
    Report(Report),
}

/// The master's part of an exchange of four stamps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// The replica's nonce as the master last heard it; 0 if it has not. A replica takes up an epoch
    /// by a probe that holds its nonce, so that no recorded one can make it.
    pub nonce: u64,
    /// When it was sent.
    pub sent: Common,
    /// The replica's clock by the exchanges so far.
    pub estimate: Option<Estimate>,
}

/// A replica's part of an exchange of four stamps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Echo {
    /// What the replica wants to see in the next probe of a new master.
    pub nonce: u64,
    /// The replica's run, drawn at its start: another one has another clock, perhaps.
    pub run: u64,
    /// Whether it can tell the common clock: it has had a probe with an estimate from this master.
    pub clocked: bool,
    /// The probe's.
    pub sent: Common,
    /// When the probe came.
    pub received: Local,
    /// When this left.
    pub answered: Local,
    /// What disciplines the replica's wall clock says.
    pub external: Option<External>,
}

/// A race's request, as the master hands it to a replica (C5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The race's number in its epoch.
    pub race: u64,
    /// The event upon which to answer.
    pub identifier: TransmitIdentifier,
    /// So much later than the event: to audit a bias, or an incumbent's head start.
    pub handicap: Nanos,
    /// What the answer is made from.
    pub kind: Kind,
    /// Where the answer goes.
    pub client: SocketAddr,
    /// Where the answer comes from.
    pub service: SocketAddr,
    /// The client's request, as it came.
    pub request: Vec<u8>,
}

/// Why a replica is silent in a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The instant was past, or its answer came after it, or sending was held up.
    Late,
    /// The instant is farther ahead than any race's.
    Far,
    /// It knows no common clock yet.
    Clock,
    /// Too many answers wait already.
    Full,
    /// It has no answer to this.
    Answer,
    /// It does not serve the address that was asked.
    Service,
    /// Nobody can be answered there.
    Client,
    /// The socket did not take it.
    Send,
}

const SILENCES: [Silence; 8] = [
    Silence::Late,
    Silence::Far,
    Silence::Clock,
    Silence::Full,
    Silence::Answer,
    Silence::Service,
    Silence::Client,
    Silence::Send,
];

impl Silence {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Far => "far",
            Self::Clock => "clock",
            Self::Full => "full",
            Self::Answer => "answer",
            Self::Service => "service",
            Self::Client => "client",
            Self::Send => "send",
        }
    }

    /// All there are.
    #[must_use]
    pub fn all() -> [Self; 8] {
        SILENCES
    }
}

/// An answer that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it should have left here, by the common clock.
    pub due: Common,
    /// When it did.
    pub at: Common,
}

/// What became of a race at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The race's number in its epoch.
    pub race: u64,
    /// The answer that left, or why none did.
    pub outcome: Result<Sent, Silence>,
}

/// What is no frame for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Not of our form or version, cut off, or with something left over.
    #[error("not a frame of a race")]
    Foreign,
    /// Made with a key that the fleet does not have, or by nobody of the fleet, or for another site.
    #[error(
        "a frame that the fleet's keys do not prove for this site: do both sides have the same keys and name?"
    )]
    Forged,
}

impl Frame {
    fn code(&self) -> u8 {
        match self {
            Self::Probe(_) => 1,
            Self::Forward(_) => 2,
            Self::Signal(_) => 3,
            Self::Echo(_) => 16,
            Self::Report(_) => 17,
        }
    }

    /// Which side sends it.
    #[must_use]
    pub fn side(&self) -> Side {
        if self.code() < 16 {
            Side::Master
        } else {
            Side::Replica
        }
    }

    /// The bytes of it, with the proof for or from `site`.
    #[must_use]
    pub fn seal(&self, header: Header, site: &str, keys: &KeyRing) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(&MAGIC);
        out.push(self.code());
        let key_at = out.len();
        out.push(0);
        out.extend_from_slice(&header.epoch.to_le_bytes());
        out.extend_from_slice(&header.sequence.to_le_bytes());
        self.put_body(&mut out);
        out[key_at] = keys.signer().number();
        let (_, mac) = keys.mac(self.side().purpose(), &proven(&out, site));
        out.extend_from_slice(&mac);
        out
    }

    /// Reads a frame of one side, proven for or from `site`.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn open(
        bytes: &[u8],
        from: Side,
        site: &str,
        keys: &KeyRing,
    ) -> Result<(Header, Self), FrameError> {
        let (signed, mac) = bytes
            .split_last_chunk::<MAC_LENGTH>()
            .ok_or(FrameError::Foreign)?;
        if bytes.len() > FRAME_MAX {
            return Err(FrameError::Foreign);
        }
        let mut reader = Reader(signed);
        let magic = reader.array::<4>().ok_or(FrameError::Foreign)?;
        let code = reader.u8().ok_or(FrameError::Foreign)?;
        let key = reader
            .u8()
            .and_then(KeyId::new)
            .ok_or(FrameError::Foreign)?;
        if magic != MAGIC || (code < 16) != (from == Side::Master) {
            return Err(FrameError::Foreign);
        }
        keys.verify_mac(from.purpose(), key, &proven(signed, site), mac)
            .map_err(|_| FrameError::Forged)?;
        Self::parse(code, reader).ok_or(FrameError::Foreign)
    }

    fn parse(code: u8, mut reader: Reader<'_>) -> Option<(Header, Self)> {
        let header = Header {
            epoch: reader.u64()?,
            sequence: reader.u64()?,
        };
        let frame = Self::body(code, &mut reader)?;
        reader.0.is_empty().then_some((header, frame))
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Probe(probe) => {
                out.extend_from_slice(&probe.nonce.to_le_bytes());
                out.extend_from_slice(&probe.sent.0.to_le_bytes());
                out.push(u8::from(probe.estimate.is_some()));
                let estimate = probe.estimate.unwrap_or(NO_ESTIMATE);
                for value in [estimate.at.0, estimate.offset] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
                out.extend_from_slice(&estimate.rate.to_bits().to_le_bytes());
                for value in [estimate.noise, estimate.bound] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
                // As long as the echo, so that an echo never is more than what asked for it.
                out.extend_from_slice(&[0; 9]);
            }
            Self::Echo(echo) => {
                for value in [echo.nonce, echo.run] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
                out.push(u8::from(echo.clocked));
                for value in [echo.sent.0, echo.received.0, echo.answered.0] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
                out.push(u8::from(echo.external.is_some()));
                let external = echo.external.unwrap_or(External {
                    at: Local(0),
                    offset: 0,
                    bound: 0,
                });
                for value in [external.at.0, external.offset, external.bound] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
            Self::Forward(forward) => {
                let (event, value) = match forward.identifier {
                    TransmitIdentifier::At(Common(at)) => (1, at.to_le_bytes()),
                    TransmitIdentifier::Signal(number) => (2, number.to_le_bytes()),
                };
                out.extend_from_slice(&forward.race.to_le_bytes());
                out.push(event);
                out.extend_from_slice(&value);
                out.extend_from_slice(&forward.handicap.to_le_bytes());
                out.push(match forward.kind {
                    Kind::Dns => 1,
                    Kind::Client => 2,
                });
                put_address(out, forward.client);
                put_address(out, forward.service);
                put_long(out, &forward.request);
            }
            Self::Signal(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Report(Report { race, outcome }) => {
                out.extend_from_slice(&race.to_le_bytes());
                let (code, sent) = match outcome {
                    Ok(sent) => (0, *sent),
                    Err(silence) => (
                        silence_code(*silence),
                        Sent {
                            due: Common(0),
                            at: Common(0),
                        },
                    ),
                };
                out.push(code);
                out.extend_from_slice(&sent.due.0.to_le_bytes());
                out.extend_from_slice(&sent.at.0.to_le_bytes());
            }
        }
    }

    fn body(code: u8, reader: &mut Reader<'_>) -> Option<Self> {
        Some(match code {
            1 => {
                let nonce = reader.u64()?;
                let sent = Common(reader.i64()?);
                let known = flag(reader.u8()?)?;
                let estimate = Estimate {
                    at: Local(reader.i64()?),
                    offset: reader.i64()?,
                    rate: f64::from_bits(reader.u64()?),
                    noise: reader.i64()?,
                    bound: reader.i64()?,
                };
                let right = if known {
                    // NaN is refused, too.
                    estimate.rate.abs() < 0.001 && estimate.noise >= 0 && estimate.bound >= 0
                } else {
                    estimate == NO_ESTIMATE && estimate.rate.is_sign_positive()
                };
                if !right || reader.array()? != [0; 9] {
                    return None;
                }
                Self::Probe(Probe {
                    nonce,
                    sent,
                    estimate: known.then_some(estimate),
                })
            }
            2 => {
                let race = reader.u64()?;
                let event = reader.u8()?;
                let value = reader.array()?;
                let identifier = match event {
                    1 => TransmitIdentifier::At(Common(i64::from_le_bytes(value))),
                    2 => TransmitIdentifier::Signal(u64::from_le_bytes(value)),
                    _ => return None,
                };
                let handicap = reader.i64()?;
                let kind = match reader.u8()? {
                    1 => Kind::Dns,
                    2 => Kind::Client,
                    _ => return None,
                };
                let client = reader.address()?;
                let service = reader.address()?;
                let request = reader.long()?;
                if request.len() > REQUEST_MAX || handicap < 0 {
                    return None;
                }
                Self::Forward(Forward {
                    race,
                    identifier,
                    handicap,
                    kind,
                    client,
                    service,
                    request: request.to_vec(),
                })
            }
            3 => Self::Signal(reader.u64()?),
            16 => {
                let nonce = reader.u64()?;
                let run = reader.u64()?;
                let clocked = flag(reader.u8()?)?;
                let sent = Common(reader.i64()?);
                let received = Local(reader.i64()?);
                let answered = Local(reader.i64()?);
                let known = flag(reader.u8()?)?;
                let external = External {
                    at: Local(reader.i64()?),
                    offset: reader.i64()?,
                    bound: reader.i64()?,
                };
                if external.bound < 0
                    || (!known
                        && external
                            != (External {
                                at: Local(0),
                                offset: 0,
                                bound: 0,
                            }))
                {
                    return None;
                }
                let external = known.then_some(external);
                Self::Echo(Echo {
                    nonce,
                    run,
                    clocked,
                    sent,
                    received,
                    answered,
                    external,
                })
            }
            17 => {
                let race = reader.u64()?;
                let code = reader.u8()?;
                let sent = Sent {
                    due: Common(reader.i64()?),
                    at: Common(reader.i64()?),
                };
                let outcome = match code {
                    0 => Ok(sent),
                    code => {
                        let silence = SILENCES.into_iter().find(|s| silence_code(*s) == code)?;
                        (sent
                            == Sent {
                                due: Common(0),
                                at: Common(0),
                            })
                        .then_some(Err(silence))?
                    }
                };
                Self::Report(Report { race, outcome })
            }
            _ => return None,
        })
    }
}

const NO_ESTIMATE: Estimate = Estimate {
    at: Local(0),
    offset: 0,
    rate: 0.0,
    noise: 0,
    bound: 0,
};

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn silence_code(silence: Silence) -> u8 {
    match silence {
        Silence::Late => 1,
        Silence::Far => 2,
        Silence::Clock => 3,
        Silence::Full => 4,
        Silence::Answer => 5,
        Silence::Service => 6,
        Silence::Client => 7,
        Silence::Send => 8,
    }
}

/// The site goes into the proof, not onto the wire: what is for one site is nothing at another.
fn proven(signed: &[u8], site: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(signed.len() + site.len() + 1);
    put_short(&mut out, site.as_bytes());
    out.extend_from_slice(signed);
    out
}
