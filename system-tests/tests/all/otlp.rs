//! The real SDKs of OpenTelemetry send thousands of spans; every one arrives once, with all of its
//! content, also when the repository is killed in the middle.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use selvedge_system_tests::{Query, Server, python, root, selvedge};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Traces of one run; each has four spans.
const TRACES: usize = 600;
const SPANS: usize = 4 * TRACES;

/// A repository that receives spans, and can be started again where it was.
struct Repository {
    folder: TempDir,
    server: Option<Server>,
    /// All of 127/8 is this host; an address of its own keeps its ports free while it is down.
    host: String,
}

impl Repository {
    fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let host = format!("127.{}.{}.{}", 1 + pid % 250, pid / 250 % 250, 20 + number);
        let mut repository = Self {
            folder: tempfile::tempdir().expect("a folder"),
            server: None,
            host,
        };
        repository.restart();
        repository
    }

    /// Starts it on the same data; after the first time also on the same ports.
    fn restart(&mut self) {
        let mut config = "[collector]\n".to_owned();
        for part in ["otlp_grpc", "otlp_http", "zipkin"] {
            let free = || format!("{}:0", self.host);
            let server = self.server.as_ref();
            let address = server.map_or_else(free, |server| server.address(part).to_owned());
            config += &format!("{part} = \"{address}\"\n");
        }
        let file = self.folder.path().join("selvedge.toml");
        std::fs::write(&file, config).expect("written");
        let mut command = selvedge(&["repository", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(self.folder.path().join("data"));
        // No hub is there, and none is needed.
        command.args(["--bus", &format!("{}:1", self.host), "--config"]);
        command.arg(&file);
        self.server = Some(Server::start(command, self.folder.path()));
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("started")
    }

    fn kill(&mut self) {
        self.server.as_mut().expect("started").kill();
    }

    /// Spans that it says it took.
    async fn taken(&self) -> u64 {
        let url = format!("{}/metrics", self.server().url("admin"));
        let answer = reqwest::get(url).await.expect("an answer");
        let text = answer.text().await.expect("text");
        let lines = text.lines();
        let spans = lines.filter(|line| line.starts_with("selvedge_collector_spans_total{"));
        spans
            .map(|line| {
                line.rsplit(' ')
                    .next()
                    .expect("a value")
                    .parse::<u64>()
                    .expect("a number")
            })
            .sum()
    }

    /// All spans of these origins as OTLP has them, by id; none may be there twice.
    async fn spans(&self, origins: impl Iterator<Item = &str>) -> BTreeMap<String, Value> {
        let query = Query::new(self.server().url("admin"));
        let mut found = BTreeMap::new();
        for origin in origins {
            let path = format!("/api/v1/requests/{origin}/spans");
            let (status, traces) = query.get(&path).await;
            assert_eq!(status, 200, "{path}: {traces}");
            for resource in list(&traces["resourceSpans"]) {
                for scope in list(&resource["scopeSpans"]) {
                    for span in list(&scope["spans"]) {
                        let span = told(span, &scope["scope"], &resource["resource"]);
                        let id = span["id"].as_str().expect("an id").to_owned();
                        let twin = found.insert(id, span);
                        assert!(twin.is_none(), "twice: {twin:?}");
                    }
                }
            }
        }
        found
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A span of OTLP's JSON in the words of the programs that made it.
fn told(span: &Value, scope: &Value, resource: &Value) -> Value {
    const KINDS: [&str; 6] = [
        "UNSPECIFIED",
        "INTERNAL",
        "SERVER",
        "CLIENT",
        "PRODUCER",
        "CONSUMER",
    ];
    const CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let name = |names: &[&str], number: &Value| {
        names[number.as_u64().expect("a number") as usize].to_owned()
    };
    let events = list(&span["events"]).iter().map(|event| {
        json!({"name": event["name"], "at": event["timeUnixNano"], "attributes": attributes(event)})
    });
    let links = list(&span["links"]).iter().map(|link| {
        json!({"origin": link["traceId"], "id": link["spanId"], "attributes": attributes(link)})
    });
    json!({
        "origin": span["traceId"], "id": span["spanId"], "parent": text(&span["parentSpanId"]),
        "state": text(&span["traceState"]), "name": span["name"], "kind": name(&KINDS, &span["kind"]),
        "start": span["startTimeUnixNano"], "end": span["endTimeUnixNano"],
        "attributes": attributes(span),
        "events": events.collect::<Vec<_>>(), "links": links.collect::<Vec<_>>(),
        "status": [name(&CODES, &span["status"]["code"]), text(&span["status"]["message"])],
        "scope": [scope["name"], scope["version"]], "resource": attributes(resource),
    })
}

fn attributes(of: &Value) -> Value {
    let all = list(&of["attributes"]).iter();
    let all: Map<String, Value> = all
        .map(|pair| {
            (
                pair["key"].as_str().expect("a key").to_owned(),
                value(&pair["value"]),
            )
        })
        .collect();
    assert_eq!(
        all.len(),
        list(&of["attributes"]).len(),
        "a key stands twice"
    );
    Value::Object(all)
}

fn value(given: &Value) -> Value {
    let (kind, given) = given
        .as_object()
        .and_then(|one| one.iter().next())
        .expect("a value");
    match kind.as_str() {
        "stringValue" => json!({"text": given}),
        "boolValue" => json!({"bool": given}),
        "intValue" => json!({"int": given}),
        "doubleValue" => json!({"double": given}),
        "arrayValue" => {
            json!({"list": list(&given["values"]).iter().map(value).collect::<Vec<_>>()})
        }
        other => panic!("{other} was never sent"),
    }
}

/// A program that makes spans with a real SDK.
struct Sdk {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What it printed, by id.
    made: BTreeMap<String, Value>,
}

impl Sdk {
    fn start(mut command: Command, how: &str, endpoint: &str) -> Self {
        command.args([how, endpoint, &TRACES.to_string()]);
        // Nothing of whoever runs the tests may change what the SDK does.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        Self {
            input: child.stdin.take().expect("piped"),
            output: BufReader::new(child.stdout.take().expect("piped")).lines(),
            child,
            made: BTreeMap::new(),
        }
    }

    /// Takes in what it prints until it says this.
    fn until(&mut self, word: &str) {
        for line in self.output.by_ref() {
            let line = line.expect("text");
            if line == word {
                return;
            }
            let span: Value = serde_json::from_str(&line).expect("a span");
            let id = span["id"].as_str().expect("an id").to_owned();
            assert!(self.made.insert(id, span).is_none());
        }
        panic!("it ended before it said {word:?}");
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").expect("it reads");
    }

    /// Waits for its end, and returns what it made.
    fn end(mut self) -> BTreeMap<String, Value> {
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "it ended with {status}");
        assert_eq!(self.made.len(), SPANS);
        std::mem::take(&mut self.made)
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_python() -> Command {
    let mut command = python();
    command.arg(root().join("system-tests/scripts/otel.py"));
    command
}

fn in_javascript() -> Command {
    let packages = root().join("target/otel-js/node_modules");
    assert_set_up(&packages);
    let mut command = Command::new("node");
    command.env("NODE_PATH", packages);
    command.arg(root().join("system-tests/programs/otel-js/otel.js"));
    command
}

fn in_rust() -> Command {
    let program = root().join("target/otel-rust/debug/otel-rust");
    assert_set_up(&program);
    Command::new(program)
}

fn assert_set_up(path: &Path) {
    let shown = path.display();
    assert!(
        path.exists(),
        "no {shown}: `cargo xtask test` sets it up (or `cargo xtask setup` alone)"
    );
}

/// Everything that was made is there once, and as it was made.
async fn assert_all_there(repository: &Repository, made: &BTreeMap<String, Value>) {
    let mut origins: Vec<&str> = made
        .values()
        .filter_map(|span| span["origin"].as_str())
        .collect();
    origins.sort_unstable();
    origins.dedup();
    assert_eq!(origins.len(), TRACES);
    let found = repository.spans(origins.into_iter()).await;
    for (id, span) in made {
        let there = found.get(id).unwrap_or_else(|| panic!("lost: {span:#}"));
        assert_eq!(there, span);
    }
    assert_eq!(found.len(), made.len());
}

async fn arrives(command: Command, how: &str) {
    let repository = Repository::start();
    let part = if how == "grpc" {
        "otlp_grpc"
    } else {
        "otlp_http"
    };
    let mut sdk = Sdk::start(command, how, &repository.server().url(part));
    sdk.until("half");
    sdk.go_on();
    sdk.until("rest");
    let made = sdk.end();
    assert_eq!(repository.taken().await, SPANS as u64);
    assert_all_there(&repository, &made).await;
}

/// As above, but the repository is killed once it has taken this many, and started again after all
/// were made.
async fn arrives_over_a_restart(command: Command, how: &str, taken: usize) {
    let mut repository = Repository::start();
    let part = if how == "grpc" {
        "otlp_grpc"
    } else {
        "otlp_http"
    };
    let mut sdk = Sdk::start(command, how, &repository.server().url(part));
    sdk.until("half");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while repository.taken().await < taken as u64 {
        assert!(tokio::time::Instant::now() < deadline, "nothing came");
        tokio::task::yield_now().await;
    }
    repository.kill();
    sdk.go_on();
    sdk.until("rest");
    repository.restart();
    let made = sdk.end();
    assert_all_there(&repository, &made).await;
    // Also after one more.
    repository.kill();
    repository.restart();
    assert_all_there(&repository, &made).await;
}

/// What Zipkin has of a span: times in microseconds, attributes as text.
pub(crate) async fn arrives_as_zipkin() {
    let repository = Repository::start();
    let mut sdk = Sdk::start(
        in_javascript(),
        "zipkin",
        &repository.server().url("zipkin"),
    );
    sdk.until("half");
    sdk.go_on();
    sdk.until("rest");
    let made = sdk.end();
    assert_eq!(repository.taken().await, SPANS as u64);
    let mut origins: Vec<&str> = made
        .values()
        .filter_map(|span| span["origin"].as_str())
        .collect();
    origins.sort_unstable();
    origins.dedup();
    let found = repository.spans(origins.into_iter()).await;
    assert_eq!(found.len(), made.len());
    for (id, span) in &made {
        let there = &found[id];
        for part in ["origin", "parent", "name"] {
            assert_eq!(there[part], span[part], "{part} of {span:#}");
        }
        let microseconds = |time: &Value| {
            time.as_str()
                .expect("a time")
                .parse::<i64>()
                .expect("a number")
                / 1000
        };
        // The exporter rounds where we cut.
        assert!((microseconds(&there["start"]) - microseconds(&span["start"])).abs() <= 1);
        if span["kind"] != "INTERNAL" {
            assert_eq!(there["kind"], span["kind"]);
        }
        for (key, value) in span["attributes"].as_object().expect("attributes") {
            if let Some(text) = value["text"].as_str().or(value["int"].as_str()) {
                assert_eq!(there["attributes"][key]["text"], text, "{key}");
            }
        }
        assert_eq!(list(&there["events"]).len(), list(&span["events"]).len());
    }
}

#[tokio::test]
async fn every_span_of_the_python_sdk_arrives_over_grpc() {
    arrives(in_python(), "grpc").await;
}

#[tokio::test]
async fn every_span_of_the_python_sdk_arrives_over_http() {
    arrives(in_python(), "http").await;
}

#[tokio::test]
async fn every_span_of_the_python_sdk_arrives_over_grpc_and_a_restart() {
    arrives_over_a_restart(in_python(), "grpc", 1).await;
}

#[tokio::test]
async fn every_span_of_the_python_sdk_arrives_over_http_and_a_restart() {
    arrives_over_a_restart(in_python(), "http", 1).await;
}

#[tokio::test]
async fn every_span_of_the_javascript_sdk_arrives_over_grpc() {
    arrives(in_javascript(), "grpc").await;
}

#[tokio::test]
async fn every_span_of_the_javascript_sdk_arrives_over_http() {
    arrives(in_javascript(), "http").await;
}

#[tokio::test]
async fn every_span_of_the_javascript_sdk_arrives_as_json() {
    arrives(in_javascript(), "json").await;
}

#[tokio::test]
async fn every_span_of_the_javascript_sdk_arrives_over_http_and_a_restart() {
    arrives_over_a_restart(in_javascript(), "http", 1).await;
}

#[tokio::test]
async fn every_span_of_the_rust_sdk_arrives_over_grpc() {
    arrives(in_rust(), "grpc").await;
}

/// A call that the kill cuts off is `UNKNOWN` to this SDK, which gives such a batch up (as the
/// specification of OTLP has it); so the kill comes between two calls. Those that find nobody are
/// `UNAVAILABLE`, and made again.
#[tokio::test]
async fn every_span_of_the_rust_sdk_arrives_over_grpc_and_a_restart() {
    arrives_over_a_restart(in_rust(), "grpc", SPANS / 2).await;
}
