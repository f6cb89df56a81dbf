//! Our own client's race: one question to the master, and the sites' answers as they come (C7).

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use selvedge_clock::{Local, Nanos};
use thiserror::Error;

use crate::contest::{ANSWER_MAX, RaceId};
use crate::error::{RaceError, random};
use crate::host::HostClock;
use crate::net;
use crate::wire::{Answer, Ask, COOKIE_LENGTH, ClientFrame, Measured, Outcome, Wanted};

/// A question is sent so often before the client gives up.
const TRIES: u32 = 3;

/// The most answers that are kept.
const ANSWERS_MAX: usize = 64;

/// What a client races for.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The master, whose address is the service's.
    pub master: SocketAddr,
    /// What is raced.
    pub wanted: Wanted,
    /// The content's path.
    pub path: String,
    /// How long one try waits for the first answer.
    pub first: Duration,
    /// How long after the first the rest is measured.
    pub rest: Duration,
}

impl ClientOptions {
    /// For an address, a second for the first answer, 300 ms for the rest.
    #[must_use]
    pub fn new(master: SocketAddr) -> Self {
        Self {
            master,
            wanted: Wanted::Address,
            path: String::new(),
            first: Duration::from_secs(1),
            rest: Duration::from_millis(300),
        }
    }
}

/// An answer that came.
#[derive(Clone, Debug)]
pub struct Came {
    /// The answer.
    pub answer: Answer,
    /// So long after the first.
    pub gap: Nanos,
}

/// A race as its client saw it.
#[derive(Debug)]
pub struct Raced {
    /// Which.
    pub race: RaceId,
    /// The answers in the order of their coming; the first is the winner.
    pub came: Vec<Came>,
    /// From the question that was answered to the first answer: the race's delay is in it.
    pub took: Nanos,
    socket: UdpSocket,
    master: SocketAddr,
    cookie: [u8; COOKIE_LENGTH],
}

/// Why there is no winner.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The master does not let them race for us.
    #[error("no race: {0}")]
    Refused(String),
    /// Nothing came.
    #[error("no answer from {0}/udp: is it the address of a master, and is its port reached?")]
    Silent(SocketAddr),
    /// The path cannot be asked for.
    #[error("the path {0:?} is not 1 to 255 printable characters that begin with a slash")]
    Path(String),
    /// No socket.
    #[error("no socket for the race: {0}")]
    Socket(#[from] std::io::Error),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RaceError),
}

/// Asks the master, and waits for the sites' answers. It blocks for as long as the options say.
///
/// # Errors
/// See [`ClientError`].
pub fn race(options: &ClientOptions) -> Result<Raced, ClientError> {
    let clock = HostClock::default();
    let any: SocketAddr = match options.master {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = net::bind(any, options.first)?;
    let mut ask = Ask {
        nonce: random()?,
        cookie: [0; COOKIE_LENGTH],
        wanted: options.wanted,
        path: options.path.clone(),
    };
    // It reads it as the master will.
    if ClientFrame::decode(&ClientFrame::Ask(ask.clone()).encode())
        != Some(ClientFrame::Ask(ask.clone()))
    {
        return Err(ClientError::Path(options.path.clone()));
    }
    let mut tries = 0;
    loop {
        if tries == TRIES {
            return Err(ClientError::Silent(options.master));
        }
        tries += 1;
        let asked = clock.now();
        socket.send_to(&ClientFrame::Ask(ask.clone()).encode(), options.master)?;
        let until = Instant::now() + options.first;
        while let Some((frame, at)) = next(&socket, options.master, &clock, until)? {
            match frame {
                ClientFrame::Challenge { nonce, cookie }
                    if nonce == ask.nonce && cookie != ask.cookie =>
                {
                    ask.cookie = cookie;
                    tries -= 1;
                    break;
                }
                ClientFrame::Refused { nonce, reason } if nonce == ask.nonce => {
                    return Err(ClientError::Refused(reason));
                }
                ClientFrame::Answer(answer) if answer.nonce == ask.nonce => {
                    return rest(socket, options, &clock, ask.cookie, answer, at, at - asked);
                }
                _ => {}
            }
        }
        // A master that gives cookies for ever is none.
        if ask.cookie != [0; COOKIE_LENGTH] && tries == 0 {
            tries = 1;
        }
    }
}

/// Takes what comes after the winner.
fn rest(
    socket: UdpSocket,
    options: &ClientOptions,
    clock: &HostClock,
    cookie: [u8; COOKIE_LENGTH],
    winner: Answer,
    first: Local,
    took: Nanos,
) -> Result<Raced, ClientError> {
    let race = winner.race;
    let nonce = winner.nonce;
    let mut came = vec![Came {
        answer: winner,
        gap: 0,
    }];
    let until = Instant::now() + options.rest;
    while let Some((frame, at)) = next(&socket, options.master, clock, until)? {
        if let ClientFrame::Answer(answer) = frame
            && answer.nonce == nonce
            && answer.race == race
            && came.iter().all(|other| other.answer.site != answer.site)
            && came.len() < ANSWERS_MAX
        {
            came.push(Came {
                answer,
                gap: at - first,
            });
        }
    }
    // The kernel's stamps say who was first, not the order of reading.
    came.sort_by_key(|came| came.gap);
    let before = came[0].gap;
    for one in &mut came {
        one.gap -= before;
    }
    Ok(Raced {
        race,
        came,
        took: took + before,
        socket,
        master: options.master,
        cookie,
    })
}

/// The next datagram from the service's address until then.
fn next(
    socket: &UdpSocket,
    master: SocketAddr,
    clock: &HostClock,
    until: Instant,
) -> Result<Option<(ClientFrame, Local)>, ClientError> {
    let mut buffer = [0; ANSWER_MAX + 1];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match net::receive(socket, clock, &mut buffer) {
            Ok(received) if received.from == master => {
                if let Some(frame) = ClientFrame::decode(&buffer[..received.length]) {
                    return Ok(Some((frame, received.at)));
                }
            }
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Raced {
    /// The first answer.
    #[must_use]
    pub fn winner(&self) -> &Answer {
        &self.came[0].answer
    }

    /// Tells the master how the race went, and which site DNS would have given.
    ///
    /// # Errors
    /// The socket does not take it.
    pub fn tell(&self, dns: Option<String>) -> Result<(), ClientError> {
        let measured = self.came.iter().map(|came| Measured {
            site: came.answer.site.clone(),
            gap: u64::try_from(came.gap).unwrap_or(0),
        });
        let outcome = Outcome {
            race: self.race,
            cookie: self.cookie,
            measured: measured.collect(),
            dns,
        };
        self.socket
            .send_to(&ClientFrame::Outcome(outcome).encode(), self.master)?;
        Ok(())
    }
}
