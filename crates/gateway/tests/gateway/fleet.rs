//! A gateway, content servers and a client without an HTTP library.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use selvedge_bus::{Hub, HubOptions};
use selvedge_entry::Record;
use selvedge_gateway::{Gateway, GatewayOptions, RunningGateway, UpstreamOptions};
use selvedge_identity::{KeyRing, ServerName};
use selvedge_journal::{DiskStorage, read_dir};
use selvedge_node::{End, Inbound, Node, NodeOptions};
use selvedge_relay::{Handler, Limits, Request, Response, Server};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Fleet {
    folder: TempDir,
    hub: Arc<Hub>,
    pub(crate) keys: KeyRing,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            hub: Arc::new(Hub::new(HubOptions::default())),
            keys: KeyRing::single([7; 32]),
        }
    }

    pub(crate) async fn node(&self, name: &str, change: impl FnOnce(&mut NodeOptions)) -> Node {
        let server = ServerName::new(name).unwrap();
        let mut options = NodeOptions::new(server, name, self.journal(name), self.keys.clone());
        change(&mut options);
        Node::start(options, self.hub.clone()).await.unwrap()
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn content(&self, name: &str) -> Content {
        let node = self.node(name, |_| ()).await;
        let shared = Arc::new(ContentServer {
            node,
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start(listener, Arc::clone(&shared), Limits::default()).unwrap();
        Content {
            name: name.to_owned(),
            server,
            shared,
        }
    }

    /// A gateway before these servers.
    pub(crate) async fn gateway(
        &self,
        contents: &[&Content],
        change: impl FnOnce(&mut GatewayOptions),
    ) -> (RunningGateway, Node) {
        let node = self.node("gateway", |_| ()).await;
        let mut options = options(contents.iter().map(|content| content.upstream()));
        change(&mut options);
        let gateway = Gateway::start(options, node.clone()).await.unwrap();
        (gateway, node)
    }

    /// What a stopped node wrote.
    pub(crate) fn records(&self, name: &str) -> Vec<Record> {
        let records = read_dir(Arc::new(DiskStorage), &self.journal(name)).unwrap();
        records
            .filter_map(|record| Record::decode(&record.unwrap().payload).ok())
            .collect()
    }
}

pub(crate) fn options(upstreams: impl IntoIterator<Item = UpstreamOptions>) -> GatewayOptions {
    GatewayOptions {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        upstreams: upstreams.into_iter().collect(),
        ..GatewayOptions::default()
    }
}

pub(crate) struct Content {
    name: String,
    pub(crate) server: Server,
    shared: Arc<ContentServer>,
}

impl Content {
    pub(crate) fn upstream(&self) -> UpstreamOptions {
        UpstreamOptions::named(&self.name, format!("http://{}", self.server.local_addr()))
    }

    /// The requests it got: line and fields.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }
}

struct ContentServer {
    node: Node,
    seen: Mutex<Vec<String>>,
}

impl Handler for ContentServer {
    async fn handle(&self, mut request: Request) -> Response {
        let head = &request.head;
        let mut seen = format!("{} {}\n", head.method(), head.target());
        for (name, value) in head.fields.iter() {
            seen += &format!("{}: {}\n", text(name), text(value));
        }
        self.seen.lock().unwrap().push(seen);
        let field = |name| head.fields.get(name);
        let exchange = self.node.take(Inbound {
            sessions: head.fields.get_all("selvedge-session").collect(),
            client: field("selvedge-client"),
            headers: selvedge_identity::carrier::Headers {
                request: field("selvedge-request"),
                traceparent: field("traceparent"),
                tracestate: field("tracestate"),
            },
            method: head.method(),
            path: head.target(),
            peer: Some(request.peer.ip()),
            received: self.node.now(),
            ..Inbound::default()
        });
        let exchange = exchange.await;
        if request.head.path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let body = request.body.collect(1 << 20).await.unwrap();
        let answer = exchange.answer(200).await;
        let mut response = Response::text(200, &format!("{} {}", self.node.server(), body.len()));
        if let Some(session) = answer.session {
            response.head.fields.append("selvedge-session", session);
        }
        exchange.close(End::status(200));
        response
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// An answer: status, fields with lower-case names, body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// A browser's cookie jar.
#[derive(Clone, Default)]
pub(crate) struct Jar(std::collections::BTreeMap<String, String>);

impl Jar {
    /// Does what the answer's `Set-Cookie` fields say.
    pub(crate) fn take(&mut self, answer: &Answer) {
        for set in answer.all("set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if set.contains("Max-Age=0") {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The `Cookie` field.
    pub(crate) fn field(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(n, v)| format!("{n}={v}")).collect();
        pairs.join("; ")
    }

    pub(crate) fn tokens(&self) -> Vec<(&str, &str)> {
        let tokens = self.0.iter().filter(|(name, _)| *name != "svc");
        tokens.map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, line: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let all = String::from_utf8(bytes).unwrap();
    let (head, body) = all
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{all:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    });
    Answer {
        status,
        fields: fields.collect(),
        body: body.to_owned(),
    }
}
