//! One server on a hub of its own, and what it wrote.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part of it"
)]

use std::sync::Arc;

use selvedge::{Node, NodeOptions};
use selvedge_bus::Hub;
use selvedge_entry::{Entry, Record, fold_all};
use selvedge_identity::{KeyRing, Position, ServerName};
use selvedge_journal::{DiskStorage, read_dir};
use tempfile::TempDir;

pub struct Server {
    folder: TempDir,
    pub node: Node,
    pub keys: KeyRing,
}

impl Server {
    pub async fn start(service: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyRing::single([7; 32]);
        let name = ServerName::new(service).unwrap();
        let options = NodeOptions::new(name, service, folder.path(), keys.clone());
        let node = Node::start(options, Arc::new(Hub::default())).await;
        Self {
            node: node.unwrap(),
            folder,
            keys,
        }
    }

    /// The journal's entries; the node is stopped before.
    pub async fn entries(&self) -> Vec<Entry> {
        self.node.stop().await;
        let records = read_dir(Arc::new(DiskStorage), self.folder.path()).unwrap();
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
