//! What arguments are read as.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use selvedge_identity::ServerName;

/// A server's clock shifted by a fixed time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClockSkew {
    pub(crate) server: ServerName,
    pub(crate) skew_ns: i64,
}

impl FromStr for ClockSkew {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (server, skew) = text
            .split_once('=')
            .ok_or("expected SERVER=SKEW, as in content-2=+3600s")?;
        let (negative, size) = match skew.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, skew.strip_prefix('+').unwrap_or(skew)),
        };
        let size_ns =
            i64::try_from(duration(size)?.as_nanos()).map_err(|_| "that is too long a time")?;
        Ok(Self {
            server: server.parse().map_err(|e| format!("{server:?}: {e}"))?,
            skew_ns: if negative { -size_ns } else { size_ns },
        })
    }
}

/// Who carries the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusAddress {
    Hub(SocketAddr),
    Nats(Vec<String>),
}

impl FromStr for BusAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            let servers = text.split(',').map(|url| url.trim().to_owned());
            return Ok(Self::Nats(servers.collect()));
        }
        let address = text.parse().map_err(|_| {
            "expected a hub's address, as in 10.0.0.1:7600, or nats://10.0.0.1:4222".to_owned()
        });
        address.map(Self::Hub)
    }
}

/// A server that answers more slowly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) server: ServerName,
    pub(crate) delay: Duration,
}

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (server, delay) = text
            .split_once('=')
            .ok_or("expected SERVER=DELAY, as in content-2=200ms")?;
        Ok(Self {
            server: server.parse().map_err(|e| format!("{server:?}: {e}"))?,
            delay: duration(delay)?,
        })
    }
}

/// `CONTENT=FILE`.
pub(super) fn clip(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((content, file)) if !content.is_empty() && !file.is_empty() => {
            Ok((content.to_owned(), file.into()))
        }
        _ => Err("write CONTENT=FILE.ts, as in \"the goal again\"=goal.ts".to_owned()),
    }
}

/// Reads a duration: a number with `ns`, `us`, `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?}: expected a duration, as in 500ms or 2s")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?}: expected a duration, as in 500ms or 2s"))?;
    Duration::try_from_secs_f64(number * unit_s).map_err(|e| format!("{text:?}: {e}"))
}
