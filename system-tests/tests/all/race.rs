//! The response race by the program itself: on loopback as `up` runs it, and over the lab's ways
//! with a process for each part (C1-C7).

use std::net::Ipv4Addr;

use selvedge_lab::{Lab, Plan, possible};
use selvedge_system_tests::{Server, Up, run, selvedge};
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

#[test]
fn a_process_for_each_part_over_wide_area_ways_finds_the_nearest() {
    if let Err(error) = possible() {
        eprintln!("skipped: {error}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::default()
        .host("gateway", [10, 6, 0, 1])
        .host("client", [10, 6, 2, 1]);
    plan = plan.path("gateway", "client", 10.0);
    let mut config =
        "[race]\nlisten = \"10.6.0.1:7700\"\ndelay = \"longest+40ms\"\nnoise_us_max = 1000000\n"
            .to_owned();
    // Late by a busy machine is not silent here.
    config += "[race.replica]\ntolerance_us = 20000\n";
    for (number, (name, to_site, to_client, _)) in (1..).zip(SITES) {
        let address = Ipv4Addr::new(10, 6, 1, number);
        plan = plan.host(name, address.octets());
        plan = plan
            .path("gateway", name, to_site)
            .path(name, "client", to_client);
        config += &format!("[[race.site]]\nname = \"{name}\"\naddress = \"{address}:7701\"\n");
    }
    let lab = Lab::start(&plan).expect("the lab starts");
    let file = folder.path().join("selvedge.toml");
    std::fs::write(&file, config).expect("written");
    let file = file.to_str().expect("text").to_owned();
    let data = folder.path().to_str().expect("text").to_owned();
    let start = |host: &str, args: &[&str]| {
        let mut command = selvedge(args);
        command.args(["--config", &file, "--data", &data]);
        let folder = folder.path().to_owned();
        lab.host(host)
            .inside(move || Server::start(command, &folder))
    };
    let mut running = vec![start(
        "gateway",
        &[
            "gateway",
            "--listen",
            "10.6.0.1:8080",
            "--bus-listen",
            "10.6.0.1:7600",
            "--admin-listen",
            "10.6.0.1:8090",
            "--upstream",
            "http://10.6.1.1:9000",
        ],
    )];
    for (name, _, _, clock) in SITES {
        let address = lab.address(name);
        running.push(start(
            name,
            &[
                "race-replica",
                "--name",
                name,
                "--listen",
                &format!("{address}:7701"),
                "--service",
                "10.6.0.1:7700",
                "--url",
                &format!("http://{address}:9000"),
                "--test-clock",
                clock,
            ],
        ));
    }
    let race = |rounds: &str| {
        let mut command = selvedge(&[
            "receiver",
            "race",
            "--json",
            "--gateway",
            "http://10.6.0.1:8080",
            "--time-limit",
            "1s",
        ]);
        command.args(["--rounds", rounds]);
        lab.host("client")
            .inside(move || command.output().expect("it runs"))
    };
    // Until all three race.
    while !std::str::from_utf8(&race("1").stdout)
        .is_ok_and(|text| SITES.iter().all(|site| text.contains(site.0)))
    {}
    // On a busy machine the lab delivers a packet late now and then: most races count.
    let raced = json(&String::from_utf8_lossy(&race("9").stdout));
    let wins = &raced["summary"]["wins"];
    assert!(
        wins["east"].as_u64().is_some_and(|wins| wins >= 5),
        "{raced:#}"
    );
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
