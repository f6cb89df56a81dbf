//! A receiver at the end of a threshold link, in a process that a test may kill: it acts on each
//! crossing once, whatever dies (B7).
//!
//! Its act is a line in a file, and the crossing's id is in that line: so the act and the key that
//! keeps it from being done again are one write, and one fdatasync. Only then it says on its
//! standard output what it did, and only then it acknowledges.
//!
//! `acting-receiver KEYS ACTED`

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use selvedge_identity::{KeyRing, purpose};
use selvedge_monitor::Notification;
use selvedge_monitor::link::LinkListener;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, keys, acted] = args.as_slice() else {
        panic!("usage: acting-receiver KEYS ACTED");
    };
    let keys = std::fs::read_to_string(keys).expect("a key file");
    let keys = KeyRing::parse(&keys).expect("keys");
    let secret = keys.derive(purpose::THRESHOLD, keys.signer());
    let secret = secret.expect("the signing key is in the ring");
    let mut acts = Acts::open(Path::new(acted));
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listener = LinkListener::start(anywhere, secret).await.expect("a port");
    println!("listens {}", listener.address());
    while let Some(arrived) = listener.next().await {
        let told = serde_json::to_string(&arrived.notification).expect("JSON");
        let did = match acts.act(&arrived.notification.id, &told) {
            true => "acted",
            false => "again",
        };
        println!("{did} {told}");
        arrived.acknowledge();
    }
}

/// What was acted on.
struct Acts {
    file: File,
    ids: BTreeSet<String>,
}

impl Acts {
    /// Reads what an earlier life did. A last line that is not whole was not done.
    fn open(path: &Path) -> Self {
        let mut open = OpenOptions::new();
        let file = open.create(true).append(true).read(true).open(path);
        let file = file.expect("a file");
        let text = std::fs::read_to_string(path).expect("readable");
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).expect("cut");
        let ids = text[..whole].lines().map(|line| {
            let told: Notification = serde_json::from_str(line).expect("a notification");
            told.id
        });
        Self {
            ids: ids.collect(),
            file,
        }
    }

    /// Acts, unless it did before.
    fn act(&mut self, id: &str, told: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.file
            .write_all(format!("{told}\n").as_bytes())
            .expect("written");
        self.file.sync_data().expect("on the disk");
        true
    }
}
