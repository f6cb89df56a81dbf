//! The race from a client's side: the sites' answers race here, and the first is whom HTTP goes to
//! (C6, C7).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use selvedge_race::client::{ClientError, ClientOptions, Raced, race};
use selvedge_race::wire::Wanted;
use serde::Serialize;
use thiserror::Error;

/// The master's port where none is given.
const PORT: u16 = 7700;

/// How a client races.
#[derive(Clone, Debug)]
pub struct RaceOptions {
    /// The gateway, whose host is the master's.
    pub gateway: String,
    /// The master, if it is elsewhere.
    pub master: Option<SocketAddr>,
    /// What is asked of the winner over HTTP.
    pub path: String,
    /// Whether its content itself is raced, and not only an address.
    pub content: bool,
    /// How long after the first answer the rest is measured.
    pub rest: Duration,
    /// How long the request to the winner may take.
    pub time_limit: Duration,
}

/// One race, as this client saw it.
#[derive(Debug, Serialize)]
pub struct RaceResult {
    /// Its name at the master.
    pub race: String,
    /// The site whose answer came first; empty if the master answered for silent ones.
    pub winner: String,
    /// Where it serves.
    pub url: String,
    /// Nanoseconds from the question to the first answer; the race's delay is in it.
    pub took: i64,
    /// All answers, the first first.
    pub answers: Vec<RaceAnswer>,
    /// The winner's answer over HTTP.
    #[serde(serialize_with = "either")]
    pub http: Option<Result<HttpAnswer, String>>,
    /// What DNS says.
    pub dns: Option<DnsVerdict>,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct RaceAnswer {
    /// Whose.
    pub site: String,
    /// Where it serves.
    pub url: String,
    /// Nanoseconds after the first.
    pub gap: i64,
    /// Its content, if that was raced.
    pub content: Option<RaceContent>,
}

/// Content that raced.
#[derive(Debug, Serialize)]
pub struct RaceContent {
    /// The server's status.
    pub status: u16,
    /// Its size.
    pub bytes: usize,
    /// It as text, as far as it is.
    pub text: String,
}

/// The winner over HTTP.
#[derive(Debug, Serialize)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: usize,
    /// Nanoseconds, connection and all.
    pub duration: u64,
}

/// What DNS says, beside the race.
#[derive(Debug, Serialize)]
pub struct DnsVerdict {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// The site that has the first of them.
    pub site: Option<String>,
    /// Whether that is the winner; none if it is not known whose address it is.
    pub right: Option<bool>,
    /// Why there is no address.
    pub error: Option<String>,
}

fn either<S: serde::Serializer>(
    http: &Option<Result<HttpAnswer, String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match http {
        None => serializer.serialize_none(),
        Some(Ok(http)) => http.serialize(serializer),
        Some(Err(error)) => serde_json::json!({ "error": error }).serialize(serializer),
    }
}

/// Why there was no race.
#[derive(Debug, Error)]
pub enum RacerError {
    /// The gateway's URL has no host that is known.
    #[error(
        "{url} is no gateway: {reason}; give a URL like http://127.0.0.1:8080, or the master's address"
    )]
    Gateway {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// No winner.
    #[error(transparent)]
    Race(#[from] ClientError),
    /// The race's thread was lost.
    #[error("the race broke off: {0}")]
    Thread(String),
}

/// A client that races.
#[derive(Debug)]
pub struct Racer {
    options: RaceOptions,
    master: SocketAddr,
    http: reqwest::Client,
}

impl Racer {
    /// Looks up the master.
    ///
    /// # Errors
    /// A gateway that is no URL or has no address.
    pub fn new(options: RaceOptions) -> Result<Self, RacerError> {
        let master = match options.master {
            Some(master) => master,
            None => master(&options.gateway)?,
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(options.time_limit)
            .build();
        Ok(Self {
            master,
            http: http.map_err(RacerError::Client)?,
            options,
        })
    }

    /// Races once, asks the winner over HTTP, and tells the master how it went. `dns` is what DNS
    /// says of the raced name, if it was asked.
    ///
    /// # Errors
    /// No race, or no answer.
    pub async fn race(
        &self,
        dns: Option<Result<Vec<IpAddr>, String>>,
    ) -> Result<RaceResult, RacerError> {
        let mut options = ClientOptions::new(self.master);
        options.rest = self.options.rest;
        if self.options.content {
            options.wanted = Wanted::Content;
            options.path.clone_from(&self.options.path);
        }
        let raced = tokio::task::spawn_blocking(move || race(&options)).await;
        let raced = raced.map_err(|error| RacerError::Thread(error.to_string()))??;
        let dns = dns.map(|dns| verdict(dns, &raced));
        raced.tell(dns.as_ref().and_then(|dns| dns.site.clone()))?;
        let winner = raced.winner();
        let http = Some(self.http(&winner.url).await);
        Ok(RaceResult {
            race: raced.race.to_string(),
            winner: winner.site.clone(),
            url: winner.url.clone(),
            took: raced.took,
            http,
            dns,
            answers: raced
                .came
                .iter()
                .map(|came| RaceAnswer {
                    site: came.answer.site.clone(),
                    url: came.answer.url.clone(),
                    gap: came.gap,
                    content: came
                        .answer
                        .content
                        .as_ref()
                        .map(|(status, bytes)| RaceContent {
                            status: *status,
                            bytes: bytes.len(),
                            text: String::from_utf8_lossy(bytes).into_owned(),
                        }),
                })
                .collect(),
        })
    }

    async fn http(&self, url: &str) -> Result<HttpAnswer, String> {
        let start = Instant::now();
        let ask = async {
            let answer = self
                .http
                .get(format!("{url}{}", self.options.path))
                .send()
                .await?;
            let status = answer.status().as_u16();
            let bytes = answer.bytes().await?.len();
            Ok::<_, reqwest::Error>((status, bytes))
        };
        let (status, bytes) = ask.await.map_err(|error| error.to_string())?;
        let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(HttpAnswer {
            status,
            bytes,
            duration,
        })
    }
}

/// The gateway's host, at the race's port.
fn master(gateway: &str) -> Result<SocketAddr, RacerError> {
    let wrong = |reason: String| RacerError::Gateway {
        url: gateway.to_owned(),
        reason,
    };
    let url = reqwest::Url::parse(gateway).map_err(|error| wrong(error.to_string()))?;
    let mut addresses = url
        .socket_addrs(|| Some(PORT))
        .map_err(|error| wrong(error.to_string()))?;
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut first = *addresses
        .first()
        .ok_or_else(|| wrong("its host has no address".to_owned()))?;
    first.set_port(PORT);
    Ok(first)
}

fn verdict(dns: Result<Vec<IpAddr>, String>, raced: &Raced) -> DnsVerdict {
    let (addresses, error) = match dns {
        Ok(addresses) => (addresses, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let first = addresses.first().copied();
    let serves = |url: &str| {
        let host = reqwest::Url::parse(url).ok()?.host_str()?.to_owned();
        host.trim_matches(['[', ']']).parse::<IpAddr>().ok()
    };
    let of = raced
        .came
        .iter()
        .find(|came| first.is_some() && serves(&came.answer.url) == first);
    let site = of.map(|came| came.answer.site.clone());
    let right = site.as_ref().map(|site| *site == raced.winner().site);
    DnsVerdict {
        addresses,
        site,
        right,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_is_the_gateways_host_at_its_own_port() {
        assert_eq!(
            master("http://127.0.0.1:8080").expect("right").to_string(),
            "127.0.0.1:7700"
        );
        assert_eq!(
            master("http://[::1]/x").expect("right").to_string(),
            "[::1]:7700"
        );
        for wrong in ["", "127.0.0.1", "mailto:a@b"] {
            let error = master(wrong).expect_err("refused").to_string();
            assert!(error.contains("http://127.0.0.1:8080"), "{error}");
        }
    }
}
