//! Where a call goes: the services that the application calls, and their connections.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use selvedge_relay::{Client, ClientLimits};

use crate::SidecarError;

/// Callees whose connections are kept at once.
const CLIENTS_MAX: usize = 256;

/// A place to send requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The service's name: of its route, else its host.
    pub peer: String,
    /// `host:port`.
    pub address: String,
    /// What comes before every path; empty, or begins with a slash and does not end with one.
    pub prefix: String,
}

impl Target {
    /// Reads an `http://host[:port][/prefix]`.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(peer: Option<&str>, url: &str) -> Result<Self, &'static str> {
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err("only http can be called"),
            None => return Err("it does not begin with http://"),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if path.contains(['?', '#']) {
            return Err("it has a query or a fragment");
        }
        Self::of_authority(peer, authority, path.trim_end_matches('/'))
    }

    /// Of a `host[:port]`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_authority(
        peer: Option<&str>,
        authority: &str,
        prefix: &str,
    ) -> Result<Self, &'static str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if authority.is_empty() || !authority.bytes().all(plain) {
            return Err("its host is not a host");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        let number = port.parse::<u16>().map_err(|_| "its port is not a port")?;
        if host.is_empty() || number == 0 {
            return Err("it lacks host or port");
        }
        let host = host.to_ascii_lowercase();
        Ok(Self {
            peer: peer.map_or_else(|| host.clone(), str::to_owned),
            address: format!("{host}:{number}"),
            prefix: prefix.to_owned(),
        })
    }
}

/// The services that calls go to.
pub(crate) struct Targets {
    routes: BTreeMap<String, Target>,
    clients: Mutex<HashMap<String, Client>>,
    limits: ClientLimits,
}

impl Targets {
    pub(crate) fn new(
        routes: &BTreeMap<String, String>,
        limits: ClientLimits,
    ) -> Result<Self, SidecarError> {
        let mut targets = BTreeMap::new();
        for (name, url) in routes {
            let target = Target::parse(Some(name), url).map_err(|reason| SidecarError::Url {
                what: format!("the route {name}"),
                url: url.clone(),
                reason,
            })?;
            targets.insert(name.to_ascii_lowercase(), target);
        }
        Ok(Self {
            routes: targets,
            clients: Mutex::default(),
            limits,
        })
    }

    /// The route of this name; a port behind the name does not matter.
    pub(crate) fn route(&self, host: &str) -> Option<&Target> {
        let name = host.split(':').next().unwrap_or(host);
        self.routes
            .get(host)
            .or_else(|| self.routes.get(&name.to_ascii_lowercase()))
    }

    /// The connections to a target. Where there are too many callees those of another are let go.
    pub(crate) fn client(&self, target: &Target) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&target.address) {
            return client.clone();
        }
        if clients.len() >= CLIENTS_MAX
            && let Some(other) = clients.keys().next().cloned()
        {
            clients.remove(&other);
        }
        let client = Client::new(target.address.clone(), self.limits.clone());
        clients.insert(target.address.clone(), client.clone());
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_into_address_and_prefix() {
        for (url, address, prefix) in [
            ("http://127.0.0.1:9001", "127.0.0.1:9001", ""),
            ("http://Catalogue/", "catalogue:80", ""),
            ("HTTP://host:8080/v1/", "host:8080", "/v1"),
            ("http://[::1]:9001/a/b", "[::1]:9001", "/a/b"),
            ("http://[::1]", "[::1]:80", ""),
        ] {
            let target = Target::parse(None, url).unwrap();
            assert_eq!((&*target.address, &*target.prefix), (address, prefix));
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for url in [
            "",
            "catalogue",
            "https://host",
            "http://",
            "http://host:0",
            "http://host:http",
            "http://:80",
            "http://a b",
            "http://user@host",
            "http://host/?q=1",
        ] {
            assert!(Target::parse(None, url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_route_is_found_by_its_name_whatever_the_port() {
        let routes = [("catalogue".to_owned(), "http://127.0.0.1:9001".to_owned())].into();
        let targets = Targets::new(&routes, ClientLimits::default()).unwrap();
        for host in ["catalogue", "catalogue:80", "CATALOGUE:1"] {
            assert_eq!(targets.route(host).unwrap().peer, "catalogue");
        }
        assert!(targets.route("catalog").is_none());
    }
}
