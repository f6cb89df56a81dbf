//! The reporting agents' modes (D7), with a gateway, content servers and a repository that are
//! processes of their own; and a repository that is away for long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use selvedge_system_tests::{Query, Server, run, selvedge};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fabric::Viewer;
use crate::viewers::{Carrier, Held};

/// A gateway, two content servers and a repository, each a process of its own, with one
/// configuration.
struct Fleet {
    folder: TempDir,
    gateway: Server,
    contents: Vec<Server>,
    repository: Option<Server>,
}

impl Fleet {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = &format!("{config}\n{NO_COLLECTOR}");
        std::fs::write(folder.path().join("fleet.toml"), config).expect("written");
        let mut command = command(&folder, "gateway", "gateway");
        for flag in ["--listen", "--bus-listen", "--admin-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        let gateway = Server::start(command, folder.path());
        let mut fleet = Self {
            folder,
            gateway,
            contents: Vec::new(),
            repository: None,
        };
        for number in 1..=2 {
            let content = fleet.content(number, "127.0.0.1:0");
            fleet.contents.push(content);
        }
        let mut text = config.to_owned();
        for (number, content) in (1..).zip(&fleet.contents) {
            let url = content.url("content");
            text +=
                &format!("\n[[gateway.upstreams]]\nname = \"content-{number}\"\nurl = \"{url}\"\n");
        }
        std::fs::write(fleet.folder.path().join("fleet.toml"), text).expect("written");
        fleet.gateway.signal("HUP");
        fleet.gateway.wait_for("has 2 servers");
        fleet
    }

    fn with_repository(config: &str) -> Self {
        let mut fleet = Self::start(config);
        fleet.start_repository();
        fleet
    }

    fn content(&self, number: usize, listen: &str) -> Server {
        let mut command = command(&self.folder, "content", &format!("content-{number}"));
        command.args(["--listen", listen, "--bus", self.gateway.address("bus")]);
        // These tests vote, which asks no other service for anything.
        for service in ["--catalogue", "--payment", "--stock"] {
            command.args([service, "http://127.0.0.1:1"]);
        }
        Server::start(command, self.folder.path())
    }

    fn start_repository(&mut self) {
        let mut command = command(&self.folder, "repository", "repository");
        command.args(["--listen", "127.0.0.1:0"]);
        command.args(["--bus", self.gateway.address("bus")]);
        self.repository = Some(Server::start(command, self.folder.path()));
    }

    /// Ends the repository as nothing expects.
    fn kill_repository(&mut self) {
        self.repository.take().expect("one runs").kill();
    }

    fn admin(&self) -> String {
        self.repository.as_ref().expect("one runs").url("admin")
    }

    fn query(&self) -> Query {
        Query::new(self.admin())
    }

    fn journal(&self, server: &str) -> PathBuf {
        self.folder.path().join("journals").join(server)
    }

    /// A program's command that asks this fleet, and prints JSON.
    fn asking(&self, args: &[&str]) -> Command {
        let mut command = selvedge(args);
        command.args(["--json", "--admin", &self.admin()]);
        command
    }

    /// Votes of several viewers at once, each with so many bytes of filling: what was acknowledged,
    /// by session.
    async fn vote(&self, votes: usize, bytes: usize) -> BTreeMap<String, BTreeSet<String>> {
        const VIEWERS: usize = 20;
        let mut viewers = tokio::task::JoinSet::new();
        for viewer in 0..VIEWERS {
            let url = format!("{}/vote", self.gateway.url("gateway"));
            let filling = "x".repeat(bytes);
            viewers.spawn(async move {
                let client = reqwest::Client::new();
                let (mut held, mut acknowledged) = (Held::default(), BTreeSet::new());
                for number in 0..votes / VIEWERS {
                    let choice = format!("{viewer}-{number}");
                    let sending = held.send(Carrier::Headers);
                    let request = client
                        .post(&url)
                        .json(&json!({ "choice": choice, "filling": filling }));
                    let answer = sending.on(request).send().await.expect("an answer");
                    assert!(answer.status().is_success(), "{}", answer.status());
                    held.receive(Carrier::Headers, &sending, &answer);
                    acknowledged.insert(choice);
                }
                (held.session(), acknowledged)
            });
        }
        viewers.join_all().await.into_iter().collect()
    }

    /// Holds the repository's timelines against what was acknowledged: all of it, each once.
    async fn assert_all_once(&self, votes: &BTreeMap<String, BTreeSet<String>>) {
        let query = self.query();
        for (session, acknowledged) in votes {
            let timeline = query.timeline(session, acknowledged.len()).await;
            assert_eq!(choices(&timeline), *acknowledged, "{session}");
        }
    }
}

/// Only the repository has a collector, and on ports that are not free here.
const NO_COLLECTOR: &str =
    "[collector]\notlp_grpc = \"off\"\notlp_http = \"off\"\nzipkin = \"off\"\n";

fn command(folder: &TempDir, role: &str, name: &str) -> Command {
    let mut command = selvedge(&[role, "--name", name]);
    command.arg("--data").arg(folder.path());
    command
        .arg("--config")
        .arg(folder.path().join("fleet.toml"));
    command
}

/// The votes of a timeline, none of which may stand in it twice.
fn choices(timeline: &Value) -> BTreeSet<String> {
    let entries = timeline["entries"].as_array().expect("entries");
    let choice = |entry: &Value| {
        let choice = entry["request"]["body"]["choice"].as_str();
        choice
            .unwrap_or_else(|| panic!("no vote: {entry:#}"))
            .to_owned()
    };
    let all: Vec<String> = entries.iter().map(choice).collect();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), once.len(), "nothing twice");
    once
}

/// The row of a server's journal.
fn row<'a>(journals: &'a Value, server: &str) -> &'a Value {
    let rows = journals["journals"].as_array().expect("journals");
    let mut of = rows.iter().filter(|row| row["server"] == server);
    of.next().unwrap_or(&Value::Null)
}

/// Records that are here, over all epochs.
fn records(row: &Value) -> u64 {
    let epochs = row["epochs"].as_array();
    let number = |epoch: &Value| epoch["records"].as_u64().expect("a number");
    epochs.map_or(0, |epochs| epochs.iter().map(number).sum())
}

/// A list of all epochs: `gaps` or `unasked`.
fn parts<'a>(row: &'a Value, name: &str) -> Vec<&'a Value> {
    let epochs = row["epochs"].as_array().expect("epochs").iter();
    epochs
        .flat_map(|epoch| epoch[name].as_array().expect("a list"))
        .collect()
}

/// The origin of a visit's only request, as the gateway reported it.
async fn origin(query: &Query, session: &str) -> String {
    let path = format!("/api/v1/requests?session={session}");
    let list = query
        .until(&path, |list| list["requests"][0]["origin"].is_string())
        .await;
    let origin = list["requests"][0]["origin"].as_str();
    origin.expect("an origin").to_owned()
}

fn evidence(tree: &Value) -> BTreeSet<(&str, &str)> {
    let nodes = tree["nodes"].as_array().expect("nodes").iter();
    nodes
        .map(|node| {
            let text = |name: &str| node[name].as_str().unwrap_or("-");
            (text("service"), text("evidence"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_real_time_everything_is_reported_as_it_happens() {
    let fleet = Fleet::with_repository("");
    let votes = fleet.vote(100, 0).await;
    fleet.assert_all_once(&votes).await;
    let (_, journals) = fleet.query().get("/api/v1/journals").await;
    for server in ["gateway", "content-1", "content-2"] {
        let row = row(&journals, server);
        assert_eq!(
            row["agent"],
            json!({"mode": "real-time", "peers": "real-time"})
        );
        assert_eq!(parts(row, "gaps"), Vec::<&Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_period_reports_come_together_and_peers_hear_at_once() {
    // A request that had to wait for a report would wait for these ten seconds, and say so.
    let mut fleet = Fleet::with_repository(
        "[node]\nwait_ms_max = 10000\n\
         [agent.servers.content-1]\nmode = \"period\"\nperiod_s = 3600\n\
         [agent.servers.content-2]\nmode = \"period\"\nperiod_s = 0.5\n",
    );
    let query = fleet.query();
    let votes = fleet.vote(400, 0).await;
    // The second server's votes come with its next report; those of the first do not.
    let journals = query
        .until("/api/v1/journals", |journals| {
            let (gateway, second) = (row(journals, "gateway"), row(journals, "content-2"));
            records(second) > 50 && records(gateway) > 800
        })
        .await;
    let first = row(&journals, "content-1");
    assert_eq!(
        first["agent"],
        json!({"mode": "period", "peers": "real-time"})
    );
    assert!(records(first) <= 1, "held back for an hour: {first}");
    assert_eq!(parts(first, "gaps"), Vec::<&Value>::new());

    // At its end a server reports the rest.
    fleet.contents[0].stop();
    fleet.assert_all_once(&votes).await;
    // And what one server did was known to the other at once (E6).
    for session in votes.keys() {
        let (_, timeline) = query.get(&format!("/api/v1/sessions/{session}")).await;
        let entries = timeline["entries"].as_array().expect("entries");
        let server = |entry: &Value| entry["server"].as_str().map(str::to_owned);
        let servers: BTreeSet<_> = entries.iter().map(server).collect();
        assert!(entries.iter().all(|entry| entry["unseen"] == json!([])));
        assert_eq!(servers.len(), 2, "the visit went over both servers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_peers_wait_for_its_reports_is_silent_and_reports_after_a_crash() {
    let mut fleet = Fleet::with_repository(
        "[node]\nwait_ms_max = 10000\n\
         [agent.servers.content-1]\nmode = \"period\"\nperiod_s = 3600\npeers = \"with-reports\"\n",
    );
    // Nobody waits for its heads: that would take ten seconds each.
    let votes = fleet.vote(100, 0).await;
    let query = fleet.query();
    let journals = query
        .until("/api/v1/journals", |journals| {
            records(row(journals, "gateway")) > 200
        })
        .await;
    let first = row(&journals, "content-1");
    let terms = json!({"mode": "period", "peers": "with-reports"});
    assert_eq!(first["agent"], terms);
    assert!(records(first) <= 1, "silent for an hour: {first}");
    let listen = fleet.contents[0].address("content").to_owned();
    fleet.contents[0].kill();
    // What it did not report before it crashed, it reports when it is back.
    fleet.contents[0] = fleet.content(1, &listen);
    fleet.assert_all_once(&votes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_demand_a_request_or_a_time_is_fetched_once_and_the_rest_is_not_missing() {
    let mut fleet = Fleet::with_repository(
        "[agent]\nmode = \"on-demand\"\n[agent.servers.gateway]\nmode = \"real-time\"\n",
    );
    let others = fleet.vote(100, 0).await;
    let mut viewer = Viewer::at(fleet.gateway.url("gateway"));
    let (answer, _) = viewer.post("/vote", &json!({"choice": "wanted"})).await;
    assert_eq!(answer.status(), 200);
    let origin = origin(&fleet.query(), &viewer.session()).await;

    // Nothing of the content servers is there, and nothing counts as missing.
    let show = |fleet: &Fleet, more: &[&str]| -> Value {
        let mut tree = fleet.asking(&["tree", &origin]);
        serde_json::from_str(&run(tree.args(more))).expect("JSON")
    };
    let before = show(&fleet, &["--no-fetch"]);
    let one_sided = ("-", "one-sided");
    assert!(
        evidence(&before).contains(&one_sided)
            || !evidence(&before).iter().any(|(s, _)| *s == "content"),
        "{before:#}"
    );
    let (_, journals) = fleet.query().get("/api/v1/journals").await;
    for server in ["content-1", "content-2"] {
        let row = row(&journals, server);
        assert_eq!(row["agent"]["mode"], "on-demand");
        assert_eq!((records(row), row["epochs"].clone()), (0, json!([])));
    }

    // Showing the tree asks for what it lacks.
    let tree = show(&fleet, &[]);
    let whole = BTreeSet::from([("content", "observed"), ("gateway", "observed")]);
    assert_eq!(evidence(&tree), whole, "{tree:#}");
    // The same from the journals alone.
    let mut from = selvedge(&["tree", &origin, "--json", "--from"]);
    let from: Value =
        serde_json::from_str(&run(from.arg(fleet.folder.path().join("journals")))).expect("JSON");
    assert_eq!(evidence(&from), whole, "{from:#}");

    // What was not asked for is told apart from what is missing; also by a repository that
    // starts again.
    fleet.kill_repository();
    fleet.start_repository();
    let journals = fleet
        .query()
        .until("/api/v1/journals", |journals| {
            row(journals, "content-2")["present"] == true
        })
        .await;
    let sent: Vec<u64> = ["content-1", "content-2"]
        .iter()
        .map(|server| {
            let row = row(&journals, server);
            assert_eq!(parts(row, "gaps"), Vec::<&Value>::new());
            assert!(!parts(row, "unasked").is_empty(), "{row:#}");
            records(row)
        })
        .collect();
    // An epoch's own record of each, and the vote's opening, effect and closing of one.
    assert!(
        sent.iter().sum::<u64>() <= 5,
        "only what was asked for: {sent:?}"
    );

    // A time: everything, each record once.
    let mut fetch = fleet.asking(&["fetch", "--from", "2000-01-01T00:00:00Z"]);
    let reports: Value = serde_json::from_str(&run(&mut fetch)).expect("JSON");
    let rows = reports["reports"].as_array().expect("reports");
    assert_eq!(rows.len(), 2, "{reports:#}");
    for report in rows {
        assert_eq!(
            (&report["complete"], &report["lost"]),
            (&json!(true), &json!(0))
        );
        assert!(
            report["new"].as_u64() < report["records"].as_u64(),
            "{report}"
        );
    }
    fleet.assert_all_once(&others).await;
    let (_, journals) = fleet.query().get("/api/v1/journals").await;
    for server in ["content-1", "content-2"] {
        let row = row(&journals, server);
        assert_eq!(parts(row, "unasked"), Vec::<&Value>::new(), "{row:#}");
        assert_eq!(parts(row, "gaps"), Vec::<&Value>::new(), "{row:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_journal_nothing_is_on_disk_and_what_memory_lost_is_a_gap() {
    let mut fleet = Fleet::with_repository(
        "[agent.servers.content-1]\nmode = \"past-journal\"\nmemory_bytes_max = 65536\n",
    );
    let votes = fleet.vote(200, 0).await;
    fleet.assert_all_once(&votes).await;
    assert!(!fleet.journal("content-1").exists(), "no file is written");
    assert!(fleet.journal("content-2").exists());

    // More than the server and the hub hold, while nobody takes it.
    fleet.kill_repository();
    let _ = fleet.vote(1600, 8000).await;
    fleet.start_repository();
    let query = fleet.query();
    let end = |row: &Value| -> u64 {
        let epochs = row["epochs"].as_array().map_or(&[][..], Vec::as_slice);
        epochs
            .last()
            .map_or(0, |e| e["next"].as_u64().expect("next"))
    };
    let journals = query
        .until("/api/v1/journals", |journals| {
            let row = row(journals, "content-1");
            row["epochs"].is_array() && !parts(row, "gaps").is_empty() && end(row) > 1000
        })
        .await;
    let first = row(&journals, "content-1");
    assert_eq!(first["agent"]["mode"], "past-journal");
    assert_eq!(first["epochs"][0]["volatile"], true);
    let gaps = parts(first, "gaps");
    assert!(gaps.iter().all(|gap| gap["lost"] == true), "{first:#}");
    let lost =
        |gap: &&Value| gap["to"].as_u64().expect("known") - gap["from"].as_u64().expect("known");
    let lost: u64 = gaps.iter().map(lost).sum();
    assert_eq!(
        records(first) + lost,
        end(first),
        "all is here or told to be lost"
    );
    // The other server kept a journal, and lost nothing.
    assert_eq!(
        parts(row(&journals, "content-2"), "gaps"),
        Vec::<&Value>::new()
    );

    // What it held when it crashed is gone, with no file to read it from; it goes on.
    let listen = fleet.contents[0].address("content").to_owned();
    fleet.contents[0].kill();
    fleet.contents[0] = fleet.content(1, &listen);
    let votes = fleet.vote(200, 0).await;
    fleet.assert_all_once(&votes).await;
    let (_, journals) = query.get("/api/v1/journals").await;
    let epochs = row(&journals, "content-1")["epochs"]
        .as_array()
        .map(Vec::len);
    assert_eq!(epochs, Some(2));
}

/// The outage of an hour, by volume: so many votes while the repository is away, 14 kB each.
/// `SELVEDGE_OUTAGE_VOTES` asks for more.
fn outage_votes() -> usize {
    let votes = std::env::var("SELVEDGE_OUTAGE_VOTES");
    votes.map_or(4000, |votes| votes.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_away_for_long_loses_nothing_and_costs_nobody_memory() {
    const VOTE_BYTES: usize = 14_000;
    // Half of what is reported to nobody. What may grow is recent records: for each journal 4 MiB
    // at its server and up to 8 in the hub.
    const GROWTH_MAX: u64 = 28 << 20;
    // What a server remembers of the fleet is bounded by configuration, and not the matter here.
    let mut fleet = Fleet::with_repository("[node]\nmemory_bytes_max = 4194304\n");
    let before = fleet.vote(100, 0).await;
    fleet.assert_all_once(&before).await;
    fleet.kill_repository();
    // Whatever holds recent records is full once this much has passed.
    fleet.vote(1500, VOTE_BYTES).await;
    let resident = |fleet: &Fleet| -> Vec<u64> {
        let servers = std::iter::once(&fleet.gateway).chain(&fleet.contents);
        servers.map(Server::resident_bytes).collect()
    };
    let resident_before = resident(&fleet);
    let votes = outage_votes();
    fleet.vote(votes, VOTE_BYTES).await;
    let reported_to_nobody = votes * VOTE_BYTES;
    let names = ["gateway", "content-1", "content-2"];
    for ((name, before), after) in names.iter().zip(resident_before).zip(resident(&fleet)) {
        println!("{name}: {before} bytes, {after} after {reported_to_nobody} reported to nobody");
        let grown = after.saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{name} grew by {grown} bytes");
    }

    fleet.start_repository();
    // A vote is three entries: the gateway's two sides, and the content server's.
    let last = fleet.vote(100, 0).await;
    let all = 100 + 1500 + votes + 100;
    let entries = |list: &Value, service: &str| {
        let rows = list["services"].as_array().expect("services");
        let row = rows.iter().find(|row| row["service"] == service);
        row.and_then(|row| row["entries"].as_u64()).unwrap_or(0) as usize
    };
    let query = fleet.query();
    query
        .until("/api/v1/services", |list| {
            entries(list, "gateway") >= 2 * all && entries(list, "content") >= all
        })
        .await;
    fleet.assert_all_once(&before).await;
    fleet.assert_all_once(&last).await;
    let (_, list) = query.get("/api/v1/services").await;
    assert_eq!(
        (entries(&list, "gateway"), entries(&list, "content")),
        (2 * all, all)
    );
    let (_, journals) = query.get("/api/v1/journals").await;
    for server in names {
        assert_eq!(parts(row(&journals, server), "gaps"), Vec::<&Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_keeps_less_than_the_outage_shows_what_is_gone() {
    let mut fleet = Fleet::with_repository(
        "[journal]\nsegment_bytes = 262144\nretain_bytes = 524288\nlinger_ms = 0\n",
    );
    fleet.kill_repository();
    let votes = fleet.vote(2000, 8000).await;
    fleet.start_repository();
    // The hub holds the newest 4 MiB of each journal, and the journal half a megabyte.
    let journals = fleet
        .query()
        .until("/api/v1/journals", |journals| {
            ["content-1", "content-2"].iter().all(|server| {
                let row = row(journals, server);
                row["epochs"].is_array() && !parts(row, "gaps").is_empty()
            })
        })
        .await;
    for server in ["content-1", "content-2"] {
        let row = row(&journals, server);
        for gap in parts(row, "gaps") {
            assert_eq!(
                gap["lost"], true,
                "told to be lost, not on its way: {row:#}"
            );
        }
    }
    let mut newest = 0;
    for session in votes.keys() {
        let path = format!("/api/v1/sessions/{session}");
        let timeline = fleet
            .query()
            .until(&path, |timeline| {
                let list = timeline["entries"].as_array();
                // A vote comes with its entry's closing record.
                list.is_some_and(|list| list.iter().all(|e| e["outcome"] != "unknown"))
            })
            .await;
        newest += choices(&timeline).len();
    }
    assert!(0 < newest && newest < 2000, "{newest} of 2000 votes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_on_demand_leaves_nothing_out_when_it_reports_again() {
    let mut fleet = Fleet::with_repository("[agent.servers.content-1]\nmode = \"on-demand\"\n");
    let votes = fleet.vote(100, 0).await;
    let session = votes.keys().next().expect("a visit");
    let mut fetch = fleet.asking(&["fetch", "--server", "content-1", "--session", session]);
    let reports: Value = serde_json::from_str(&run(&mut fetch)).expect("JSON");
    assert!(reports["reports"][0]["new"].as_u64() > Some(0), "{reports}");
    let listen = fleet.contents[0].address("content").to_owned();
    fleet.contents[0].stop();
    std::fs::write(fleet.folder.path().join("fleet.toml"), "").expect("written");
    fleet.contents[0] = fleet.content(1, &listen);
    fleet.assert_all_once(&votes).await;
    let (_, journals) = fleet.query().get("/api/v1/journals").await;
    let first = row(&journals, "content-1");
    assert_eq!(first["agent"]["mode"], "real-time");
    assert_eq!(parts(first, "unasked"), Vec::<&Value>::new(), "{first:#}");
    assert_eq!(parts(first, "gaps"), Vec::<&Value>::new(), "{first:#}");
}
