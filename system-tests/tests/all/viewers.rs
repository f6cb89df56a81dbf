//! Clients that log every send and every receipt, and so know the truth about the order of their
//! requests.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, SET_COOKIE};
use selvedge_system_tests::is_session_cookie;

/// How a client carries its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `selvedge-session` headers, side by side, as design.md section 3 asks of programs.
    Headers,
    /// A cookie jar, as browsers have.
    Cookies,
}

/// What a client holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    tokens: Vec<String>,
    client: Option<String>,
    cookies: BTreeMap<String, String>,
}

/// What a request carries, and what its client held when it was sent.
pub(crate) struct Sent {
    tokens: Vec<String>,
    headers: Vec<(&'static str, String)>,
}

impl Held {
    /// The headers of the next request.
    pub(crate) fn send(&self, carrier: Carrier) -> Sent {
        let mut headers = Vec::new();
        match carrier {
            Carrier::Headers => {
                for token in &self.tokens {
                    headers.push(("selvedge-session", token.clone()));
                }
                if let Some(client) = &self.client {
                    headers.push(("selvedge-client", client.clone()));
                }
            }
            Carrier::Cookies => {
                let pair = |(name, value): (&String, &String)| format!("{name}={value}");
                let all: Vec<String> = self.cookies.iter().map(pair).collect();
                if !all.is_empty() {
                    headers.push((COOKIE.as_str(), all.join("; ")));
                }
            }
        }
        Sent {
            tokens: self.tokens.clone(),
            headers,
        }
    }

    /// The head of an answer arrived.
    pub(crate) fn receive(&mut self, carrier: Carrier, sent: &Sent, answer: &reqwest::Response) {
        let headers = answer.headers();
        let text = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        match carrier {
            Carrier::Headers => {
                let token = text("selvedge-session").expect("the session moved on");
                self.tokens.retain(|held| !sent.tokens.contains(held));
                self.tokens.push(token);
                self.client = self.client.take().or_else(|| text("selvedge-client"));
            }
            Carrier::Cookies => {
                for set in headers.get_all(SET_COOKIE) {
                    let set = set.to_str().expect("text");
                    let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
                    let (name, value) = pair.split_once('=').expect("name=value");
                    if attributes.contains("Max-Age=0") {
                        self.cookies.remove(name);
                    } else {
                        self.cookies.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
        }
    }

    /// The session it is in.
    pub(crate) fn session(&self) -> String {
        let cookie = self
            .cookies
            .iter()
            .find_map(|(name, value)| is_session_cookie(name).then_some(value));
        let token = self.tokens.first().or(cookie).expect("a session");
        token.split('.').next().expect("a session").to_owned()
    }
}

impl Sent {
    /// Puts the headers on a request.
    pub(crate) fn on(&self, mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
    }
}
