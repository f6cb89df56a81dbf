//! A question to a resolver, for those who compare what it answers with what they measured.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::build::{Decoded, QueryBuilder};
use crate::name::Name;
use crate::query::{kind, rcode};

/// Why a resolver named no address.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The text is no name.
    #[error("{0:?} is no name of a host")]
    Name(String),
    /// The socket failed, or no answer came in time.
    #[error("no answer from {resolver}: {error}")]
    Io {
        /// Who was asked.
        resolver: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The resolver answered with an error.
    #[error("{resolver} answers with code {code} ({})", meaning(*.code))]
    Code {
        /// Who was asked.
        resolver: SocketAddr,
        /// The response code.
        code: u16,
    },
}

fn meaning(code: u16) -> &'static str {
    match code {
        rcode::NAME_ERROR => "there is no such name",
        rcode::SERVER_FAILURE => "it could not find out",
        rcode::REFUSED => "it does not answer for that",
        _ => "see RFC 6895",
    }
}

/// Asks a resolver for the addresses of a host; blocks for `longest` at most. An answer that was cut
/// short counts as far as it goes.
///
/// # Errors
/// [`LookupError`].
pub fn lookup(
    resolver: SocketAddr,
    host: &str,
    longest: Duration,
) -> Result<Vec<IpAddr>, LookupError> {
    let name = Name::parse(host.as_bytes(), Some(&Name::root()))
        .map_err(|_| LookupError::Name(host.to_owned()))?
        .to_string();
    let mut found = Vec::new();
    for kind in [kind::A, kind::AAAA] {
        let answer = ask(resolver, &name, kind, longest);
        let answer = answer.map_err(|error| LookupError::Io { resolver, error })?;
        if answer.rcode != rcode::NO_ERROR {
            let code = answer.rcode;
            return Err(LookupError::Code { resolver, code });
        }
        let lines = answer.answers().iter();
        let addresses = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<IpAddr>().ok());
        found.extend(addresses);
    }
    Ok(found)
}

fn ask(resolver: SocketAddr, name: &str, kind: u16, longest: Duration) -> io::Result<Decoded> {
    let any = match resolver {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(resolver)?;
    let id = RandomState::new().build_hasher().finish() as u16;
    let query = QueryBuilder::new(name, kind)
        .id(id)
        .recursion_desired()
        .edns(1232);
    socket.send(&query.build())?;
    let until = Instant::now() + longest;
    let mut room = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut room) {
            Ok(length) => length,
            // The end of a child of this process's interrupts, too.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        // What is not an answer to this question is not ours.
        if let Some(answer) = Decoded::read(&room[..length])
            && answer.id == id
            && answer.flags & 0x8000 != 0
        {
            return Ok(answer);
        }
    }
}
