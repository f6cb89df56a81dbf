//! The gateway's settings, as they stand in the configuration file.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{BroadcastOptions, ChannelOptions, ClientLimits, HealthOptions, Limits, Policy};

/// The gateway's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The servers behind it. The list can be changed while it runs.
    pub upstreams: Vec<UpstreamOptions>,
    /// How requests are spread over them.
    pub policy: Policy,
    /// How often a request that failed before its answer began is tried on another server, if it
    /// may be repeated: its method is safe, or it was certainly not sent.
    pub retries_max: u32,
    /// What a failure counts as in latency, in milliseconds (least load).
    pub failure_penalty_ms: u64,
    /// How fast a latency is forgotten, in milliseconds (least load).
    pub latency_decay_ms: u64,
    /// When a server is out.
    pub health: HealthOptions,
    /// The cookies of browsers.
    pub cookies: CookieOptions,
    /// The stream of broadcasts.
    pub broadcast: BroadcastOptions,
    /// The channel that an encoder writes.
    pub channel: ChannelOptions,
    /// Tell the servers who asked: `x-forwarded-for`, `x-forwarded-host`, `x-forwarded-proto`.
    pub forwarded: bool,
    /// How long requests in flight may take when it stops, in milliseconds.
    pub stop_grace_ms: u64,
    /// What a client may cost.
    pub limits: Limits,
    /// What a server may cost.
    pub upstream_limits: ClientLimits,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            upstreams: Vec::new(),
            policy: Policy::default(),
            retries_max: 2,
            failure_penalty_ms: 1_000,
            latency_decay_ms: 5_000,
            health: HealthOptions::default(),
            cookies: CookieOptions::default(),
            broadcast: BroadcastOptions::default(),
            channel: ChannelOptions::default(),
            forwarded: true,
            stop_grace_ms: 10_000,
            limits: Limits::default(),
            upstream_limits: ClientLimits::default(),
        }
    }
}

/// One server behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamOptions {
    /// Its address, `http://host:port`.
    pub url: String,
    /// Its name in call trees and metrics; by default `host:port`.
    #[serde(default)]
    pub name: Option<String>,
}

impl UpstreamOptions {
    /// A server without a name of its own.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: None,
        }
    }

    /// A server with a name.
    #[must_use]
    pub fn named(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: Some(name.into()),
        }
    }

    /// `host:port` of its URL.
    ///
    /// # Errors
    /// With what is wrong and how it should look.
    pub fn address(&self) -> Result<String, String> {
        let url = &self.url;
        let wrong = |what: &str| Err(format!("upstream {url:?}: {what}; use http://host:port"));
        let Some(rest) = url.strip_prefix("http://") else {
            return wrong("only http:// is spoken to servers");
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@', ' ']) {
            return wrong("a path, query or user has no place here");
        }
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.contains(']') => {
                match port.parse::<u16>() {
                    Ok(1..) => Ok(authority.to_owned()),
                    _ => wrong("bad port"),
                }
            }
            _ if authority.is_empty() => wrong("no host"),
            _ => Ok(format!("{authority}:80")),
        }
    }
}

/// The cookies of browsers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieOptions {
    /// Sent over TLS only; set it where a TLS terminator stands before the gateway.
    pub secure: bool,
    /// Browser sessions whose cookies are counted, so that they stay few.
    pub sessions_max: usize,
}

impl Default for CookieOptions {
    fn default() -> Self {
        Self {
            secure: false,
            sessions_max: 50_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_urls() {
        let address = |url: &str| UpstreamOptions::new(url).address();
        assert_eq!(address("http://a:81").as_deref(), Ok("a:81"));
        assert_eq!(address("http://a/").as_deref(), Ok("a:80"));
        assert_eq!(address("http://[::1]:9000").as_deref(), Ok("[::1]:9000"));
        assert_eq!(address("http://[::1]").as_deref(), Ok("[::1]:80"));
        for bad in [
            "a:81",
            "https://a",
            "http://",
            "http://a/b",
            "http://u@a",
            "http://a:0",
            "http://a:x",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_all_have_defaults() {
        assert_eq!(toml::from_str(""), Ok(GatewayOptions::default()));
        let text = "policy = 'round-robin'\n[[upstreams]]\nurl = 'http://a:1'\n[limits]\nidle_timeout_ms = 5\n";
        let options: GatewayOptions = toml::from_str(text).unwrap();
        assert_eq!(options.policy, Policy::RoundRobin);
        assert_eq!(options.limits.idle_timeout_ms, 5);
        assert!(toml::from_str::<GatewayOptions>("polcy = 'random'").is_err());
        assert!(toml::from_str::<GatewayOptions>("[limits]\nx = 1").is_err());
    }
}
