//! OpenTelemetry users: three Flask services with the SDK's own instrumentation, whose spans go to
//! a running Selvedge by OTLP. With our propagator a service whose spans are lost costs no edge of
//! the tree; without it the tree is broken, and says so (E2, D9, D10).

use selvedge_system_tests::{Up, python, root, run};
use serde_json::{Value, json};

/// Sends a request through the example's services, and returns its tree, once it has this many
/// nodes. The services flush their spans before they end, so all that will come has been sent.
async fn tree_of(up: &Up, args: &[&str], nodes: usize) -> Value {
    let mut example = python();
    example.arg(root().join("examples/otel-python/run.py"));
    example.args(["--otlp", &up.server().url("otlp_http")]);
    // Nothing of whoever runs the tests may change what the SDK does.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            example.env_remove(name);
        }
    }
    let origin = run(example.args(args));
    let path = format!("/api/v1/requests/{}", origin.trim());
    let whole = |tree: &Value| tree["nodes"].as_array().map_or(0, Vec::len) >= nodes;
    let tree = up.query().until(&path, whole).await;
    assert_eq!(tree["nodes"].as_array().map(Vec::len), Some(nodes));
    tree
}

/// Each node as service, operation, depth, evidence and its caller's place in this list, in the
/// tree's order; calls of one caller by their names.
fn shape(tree: &Value) -> Vec<Value> {
    let nodes = tree["nodes"].as_array().expect("nodes");
    let mut shown: Vec<_> = nodes.iter().collect();
    shown.sort_by_key(|node| (node["depth"].as_u64(), node["operation"].to_string()));
    let place = |id: &Value| shown.iter().position(|node| node["id"] == *id);
    shown
        .iter()
        .map(|node| {
            json!([
                node["service"],
                node["operation"],
                node["depth"],
                node["evidence"],
                place(&node["parent"]),
            ])
        })
        .collect()
}

#[tokio::test]
async fn with_the_propagator_a_lost_service_costs_no_edge() {
    let up = Up::start(&[]);
    let whole = tree_of(&up, &["--propagator", "selvedge"], 4).await;
    assert_eq!(whole["complete"], true);
    assert_eq!(
        shape(&whole),
        [
            json!(["web", "GET /", 0, "observed", null]),
            json!(["shop", "GET /order", 1, "observed", 0]),
            json!(["stock", "GET /reserve", 2, "observed", 1]),
            json!(["stock", "GET /stock", 2, "observed", 1]),
        ]
    );

    // The shop logged nothing: its caller tells its node, and what it called tells the rest.
    let lost = tree_of(&up, &["--lose", "shop"], 4).await;
    assert_eq!(lost["complete"], true, "{lost:#}");
    assert_eq!(lost["flags"], json!([]));
    assert_eq!(
        shape(&lost),
        [
            json!(["web", "GET /", 0, "observed", null]),
            json!([null, "GET", 1, "one-sided", 0]),
            json!(["stock", "GET /reserve", 2, "one-sided", 1]),
            json!(["stock", "GET /stock", 2, "one-sided", 1]),
        ]
    );
    for node in lost["nodes"].as_array().expect("nodes") {
        assert_eq!(node["id"].as_str().map(str::len), Some(16), "{node:#}");
    }

    // Two services, one above the other: nobody's log names the shop's call but the stock's stack.
    let lost = tree_of(&up, &["--lose", "web", "--lose", "shop"], 4).await;
    assert_eq!(lost["complete"], false);
    let inferred = lost["nodes"].as_array().expect("nodes");
    let inferred = inferred.iter().filter(|n| n["evidence"] == "inferred");
    assert_eq!(inferred.count(), 2, "{lost:#}");
    assert_eq!(
        shape(&lost)[2..],
        [
            json!(["stock", "GET /reserve", 2, "one-sided", 1]),
            json!(["stock", "GET /stock", 2, "one-sided", 1]),
        ]
    );
}

#[tokio::test]
async fn without_it_a_lost_service_breaks_the_tree_and_that_is_said() {
    let up = Up::start(&[]);
    let plain = ["--propagator", "tracecontext"];
    let whole = tree_of(&up, &plain, 4).await;
    assert_eq!(whole["complete"], true);

    let lost = tree_of(&up, &[&plain[..], &["--lose", "shop"]].concat(), 4).await;
    assert_eq!(lost["complete"], false);
    assert_eq!(lost["flags"], json!(["unanchored"]));
    // Nobody says whose calls the stock's are, so no edge is drawn.
    let nodes = lost["nodes"].as_array().expect("nodes");
    let stock = nodes.iter().filter(|node| node["service"] == "stock");
    let parents: Vec<&Value> = stock.map(|node| &node["parent"]).collect();
    assert_eq!(parents, [&Value::Null, &Value::Null]);
    let web = nodes.iter().find(|node| node["service"] == "web");
    assert_eq!(web.expect("web's node")["depth"], 0);

    // The broken one can be searched for; the whole one is not among them.
    let found = up.query().get("/api/v1/requests?flag=unanchored").await.1;
    let origins: Vec<&Value> = found["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|request| &request["origin"])
        .collect();
    assert_eq!(origins, [&lost["origin"]]);
}

#[test]
fn the_packages_own_tests_pass() {
    let mut tests = python();
    tests.args(["-m", "unittest", "discover", "tests"]);
    let _ = run(tests.current_dir(root().join("propagators/python")));
}
