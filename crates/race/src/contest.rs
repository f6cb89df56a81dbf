//! What others see of the race: who starts one, and who makes its answers.
//!
//! Both traits are called from threads that wait for an instant or for the network, so neither may
//! block.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use selvedge_clock::Local;
use thiserror::Error;

/// The longest request that is forwarded: a DNS query with its options fits four times.
pub const REQUEST_MAX: usize = 1024;

/// The longest answer that is raced: it must not be cut into fragments on its way.
pub const ANSWER_MAX: usize = 1232;

/// What answers are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A DNS query, as it came.
    Dns,
    /// A request of our own client.
    Client,
}

/// Names a race: the master's run, and a number that rises within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaceId {
    /// Random, made at the master's start.
    pub epoch: u64,
    /// Strictly rising within the epoch.
    pub sequence: u64,
}

impl fmt::Display for RaceId {
    /// Thirty-two hexadecimal digits: the epoch's sixteen, the sequence's sixteen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.epoch, self.sequence)
    }
}

/// A text that names no race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a race is named by 32 hexadecimal digits in lower case")]
pub struct RaceIdError;

impl FromStr for RaceId {
    type Err = RaceIdError;

    fn from_str(text: &str) -> Result<Self, RaceIdError> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lower) {
            return Err(RaceIdError);
        }
        let part = |text| u64::from_str_radix(text, 16).map_err(|_| RaceIdError);
        Ok(Self {
            epoch: part(&text[..16])?,
            sequence: part(&text[16..])?,
        })
    }
}

/// What a client asked, as the master's machine received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What answers are made from.
    pub kind: Kind,
    /// Where every answer goes.
    pub client: SocketAddr,
    /// The address that was asked, from which every answer comes.
    pub service: SocketAddr,
    /// The request as it came, at most [`REQUEST_MAX`] bytes.
    pub request: Vec<u8>,
    /// When it came, by the kernel's stamp on this machine's clock; now if that is not known.
    pub received: Option<Local>,
    /// The site that won before, if one did: the others send later by the noise between it and them,
    /// so that only a gap that can be told apart takes the win from it.
    pub incumbent: Option<String>,
}

/// Why a race does not start: the caller answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Fewer than two replicas are up with their clocks known.
    #[error("fewer than two replicas can race; /api/v1/races says of each why it cannot")]
    TooFew,
    /// The queue of requests is full.
    #[error("the queue of requests is full")]
    Busy,
    /// Nobody can be answered there: port 0, an unspecified, broadcast or multicast address.
    #[error("no client has such an address")]
    Client,
    /// Longer than [`REQUEST_MAX`].
    #[error("a request of more than 1024 bytes is not raced")]
    TooLong,
    /// Client and service are not of the same family of addresses.
    #[error("client and service are of different families of addresses")]
    Family,
}

/// How a winner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// A resolver went on with one site's answer.
    Dns,
    /// Our client measured it.
    Client,
}

/// The master, for those who start races.
pub trait Races: Send + Sync {
    /// Queues a race. On success the replicas answer the client, or if all stay silent the master
    /// does, so the caller sends nothing.
    ///
    /// The caller vouches for the client's address: a stranger's claim would turn the replicas on
    /// somebody else.
    ///
    /// # Errors
    /// The reason why none starts; the caller answers.
    fn start(&self, call: Call) -> Result<RaceId, Refused>;

    /// Somebody saw who won.
    fn won(&self, race: RaceId, site: &str, evidence: Evidence);

    /// A gap between two sites' answers below this is a tie. The longest there is if one is unknown.
    fn noise(&self, one: &str, other: &str) -> Duration;

    /// The sites that race now.
    fn sites(&self) -> Vec<String>;
}

/// What an answer is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What it is made from.
    pub kind: Kind,
    /// The race, the same at all replicas.
    pub race: RaceId,
    /// Where the answer goes.
    pub client: SocketAddr,
    /// The address that was asked.
    pub service: SocketAddr,
    /// The request as the client sent it.
    pub request: &'a [u8],
    /// The site that answers; none at the master, when all replicas were silent.
    pub site: Option<&'a str>,
}

/// Whoever makes answers, from what it has itself and not from what it was sent.
pub trait Answers: Send + Sync {
    /// The answer as it goes out, at most [`ANSWER_MAX`] bytes, or none: then this site is silent.
    ///
    /// Called before the instant, on one of few threads: what takes longer than the delay is late,
    /// and silent.
    fn answer(&self, asked: &Asked<'_>) -> Option<Vec<u8>>;
}
