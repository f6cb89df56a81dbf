//! A fleet on an in-process hub, and a client that holds the session as a gateway would.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part of it"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use selvedge_bus::Hub;
use selvedge_entry::{Entry, Record, fold_all};
use selvedge_identity::{ClientId, KeyRing, Position, ServerName, SessionId, SessionToken};
use selvedge_journal::{DiskStorage, read_dir};
use selvedge_node::{Keep, Node, NodeOptions};
use selvedge_sidecar::SidecarOptions;
use serde_json::Value;
use tempfile::TempDir;

pub const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub struct Fleet {
    folder: TempDir,
    hub: Arc<Hub>,
    keys: KeyRing,
    pub http: reqwest::Client,
    pub token: String,
}

impl Fleet {
    pub fn new() -> Self {
        let keys = KeyRing::single([7; 32]);
        Self {
            folder: tempfile::tempdir().unwrap(),
            hub: Arc::new(Hub::default()),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            token: SessionToken::new(SessionId::from_random([9; 16]), []).sign(&keys),
            keys,
        }
    }

    pub fn client_token(&self) -> String {
        ClientId::from_random([5; 16]).sign(&self.keys)
    }

    pub fn session(&self) -> SessionId {
        self.token.split('.').next().unwrap().parse().unwrap()
    }

    pub async fn node(&self, name: &str, service: &str) -> Node {
        let server = ServerName::new(name).unwrap();
        let journal = self.folder.path().join(name);
        let mut options = NodeOptions::new(server, service, journal, self.keys.clone());
        options.keep = Keep::json_bodies();
        options.wait.longest = Duration::from_secs(10);
        Node::start(options, self.hub.clone()).await.unwrap()
    }

    /// One request in the session to this address; the answer's token is kept.
    pub async fn ask(&mut self, to: SocketAddr, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("http://{to}{path}");
        let request = match body {
            Some(body) => self
                .http
                .post(url)
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => self.http.get(url),
        };
        let request = request.header("selvedge-session", &self.token);
        let answer = request.send().await.unwrap();
        let token = answer.headers()["selvedge-session"].to_str().unwrap();
        self.token = token.to_owned();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
        (
            status,
            serde_json::from_slice(&body).unwrap_or_else(|_| text()),
        )
    }

    /// Every entry of this node's journal; the node is stopped before.
    pub async fn journal(&self, node: &Node) -> Vec<Entry> {
        node.stop().await;
        let folder = self.folder.path().join(node.server().as_str());
        let records = read_dir(Arc::new(DiskStorage), &folder).unwrap();
        fold_all(records.map(Result::unwrap).filter_map(|record| {
            let position = Position {
                server: record.server,
                epoch: record.epoch,
                sequence: record.sequence,
            };
            Some((position, Record::decode(&record.payload).ok()?))
        }))
    }
}

/// Free ports everywhere, before this application.
pub fn options(upstream: SocketAddr) -> SidecarOptions {
    SidecarOptions {
        listen: LOOPBACK,
        egress: LOOPBACK,
        ..SidecarOptions::new(format!("http://{upstream}"))
    }
}
