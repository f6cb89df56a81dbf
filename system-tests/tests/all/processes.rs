//! A fleet of processes, one of which is killed under load (A8, B1, B2).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use selvedge_system_tests::{Query, Server, run, selvedge};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::fabric::Viewer;
use crate::viewers::{Carrier, Held};

/// A gateway with repository, three content servers and the services behind an order, each a
/// process of its own.
pub(crate) struct Fleet {
    folder: TempDir,
    pub(crate) gateway: Server,
    pub(crate) contents: Vec<Server>,
    services: Vec<Server>,
}

impl Fleet {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Whose content servers have this configuration.
    pub(crate) fn with(contents: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        write("contents.toml", contents);
        // Nobody asks these of a visit.
        write("services.toml", "[node]\nmemory_bytes_max = 0\n");
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, "").expect("written");
        let mut command = selvedge(&["gateway", "--repository"]);
        for flag in ["--listen", "--bus-listen", "--admin-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.arg("--data").arg(folder.path());
        command.arg("--config").arg(&config);
        let gateway = Server::start(command, folder.path());
        let bus = gateway.address("bus").to_owned();
        let service = |service: &str| {
            let args = [
                "content",
                "--service",
                service,
                "--name",
                service,
                "--bus",
                &bus,
            ];
            let mut command = selvedge(&args);
            command.arg("--data").arg(folder.path());
            let config = folder.path().join("services.toml");
            command.arg("--config").arg(config);
            Server::start(command, folder.path())
        };
        let services = ["catalogue", "payment", "stock"].map(service);
        let urls = services.each_ref().map(|s| {
            let part = ["catalogue", "payment", "stock"];
            part.iter()
                .find_map(|part| s.part(part))
                .expect("an address")
        });
        let mut fleet = Self {
            folder,
            gateway,
            contents: Vec::new(),
            services: services.into(),
        };
        for number in 1..=3 {
            let server = fleet.content(number, "127.0.0.1:0", &urls);
            fleet.contents.push(server);
        }
        let mut text = String::new();
        for (number, server) in (1..).zip(&fleet.contents) {
            let url = server.url("content");
            text +=
                &format!("[[gateway.upstreams]]\nname = \"content-{number}\"\nurl = \"{url}\"\n");
        }
        std::fs::write(&config, text).expect("written");
        fleet.gateway.signal("HUP");
        fleet.gateway.wait_for("has 3 servers");
        std::fs::write(fleet.folder.path().join("urls"), urls.join("\n")).expect("written");
        fleet
    }

    fn content(&self, number: usize, listen: &str, urls: &[String; 3]) -> Server {
        let name = format!("content-{number}");
        let bus = self.gateway.address("bus");
        let mut command = selvedge(&["content", "--name", &name, "--bus", bus, "--listen", listen]);
        command.arg("--data").arg(self.folder.path());
        command.args(["--admin-listen", "127.0.0.1:0", "--config"]);
        command.arg(self.folder.path().join("contents.toml"));
        for (flag, address) in ["--catalogue", "--payment", "--stock"].iter().zip(urls) {
            command.arg(flag).arg(format!("http://{address}"));
        }
        Server::start(command, self.folder.path())
    }

    /// Where its processes keep their data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills one of the services behind an order.
    pub(crate) fn kill(&mut self, service: &str) {
        let mut services = self.services.iter_mut();
        let found = services.find(|server| server.part(service).is_some());
        found.expect("a service of this name").kill();
    }

    /// Starts a killed content server again, where it was.
    pub(crate) fn restart(&mut self, number: usize) {
        let listen = self.contents[number - 1].address("content").to_owned();
        let urls = std::fs::read_to_string(self.folder.path().join("urls")).expect("readable");
        let urls: Vec<String> = urls.lines().map(str::to_owned).collect();
        let urls: [String; 3] = urls.try_into().expect("three");
        self.contents[number - 1] = self.content(number, &listen, &urls);
    }

    pub(crate) fn journal(&self, server: &str) -> std::path::PathBuf {
        self.folder.path().join("journals").join(server)
    }
}

/// Votes of a number of viewers at a rate, and which were acknowledged.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    progress: Arc<Notify>,
    viewers: tokio::task::JoinSet<(Held, Vec<String>)>,
}

const VIEWERS: usize = 25;
const RATE: usize = 500;

impl Load {
    pub(crate) fn start(url: &str) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            failed: Arc::default(),
            answered: Arc::default(),
            progress: Arc::default(),
            viewers: tokio::task::JoinSet::new(),
        };
        for viewer in 0..VIEWERS {
            let (stop, failed) = (load.stop.clone(), load.failed.clone());
            let (answered, progress) = (load.answered.clone(), load.progress.clone());
            let url = url.to_owned();
            load.viewers.spawn(async move {
                let client = reqwest::Client::new();
                let mut held = Held::default();
                let mut acknowledged = Vec::new();
                // The load itself: each viewer's share of the rate.
                let period = Duration::from_secs(1) * VIEWERS as u32 / RATE as u32;
                let mut tick = tokio::time::interval(period);
                for number in 0.. {
                    tick.tick().await;
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let choice = format!("{viewer}-{number}");
                    let sending = held.send(Carrier::Headers);
                    let request = client.post(format!("{url}/vote"));
                    let request = request.json(&json!({ "choice": choice }));
                    match sending.on(request).send().await {
                        Ok(answer) if answer.status().is_success() => {
                            held.receive(Carrier::Headers, &sending, &answer);
                            acknowledged.push(choice);
                            answered.fetch_add(1, Ordering::SeqCst);
                            progress.notify_waiters();
                        }
                        _ => {
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                (held, acknowledged)
            });
        }
        load
    }

    /// Waits until this many more votes were answered.
    pub(crate) async fn more(&self, votes: usize) {
        let target = self.answered.load(Ordering::SeqCst) + votes;
        loop {
            let progress = self.progress.notified();
            if self.answered.load(Ordering::SeqCst) >= target {
                return;
            }
            progress.await;
        }
    }

    /// Ends it: what each viewer holds of its session, and its acknowledged votes.
    pub(crate) async fn finish(self) -> Vec<(Held, Vec<String>)> {
        self.stop.store(true, Ordering::SeqCst);
        self.viewers.join_all().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_loses_nothing_it_acknowledged() {
    let mut fleet = Fleet::start();
    let url = fleet.gateway.url("gateway");
    let mut orderer = Viewer::at(url.clone());
    let (answer, _) = orderer
        .post("/orders", &json!({"item": "jersey", "quantity": 1}))
        .await;
    assert_eq!(answer.status(), 201);

    let load = Load::start(&url);
    load.more(500).await;
    fleet.contents[1].kill();
    load.more(500).await;
    fleet.restart(2);
    load.more(500).await;
    let failed = load.failed.load(Ordering::SeqCst);
    let votes = load.finish().await;
    assert!(
        failed <= VIEWERS,
        "{failed} failed: more than were in flight"
    );

    // Everything acknowledged is in the repository, once, and in some server's journal.
    let query = Query::new(fleet.gateway.url("admin"));
    let mut by_server = BTreeMap::<String, BTreeSet<String>>::new();
    for (held, acknowledged) in &votes {
        let timeline = query.timeline(&held.session(), acknowledged.len()).await;
        let entries = timeline["entries"].as_array().expect("entries");
        let choice = |entry: &Value| {
            let choice = &entry["request"]["body"]["choice"];
            choice.as_str().map(str::to_owned)
        };
        let kept: Vec<String> = entries.iter().filter_map(choice).collect();
        let once: BTreeSet<&String> = kept.iter().collect();
        assert_eq!(once.len(), kept.len(), "nothing twice");
        for choice in acknowledged {
            assert!(
                once.contains(choice),
                "{choice} was acknowledged and is missing"
            );
        }
        for entry in entries.iter().filter(|entry| entry["outcome"] == "ok") {
            let server = entry["server"].as_str().expect("a server").to_owned();
            by_server.entry(server).or_default().insert(place(entry));
        }
    }
    assert_eq!(by_server.len(), 3, "the killed server had its share");
    let log = log(&fleet.journal("content-2"));
    let there: BTreeSet<String> = log.iter().map(place).collect();
    assert!(by_server["content-2"].is_subset(&there));

    // The restarted server holds what its peers did: asked directly, it knows the visit's order.
    let direct = fleet.contents[1].url("content");
    let answer = orderer.at_server(&direct, "/orders").await;
    assert_eq!(
        answer["orders"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
    assert_eq!(answer["server"], "content-2");
}

/// Epoch and sequence.
fn place(entry: &Value) -> String {
    format!("{}/{}", entry["epoch"], entry["sequence"])
}

fn log(journal: &Path) -> Vec<Value> {
    let text = run(selvedge(&["log", "--json"]).arg(journal));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}
