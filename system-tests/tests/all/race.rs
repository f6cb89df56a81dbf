//! The response race by the program itself: on loopback as `up` runs it, and over the lab's ways
//! with a process for each part (C1-C7).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use selvedge_lab::{Lab, Plan, possible};
use selvedge_system_tests::{Server, Up, run, selvedge, until_sites_race};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn sites(race: &Value) -> Vec<&str> {
    let answers = race["answers"].as_array().expect("answers");
    answers
        .iter()
        .filter_map(|answer| answer["site"].as_str())
        .collect()
}

#[tokio::test]
async fn up_lets_its_servers_race_to_our_client_and_shows_it() {
    // Forwards have time to arrive on a busy machine.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("selvedge.toml");
    std::fs::write(&file, "[race]\ndelay = \"250ms\"\nnoise_us_max = 1000000\n").expect("written");
    let up = Up::start(&["--config", file.to_str().expect("text")]);
    let master = up.server().address("race").to_owned();
    // Until the replicas' clocks are known, the master refuses with the reason; and who asks at
    // every moment, as here, asks too often.
    let raced = loop {
        let mut command = selvedge(&["receiver", "race", "--json", "--master", &master]);
        let output = command.output().expect("it runs");
        if output.status.success() {
            break json(&String::from_utf8_lossy(&output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let early = ["fewer than two replicas can race", "asks too often"];
        assert!(early.iter().any(|reason| said.contains(reason)), "{said}");
    };
    let race = &raced["races"][0];
    let first = sites(race)[0];
    assert_eq!(race["winner"], first);
    assert_eq!(race["http"]["status"], 200);
    let url = format!("{}/api/v1/races?limit=1", up.admin());
    let told = loop {
        let text = reqwest::get(&url)
            .await
            .expect("answered")
            .text()
            .await
            .expect("text");
        let listed = json(&text);
        if !listed["races"][0]["winner"].is_null() {
            break listed;
        }
    };
    assert_eq!(told["races"][0]["race"], race["race"]);
    assert_eq!(told["races"][0]["winner"], race["winner"]);
    assert_eq!(told["replicas"].as_array().expect("replicas").len(), 3);
    let metrics = format!("{}/metrics", up.admin());
    let metrics = reqwest::get(metrics)
        .await
        .expect("answered")
        .text()
        .await
        .expect("text");
    assert!(
        metrics.contains("selvedge_race_outcomes_total 1"),
        "{metrics}"
    );
}

/// From the master, and to the client, one way in milliseconds.
const SITES: [(&str, f64, f64, &str); 3] = [
    ("north", 20.0, 45.0, "+3s,30ppm"),
    ("east", 40.0, 5.0, "-7s,-30ppm"),
    ("south", 10.0, 25.0, "+1h,10ppm"),
];

/// The site whose replica is part of its sidecar.
const SIDECAR: &str = "south";

/// The master, the client, and a process for each site, on hosts of their own.
struct Wide {
    lab: Lab,
    folder: tempfile::TempDir,
    // What each site serves over HTTP.
    _content: Vec<Running>,
}

/// A program of others; it ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Wide {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut plan = Plan::default()
            .host("gateway", [10, 6, 0, 1])
            .host("client", [10, 6, 2, 1]);
        plan = plan.path("gateway", "client", 10.0);
        for (number, (name, to_site, to_client, _)) in (1..).zip(SITES) {
            plan = plan
                .host(name, [10, 6, 1, number])
                .path("gateway", name, to_site)
                .path(name, "client", to_client);
        }
        let lab = Lab::start(&plan).expect("the lab starts");
        let serve = |(name, ..): (&str, f64, f64, &str)| {
            let files = folder.path().join(name);
            std::fs::create_dir(&files).expect("made");
            std::fs::write(files.join("hello"), format!("hello from {name}")).expect("written");
            let mut command = Command::new("python3");
            command
                .args(["-u", "-m", "http.server", "9000", "--directory"])
                .arg(files)
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut child = lab.host(name).spawn(command).expect("python3 is installed");
            let mut said = String::new();
            let out = child.stdout.take().expect("piped");
            BufReader::new(out).read_line(&mut said).expect("it serves");
            Running(child)
        };
        let content = SITES.into_iter().map(serve).collect();
        Self {
            lab,
            folder,
            _content: content,
        }
    }

    /// Runs master and sites; `settings` are lines of the section `[race]`.
    fn run(&self, settings: &str) -> Vec<Server> {
        let mut config =
            format!("[race]\nlisten = \"10.6.0.1:7700\"\nnoise_us_max = 1000000\n{settings}\n");
        // Late by a busy machine is not silent here. The address is that of the sidecar's replica.
        config += "[race.replica]\ntolerance_us = 20000\nservices = [\"10.6.0.1:7700\"]\n";
        let beside = self.lab.address(SIDECAR);
        config += &format!("listen = \"{beside}:7701\"\n");
        for (name, ..) in SITES {
            let address = self.lab.address(name);
            config += &format!("[[race.site]]\nname = \"{name}\"\naddress = \"{address}:7701\"\n");
        }
        let file = self.folder.path().join("selvedge.toml");
        std::fs::write(&file, config).expect("written");
        let start = |host: &str, args: &[&str]| {
            let mut command = selvedge(args);
            command.arg("--config").arg(&file);
            command.arg("--data").arg(self.folder.path());
            let folder = self.folder.path().to_owned();
            self.lab
                .host(host)
                .inside(move || Server::start(command, &folder))
        };
        let mut gateway = vec!["gateway", "--upstream", "http://10.6.1.1:9000"];
        gateway.extend(["--listen", "10.6.0.1:8080", "--bus-listen", "10.6.0.1:7600"]);
        gateway.extend(["--admin-listen", "10.6.0.1:8090"]);
        let mut running = vec![start("gateway", &gateway)];
        for (name, _, _, clock) in SITES {
            let address = self.lab.address(name);
            let (listen, url) = (format!("{address}:7701"), format!("http://{address}:9000"));
            let mut replica = vec!["race-replica", "--name", name, "--listen", &listen];
            replica.extend(["--url", &url, "--test-clock", clock]);
            let inbound = format!("{address}:9001");
            if name == SIDECAR {
                replica = vec!["sidecar", "--name", name, "--upstream", &url];
                replica.extend(["--listen", &inbound, "--bus", "10.6.0.1:7600"]);
            }
            running.push(start(name, &replica));
        }
        until_sites_race(SITES.len(), |path| self.admin(path));
        running
    }

    /// What the client tells of so many races.
    fn raced(&self, rounds: u32, args: &[&str]) -> String {
        let mut command = selvedge(&["receiver", "race", "--json", "--time-limit", "1s"]);
        command.args(["--gateway", "http://10.6.0.1:8080"]);
        command.args(["--rounds", &rounds.to_string()]).args(args);
        let output = self
            .lab
            .host("client")
            .inside(move || command.output().expect("it runs"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the master's admin port answers.
    fn admin(&self, path: &str) -> String {
        let url = format!("http://10.6.0.1:8090{path}");
        self.lab
            .host("gateway")
            .inside(move || run(Command::new("curl").args(["-s", &url])))
    }
}

/// On a busy machine the lab delivers a packet late now and then: most of nine races count.
fn most(raced: &Value, site: &str) {
    let wins = &raced["summary"]["wins"];
    assert!(
        wins[site].as_u64().is_some_and(|wins| wins >= 5),
        "{raced:#}"
    );
}

fn in_a_lab() -> bool {
    let possible = possible();
    if let Err(error) = &possible {
        eprintln!("skipped: {error}");
    }
    possible.is_ok()
}

#[test]
fn a_process_for_each_part_over_wide_area_ways_finds_the_nearest() {
    if !in_a_lab() {
        return;
    }
    let wide = Wide::start();
    let _running = wide.run("delay = \"longest+40ms\"");
    let raced = json(&wide.raced(9, &[]));
    most(&raced, "east");
    let known = |race: &Value| {
        sites(race)
            .iter()
            .all(|name| name.is_empty() || SITES.iter().any(|site| site.0 == *name))
    };
    assert!(
        raced["races"].as_array().expect("races").iter().all(known),
        "{raced:#}"
    );
}

/// Stamps, delays and events, one after the other in one network (C2, C3, C4).
#[test]
fn each_stamp_delay_and_event_races_as_it_says() {
    if !in_a_lab() {
        return;
    }
    let wide = Wide::start();
    // Whose answer comes first, and whether delays are warned of.
    let settings = [
        (
            "stamp = \"leaving\"\ndelay = \"longest+40ms\"",
            "east",
            false,
        ),
        ("stamp = \"receipt\"\ndelay = \"150ms\"", "east", false),
        // Less than the longest way, 40 ms to the nearest: nearer sites lose, and the master says so.
        ("delay = \"at-most 15ms\"", "south", true),
        // A signal's way from the master counts: 10 + 25 ms are the least.
        ("event = \"signal\"\ndelay = \"60ms\"", "south", false),
    ];
    for (setting, winner, short) in settings {
        let _running = wide.run(setting);
        most(&json(&wide.raced(9, &[])), winner);
        let metrics = wide.admin("/metrics");
        let warned = metrics
            .lines()
            .find_map(|line| line.strip_prefix("selvedge_race_short_delays_total "))
            .expect("it is counted");
        assert_eq!(warned != "0", short, "{setting}: {warned}");
        let event = &json(&wide.admin("/api/v1/races?limit=1"))["races"][0]["event"];
        let signal = setting.contains("signal");
        assert_eq!(event, if signal { "signal" } else { "time" });
    }
    // The answer that is raced is each site's content itself.
    let _running = wide.run("delay = \"longest+40ms\"");
    let raced = json(&wide.raced(9, &["--content", "--path", "/hello"]));
    most(&raced, "east");
    for race in raced["races"].as_array().expect("races") {
        for answer in race["answers"].as_array().expect("answers") {
            let site = answer["site"].as_str().expect("a site");
            let hello = format!("hello from {site}");
            assert_eq!(answer["content"]["text"], hello, "{answer:#}");
        }
    }
}

/// chronyd, which says what it knows of the machine's clock; it does not touch it.
fn chronyd(wide: &Wide, host: &str) -> Running {
    let file = wide.folder.path().join(format!("chrony-{host}.conf"));
    let pid = file.with_extension("pid");
    // A clock that is right by definition, and no socket but a port of this host.
    let config = format!(
        "local stratum 5\ncmdport 323\nbindcmdaddress 127.0.0.1\nbindcmdaddress /\n\
         pidfile {}\nuser root\n",
        pid.display()
    );
    std::fs::write(&file, config).expect("written");
    let mut command = Command::new("chronyd");
    command.args(["-x", "-d", "-f"]).arg(&file);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = wide.lab.host(host).spawn(command);
    let running = Running(child.expect("chronyd is installed"));
    let synchronised = || {
        let mut ask = Command::new("chronyc");
        ask.args(["-c", "-h", "127.0.0.1", "tracking"]);
        let told = wide.lab.host(host).inside(move || ask.output());
        let told = told.expect("chronyc is installed").stdout;
        String::from_utf8_lossy(&told).contains("Normal")
    };
    while !synchronised() {}
    running
}

/// Machines whose clocks chrony keeps need not learn them by exchanges (C1).
#[test]
fn clocks_that_chrony_keeps_are_taken() {
    if !in_a_lab() {
        return;
    }
    let wide = Wide::start();
    let hosts = ["gateway"].into_iter().chain(SITES.map(|site| site.0));
    let _chrony: Vec<_> = hosts.map(|host| chronyd(&wide, host)).collect();
    let _running = wide.run("clock = \"chrony\"\ndelay = \"longest+40ms\"");
    most(&json(&wide.raced(9, &[])), "east");
    let told = json(&wide.admin("/api/v1/races"));
    for replica in told["replicas"].as_array().expect("replicas") {
        assert_eq!(replica["clock"], "external", "{replica:#}");
        // By chrony's account, which is at most 16 s old on either side.
        let noise = replica["noise"].as_u64().expect("a number");
        assert!(noise <= 2 * 16_000 + 1000, "{replica:#}");
    }
}

#[test]
fn a_replica_without_a_service_address_or_a_right_clock_says_what_it_wants() {
    let refused = |args: &[&str]| {
        let output = selvedge(args).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    let replica = [
        "race-replica",
        "--name",
        "north",
        "--url",
        "http://127.0.0.1:1",
        "--data",
        data,
    ];
    assert!(refused(&replica).contains("--service ADDRESS"));
    let wrong = [&replica[..], &["--test-clock", "soon"]].concat();
    assert!(refused(&wrong).contains("--test-clock"));
    let help = run(&mut selvedge(&["race-replica", "--help"]));
    assert!(help.contains("--service"), "{help}");
}
