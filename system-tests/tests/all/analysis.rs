//! What many trees tell: call paths (D13), and audits with their bounds (D14).

use std::fs;

use selvedge_system_tests::{Up, run, selvedge};
use serde_json::{Value, json};

use crate::fabric::Viewer;

/// The services that one order calls, the gateway first.
const CALLED: [&str; 5] = ["gateway", "content", "catalogue", "payment", "stock"];

async fn order(viewer: &mut Viewer) {
    let (answer, _) = viewer
        .post("/orders", &json!({"item": "umbrella", "quantity": 1}))
        .await;
    assert_eq!(answer.status(), 201);
}

async fn client_of(up: &Up, viewer: &Viewer) -> String {
    let timeline = up.query().timeline(&viewer.session(), 1).await;
    format!("client:{}", timeline["client"].as_str().expect("a client"))
}

fn rows<'a>(list: &'a Value, plural: &str) -> &'a [Value] {
    list[plural].as_array().expect("rows")
}

/// The lines of a consumer, by service: those that say so much of it.
async fn lines(up: &Up, consumer: &str, calls: &[(&str, u64)]) -> Value {
    let path = format!("/api/v1/audit?consumer={consumer}");
    let whole = |list: &Value| {
        calls.iter().all(|(service, calls)| {
            let mut rows = rows(list, "lines").iter();
            rows.any(|row| {
                row["service"] == *service && row["observed"] == *calls && row["unknown"] == 0
            })
        })
    };
    up.query().until(&path, whole).await
}

fn line<'a>(list: &'a Value, service: &str) -> &'a Value {
    let mut found = rows(list, "lines")
        .iter()
        .filter(|row| row["service"] == service);
    let row = found
        .next()
        .unwrap_or_else(|| panic!("no {service} in {list:#}"));
    assert!(found.next().is_none(), "two lines of {service} in {list:#}");
    row
}

fn number(row: &Value, name: &str) -> u64 {
    row[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {row}"))
}

#[tokio::test]
async fn orders_tell_their_paths_and_clients_what_they_consumed() {
    let up = Up::start(&[]);
    let (mut one, mut other) = (Viewer::new(&up), Viewer::new(&up));
    for _ in 0..5 {
        order(&mut one).await;
    }
    for _ in 0..2 {
        order(&mut other).await;
        other.get("/orders").await;
    }
    let (first, second) = (client_of(&up, &one).await, client_of(&up, &other).await);
    assert_ne!(first, second);
    let of_first = lines(&up, &first, &CALLED.map(|service| (service, 5))).await;
    // Looking at orders calls nothing behind the content servers.
    let of_second = CALLED.map(|service| match service {
        "gateway" | "content" => (service, 4),
        _ => (service, 2),
    });
    let of_second = lines(&up, &second, &of_second).await;

    // Both clients' lines add up to what services did for each other.
    let whole = lines(
        &up,
        "service:content",
        &[("payment", 7), ("stock", 7), ("catalogue", 7)],
    )
    .await;
    for service in ["payment", "stock", "catalogue"] {
        let parts = [line(&of_first, service), line(&of_second, service)];
        for sum in [
            "requests",
            "calls",
            "errors",
            "work",
            "request_bytes",
            "response_bytes",
        ] {
            let added: u64 = parts.iter().map(|row| number(row, sum)).sum();
            assert_eq!(
                number(line(&whole, service), sum),
                added,
                "{sum} of {service}"
            );
        }
        for row in parts {
            let calls = &row["calls"];
            assert_eq!(
                (&row["calls_min"], &row["calls_max"]),
                (calls, calls),
                "nothing is lost"
            );
        }
    }

    // Each line opens into the requests that prove it.
    let query = up.query();
    let (_, proof) = query
        .get(
            line(&of_second, "gateway")["trees"]
                .as_str()
                .expect("a link"),
        )
        .await;
    assert_eq!(rows(&proof, "requests").len(), 4);

    // Every order goes one way to each of three services.
    let path = "/api/v1/analysis/paths?service=gateway&operation=POST%20/orders";
    let (status, paths) = query.get(path).await;
    assert_eq!(status, 200);
    let found: Vec<Vec<&str>> = rows(&paths, "paths")
        .iter()
        .map(|row| {
            assert_eq!(
                (&row["share"], &row["of"]),
                (&json!(1.0), &json!(7)),
                "{row:#}"
            );
            assert_eq!(
                (&row["calls"], &row["calls_per_request"]),
                (&json!(7), &json!(1.0))
            );
            assert_eq!((&row["errors"], &row["inferred"]), (&json!(0), &json!(0)));
            assert_eq!(
                (&row["latency"]["count"], &row["latency"]["error"]),
                (&json!(7), &json!(0.0))
            );
            let steps = row["path"].as_array().expect("steps").iter();
            steps
                .map(|step| step["service"].as_str().expect("a service"))
                .collect()
        })
        .collect();
    let expected = ["catalogue", "payment", "stock"].map(|last| vec!["gateway", "content", last]);
    assert_eq!(found, expected);
    let example = rows(&paths, "paths")[0]["examples"][0]
        .as_str()
        .expect("an origin");
    assert_eq!(query.tree(example, 5).await["complete"], true);
    let admin = up.admin();
    let shown = run(&mut selvedge(&[
        "paths",
        "--operation",
        "POST /orders",
        "--admin",
        &admin,
    ]));
    let way = "gateway POST /orders → content POST /orders → payment POST /charges";
    assert!(
        shown.contains("gateway POST /orders  7 requests") && shown.contains(way),
        "{shown}"
    );

    // A client's own key opens its own audit only.
    let data = up.data().display().to_string();
    let key = run(&mut selvedge(&["audit-key", &first, "--data", &data]));
    let audit = |more: &[&str]| {
        let mut command = selvedge(&["audit", "--admin", &admin, "--key", key.trim()]);
        command.args(more);
        command
    };
    let own: Value = serde_json::from_str(&run(&mut audit(&["--json"]))).expect("JSON");
    assert_eq!(rows(&own, "lines").len(), 5);
    assert!(
        rows(&own, "lines")
            .iter()
            .all(|row| row["consumer"] == first)
    );
    let shown = run(&mut audit(&["--requests", "--service", "payment"]));
    assert_eq!(
        shown.lines().count(),
        6,
        "a head and five requests: {shown}"
    );
    let refused = audit(&["--consumer", &second]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("another consumer's audit"), "{said}");
    let theirs = rows(&proof, "requests")[0]["origin"]
        .as_str()
        .expect("an origin");
    let mut tree = selvedge(&["tree", theirs, "--no-fetch", "--admin", &admin]);
    let refused = tree
        .env("SELVEDGE_KEY", key.trim())
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(1), "another client's tree");
    let ours = example_of(&own, &query).await;
    let mut tree = selvedge(&["tree", &ours, "--no-fetch", "--json", "--admin", &admin]);
    let tree: Value =
        serde_json::from_str(&run(tree.env("SELVEDGE_KEY", key.trim()))).expect("JSON");
    let nodes = tree["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 5);
    assert!(
        nodes
            .iter()
            .all(|node| node["host"].is_null() && node["attributes"] == json!({}))
    );
}

/// A request that the first line counts.
async fn example_of(list: &Value, query: &selvedge_system_tests::Query) -> String {
    let trees = list["lines"][0]["trees"].as_str().expect("a link");
    let (_, proof) = query.get(trees).await;
    proof["requests"][0]["origin"]
        .as_str()
        .expect("an origin")
        .to_owned()
}

#[tokio::test]
async fn lost_journals_widen_the_bounds_and_the_truth_stays_within() {
    let mut up = Up::start(&["--servers", "1"]);
    let mut viewer = Viewer::new(&up);
    for _ in 0..4 {
        order(&mut viewer).await;
    }
    let client = client_of(&up, &viewer).await;
    lines(&up, &client, &CALLED.map(|service| (service, 4))).await;
    let (_, journals) = up.query().get("/api/v1/journals").await;
    let payment = rows(&journals, "journals")
        .iter()
        .find(|row| row["server"] == "payment");
    let lost = number(&payment.expect("payment's journal")["epochs"][0], "records");
    up.server_mut().stop();

    // The second run's journals say where the first one's ended.
    up.restart();
    let mut later = Viewer::new(&up);
    order(&mut later).await;
    up.server_mut().stop();

    // The first run's journals of payment and of those who call it are lost, and the repository
    // with them.
    for server in ["content-1", "payment"] {
        let files = fs::read_dir(up.journal(server)).expect("a folder");
        let names = files.map(|file| file.expect("readable").path());
        let first = |path: &std::path::PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("0000000001-"))
        };
        let gone: Vec<_> = names.filter(first).collect();
        assert!(!gone.is_empty());
        gone.iter()
            .for_each(|path| fs::remove_file(path).expect("removed"));
    }
    fs::remove_dir_all(up.data().join("repository")).expect("removed");
    up.restart();

    // What is left of the first client's orders: the gateway's, the catalogue's and stock's side.
    let path = format!("/api/v1/audit?consumer={client}");
    let refilled = |list: &Value| {
        let said = |service: &str, name: &str| {
            let mut rows = rows(list, "lines").iter();
            rows.find(|row| row["service"] == service)
                .and_then(|row| row[name].as_u64())
        };
        said("gateway", "observed") == Some(4)
            && said("stock", "calls") == Some(4)
            && said("catalogue", "calls") == Some(4)
            // The later run tells whose journal content-1's is.
            && said("content", "calls_max").is_some()
    };
    let list = up.query().until(&path, refilled).await;
    let (stock, content) = (line(&list, "stock"), line(&list, "content"));
    assert_eq!(
        (number(stock, "one_sided"), &stock["calls_max"]),
        (4, &json!(4)),
        "{list:#}"
    );
    assert_eq!(number(content, "calls_min"), 4, "{list:#}");
    assert!(number(content, "calls_max") > 4, "{list:#}");
    // Nobody knows of the first client's payments any more, but how many there were at most.
    assert!(
        rows(&list, "lines")
            .iter()
            .all(|row| row["service"] != "payment"),
        "{list:#}"
    );
    let client = client_of(&up, &later).await;
    let list = lines(&up, &client, &CALLED.map(|service| (service, 1))).await;
    let payment = line(&list, "payment");
    assert_eq!(number(payment, "hidden_max"), lost, "{payment}");
    assert_eq!(
        (number(payment, "calls_min"), number(payment, "calls_max")),
        (1, 1 + lost)
    );
    assert!(
        lost >= 4,
        "the four payments that nobody knows of are within"
    );
}
