//! A walk through the shop, one request or several at a time.
//!
//! The session's first request goes alone: before it is answered there is no session that others
//! could belong to. From then on up to `in_flight` requests run side by side. Sending (reading
//! the jar) and receiving (changing it) each happen in one step together with their line in the
//! report, so the report's order is the order that this client can vouch for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Serialize;
use serde_json::{Value, json};

use crate::listen::Came;
use crate::plan::Plan;
use crate::report::{Done, Report, Sent};
use crate::{BrowseError, Carried, StateFile, Step, TokenJar, default_walk};

pub(crate) const SESSION: &str = "selvedge-session";
const CLIENT: &str = "selvedge-client";

/// The most of an answer's body that is kept to be understood; the rest is read and counted.
const BODY_KEPT_MAX: usize = 1024 * 1024;

/// What a browse does.
#[derive(Clone, Debug)]
pub struct BrowseOptions {
    /// The gateway, for one `http://127.0.0.1:8080`.
    pub gateway: String,
    /// Where the visit's tokens lie between runs; none: the visit ends with the program.
    pub state: Option<PathBuf>,
    /// The steps of one round.
    pub walk: Vec<Step>,
    /// How often the walk is done.
    pub rounds: u32,
    /// The most requests in flight at once, at least 1.
    pub in_flight: usize,
    /// Before each request the viewer waits a random time of at most this.
    pub delay_max: Duration,
    /// What the random times are drawn from.
    pub seed: u64,
    /// How long one request may take, body and all.
    pub time_limit: Duration,
    /// Write JSON lines instead of text.
    pub json: bool,
}

impl BrowseOptions {
    /// One round of [`default_walk`], one request at a time, no waiting, 30 s a request, no state
    /// file, text.
    #[must_use]
    pub fn new(gateway: impl Into<String>) -> Self {
        Self {
            gateway: gateway.into(),
            state: None,
            walk: default_walk(),
            rounds: 1,
            in_flight: 1,
            delay_max: Duration::ZERO,
            seed: 0,
            time_limit: Duration::from_secs(30),
            json: false,
        }
    }
}

/// What came of a browse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The session's id.
    pub session: Option<String>,
    /// Requests sent.
    pub sent: u64,
    /// Answered with a status below 400.
    pub answered: u64,
    /// Answered with 4xx.
    pub refused: u64,
    /// Answered with 5xx, or not at all.
    pub failed: u64,
    /// Orders that had been confirmed before the list of orders was asked for, and were not in
    /// it: users read their own writes on any server (E6), so this stays 0.
    pub orders_unseen: u64,
    /// Broadcasts taken.
    pub broadcasts: u64,
    /// Of these, how many brought a head for this session.
    pub addressed: u64,
    /// Answers by the server that gave them.
    pub servers: BTreeMap<String, u64>,
}

/// Walks through the shop and writes what it did to `out`.
///
/// # Errors
/// When the gateway's URL or the state file is not usable, or `out` is closed. Requests that fail
/// are counted, not errors.
pub async fn browse(
    options: BrowseOptions,
    out: &mut (dyn Write + Send),
) -> Result<Summary, BrowseError> {
    let in_flight = options.in_flight.max(1);
    let viewer = Viewer::start(options, out)?;
    viewer.open().await?;
    let workers = (0..in_flight).map(|_| viewer.finish_round());
    futures_util::future::try_join_all(workers).await?;
    viewer.end()
}

/// The gateway's URL.
pub(crate) fn base(gateway: &str) -> Result<Url, BrowseError> {
    let refused = |reason: String| BrowseError::Gateway {
        url: gateway.to_owned(),
        reason,
    };
    let url = Url::parse(gateway).map_err(|error| refused(error.to_string()))?;
    if url.scheme() != "http" {
        return Err(refused(format!("the scheme is {}", url.scheme())));
    }
    Ok(url)
}

pub(crate) struct Viewer<'a> {
    client: reqwest::Client,
    base: Url,
    state: Option<StateFile>,
    visit: Mutex<Visit<'a>>,
}

struct Visit<'a> {
    plan: Plan,
    jar: TokenJar,
    report: Report<'a>,
    /// What the channel offered last.
    items: Vec<String>,
    /// Ids of the orders that were confirmed.
    orders: BTreeSet<String>,
    summary: Summary,
}

/// An answer: its status, the header `server`, its body as far as it is kept, and its length.
struct Answer {
    status: u16,
    server: Option<String>,
    body: Vec<u8>,
    bytes: u64,
}

impl<'a> Viewer<'a> {
    /// Reads the state, and says what it goes on with.
    pub(crate) fn start(
        options: BrowseOptions,
        out: &'a mut (dyn Write + Send),
    ) -> Result<Self, BrowseError> {
        let base = base(&options.gateway)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(options.time_limit)
            .build()
            .map_err(BrowseError::Client)?;
        let state = options.state.map(StateFile::new);
        let jar = match &state {
            Some(state) => state.load()?,
            None => TokenJar::default(),
        };
        let mut report = Report::new(out, options.json);
        report.begin(jar.session()).map_err(BrowseError::Output)?;
        Ok(Self {
            client,
            base,
            state,
            visit: Mutex::new(Visit {
                plan: Plan::new(
                    options.walk,
                    options.rounds,
                    options.delay_max,
                    options.seed,
                ),
                jar,
                report,
                items: Vec::new(),
                orders: BTreeSet::new(),
                summary: Summary::default(),
            }),
        })
    }

    /// Goes through the plan, one request after the other, until there is a session.
    pub(crate) async fn open(&self) -> Result<(), BrowseError> {
        while self.visit().jar.tokens().is_empty() {
            if !self.step().await? {
                break;
            }
        }
        Ok(())
    }

    /// Goes through the rest of the plan.
    pub(crate) async fn finish_round(&self) -> Result<(), BrowseError> {
        while self.step().await? {}
        Ok(())
    }

    /// Plans one more round of the walk.
    pub(crate) fn begin_round(&self) {
        self.visit().plan.again();
    }

    /// Says what came of it.
    pub(crate) fn end(self) -> Result<Summary, BrowseError> {
        let mut visit = self
            .visit
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        visit.summary.session = visit.jar.session().map(str::to_owned);
        visit
            .report
            .end(&visit.summary)
            .map_err(BrowseError::Output)?;
        Ok(visit.summary)
    }

    /// What came of it so far.
    pub(crate) fn summary(&self) -> Summary {
        self.visit().summary.clone()
    }

    /// The session's id, if there is a session.
    pub(crate) fn session(&self) -> Option<String> {
        self.visit().jar.session().map(str::to_owned)
    }

    /// The session tokens that it holds.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.visit().jar.tokens().to_vec()
    }

    /// Shows a broadcast, and keeps the head that it brought; whether it brought one.
    pub(crate) fn take_broadcast(&self, came: &Came, missed: u64) -> Result<bool, BrowseError> {
        let mut visit = self.visit();
        let addressed = came.head.is_some();
        visit.summary.broadcasts += 1;
        visit.summary.addressed += u64::from(addressed);
        if let Some(head) = &came.head {
            visit.jar.keep_head(head);
        }
        let shown = visit.report.broadcast(came, missed);
        shown.map_err(BrowseError::Output)?;
        self.save(&visit.jar)?;
        Ok(addressed)
    }

    /// Says that it listens.
    pub(crate) fn say_listening(&self, to: &str) -> Result<(), BrowseError> {
        let said = self.visit().report.listening(to);
        said.map_err(BrowseError::Output)
    }

    /// Says that it cannot hear just now.
    pub(crate) fn say_broken(&self, why: &str) -> Result<(), BrowseError> {
        let said = self.visit().report.broken(why);
        said.map_err(BrowseError::Output)
    }

    fn save(&self, jar: &TokenJar) -> Result<(), BrowseError> {
        match &self.state {
            Some(state) => state.save(jar),
            None => Ok(()),
        }
    }

    fn visit(&self) -> MutexGuard<'_, Visit<'a>> {
        self.visit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the plan's next step; false once there is none.
    async fn step(&self) -> Result<bool, BrowseError> {
        let Some((request, step, wait)) = self.visit().plan.next() else {
            return Ok(false);
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let (method, path) = target(&step);
        let sent = Sent {
            request,
            step: step.to_string(),
            method,
            path,
        };
        let started = Instant::now();
        let (carried, body, known_orders) = {
            let mut visit = self.visit();
            let carried = visit.jar.carry();
            visit.summary.sent += 1;
            visit
                .report
                .sent(&sent, &carried)
                .map_err(BrowseError::Output)?;
            let body = visit.body(&step, request);
            (carried, body, visit.orders.clone())
        };
        let answer = self.exchange(&sent, &carried, body).await?;
        let took = started.elapsed();
        let mut visit = self.visit();
        match answer {
            Err(why) => {
                visit.summary.failed += 1;
                visit.report.failed(&sent, took, &why)
            }
            Ok(answer) => {
                let done = visit.understand(&step, answer, took, &known_orders);
                visit.report.done(&sent, &done)
            }
        }
        .map_err(BrowseError::Output)?;
        Ok(true)
    }

    /// Sends one request and reads its answer. The inner error is the request's own, in a
    /// sentence.
    async fn exchange(
        &self,
        sent: &Sent,
        carried: &Carried,
        body: Option<Value>,
    ) -> Result<Result<Answer, String>, BrowseError> {
        let mut url = self.base.clone();
        url.set_path(sent.path);
        let mut request = match sent.method {
            "POST" => self.client.post(url),
            _ => self.client.get(url),
        };
        for token in &carried.sessions {
            request = request.header(SESSION, token);
        }
        if let Some(client) = &carried.client {
            request = request.header(CLIENT, client);
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(sentence(&error))),
        };
        self.receive(
            sent,
            carried,
            response.status().as_u16(),
            response.headers(),
        )?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            server: header(response.headers(), "server").map(str::to_owned),
            body: Vec::new(),
            bytes: 0,
        };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    answer.bytes += chunk.len() as u64;
                    let room = BODY_KEPT_MAX.saturating_sub(answer.body.len());
                    answer
                        .body
                        .extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                Ok(None) => return Ok(Ok(answer)),
                Err(error) => return Ok(Err(sentence(&error))),
            }
        }
    }

    /// The answer's headers are there: the tokens change, and the state file with them.
    fn receive(
        &self,
        sent: &Sent,
        carried: &Carried,
        status: u16,
        headers: &HeaderMap,
    ) -> Result<(), BrowseError> {
        let mut visit = self.visit();
        let token = header(headers, SESSION);
        visit.jar.take(carried, token, header(headers, CLIENT));
        visit
            .report
            .received(sent, status, token)
            .map_err(BrowseError::Output)?;
        self.save(&visit.jar)
    }
}

impl Visit<'_> {
    /// The body of the step's request.
    fn body(&self, step: &Step, request: u64) -> Option<Value> {
        match step {
            Step::Page | Step::Channel | Step::Orders => None,
            Step::Order { item, quantity } => {
                let offered = self.items.get(request as usize % self.items.len().max(1));
                let item = item.as_ref().or(offered);
                let item = item.map_or("umbrella", String::as_str);
                Some(json!({ "item": item, "quantity": quantity }))
            }
            Step::Vote { choice } => Some(json!({ "choice": choice })),
            Step::Broadcast { content } => Some(json!({ "content": content })),
        }
    }

    /// Reads what an answer says, remembers what later steps need, and counts it.
    fn understand(
        &mut self,
        step: &Step,
        answer: Answer,
        duration: Duration,
        known_orders: &BTreeSet<String>,
    ) -> Done {
        let value: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let said = value.as_ref().unwrap_or(&Value::Null);
        let server = said["server"].as_str().map(str::to_owned).or(answer.server);
        if let Some(server) = &server {
            *self.summary.servers.entry(server.clone()).or_default() += 1;
        }
        match answer.status {
            ..400 => self.summary.answered += 1,
            400..500 => self.summary.refused += 1,
            _ => self.summary.failed += 1,
        }
        let note = if answer.status >= 400 {
            said["error"]["message"].as_str().unwrap_or("").to_owned()
        } else {
            self.note(step, said, answer.bytes, known_orders)
        };
        Done {
            status: answer.status,
            server,
            duration,
            bytes: answer.bytes,
            answer: value,
            note,
        }
    }

    fn note(
        &mut self,
        step: &Step,
        said: &Value,
        bytes: u64,
        known_orders: &BTreeSet<String>,
    ) -> String {
        match step {
            Step::Page => format!("{bytes} bytes"),
            Step::Channel => {
                self.items = ids(&said["items"]).map(str::to_owned).collect();
                let now = said["now"]["content"].as_str().unwrap_or("nothing");
                format!("on now: {now}; votes {}", said["votes"])
            }
            Step::Order { .. } => {
                let order = &said["order"];
                if let Some(id) = order["id"].as_str() {
                    self.orders.insert(id.to_owned());
                }
                format!(
                    "order {}: {} {}, {} cents",
                    text(&order["id"]),
                    order["quantity"],
                    text(&order["item"]),
                    order["total_cents"]
                )
            }
            Step::Orders => {
                let listed: BTreeSet<&str> = ids(&said["orders"]).collect();
                let unseen = known_orders
                    .iter()
                    .filter(|id| !listed.contains(id.as_str()))
                    .count();
                self.summary.orders_unseen += unseen as u64;
                match unseen {
                    0 => format!("{} orders", listed.len()),
                    _ => format!("{} orders, {unseen} NOT SEEN", listed.len()),
                }
            }
            Step::Vote { choice } => format!("voted {choice}"),
            Step::Broadcast { content } => format!("ordered {content} for broadcast"),
        }
    }
}

fn target(step: &Step) -> (&'static str, &'static str) {
    match step {
        Step::Page => ("GET", "/"),
        Step::Channel => ("GET", "/channel"),
        Step::Orders => ("GET", "/orders"),
        Step::Order { .. } => ("POST", "/orders"),
        Step::Vote { .. } => ("POST", "/vote"),
        Step::Broadcast { .. } => ("POST", "/broadcast"),
    }
}

fn ids(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["id"].as_str())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The error and what caused it, in one line: the client's own error text names only the URL.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
