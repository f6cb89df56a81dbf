//! Exports of real systems, against parents and depths told by a walk of its own over the raw
//! JSON. The files are no part of the project: where they are absent, this says so and is skipped.
//!
//! The walk knows nothing of sides, roles or identifiers. It goes from a span's id to its parent's
//! id, and counts a *call* at each id where some span says that it makes one, or where a span of
//! another service begins and nobody above says that he called it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use selvedge_calltree::TreeBuilder;
use selvedge_spans::{observe, read};
use serde_json::Value;

struct Row {
    trace: String,
    id: String,
    parent: Option<String>,
    kind: String,
    service: String,
}

/// What is at one id of a trace.
#[derive(Default)]
struct Level {
    parent: Option<String>,
    makes: bool,
    receives: bool,
    services: BTreeSet<String>,
}

fn hex(text: &str, digits: usize) -> String {
    match text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => format!("{:0>digits$}", text.to_lowercase()),
        false => text
            .bytes()
            .map(|b| format!("{b:02x}"))
            .chain(std::iter::repeat("00".into()))
            .take(digits / 2)
            .collect(),
    }
}

fn zipkin(file: &Value) -> Vec<Row> {
    let spans = file.as_array().expect("a list");
    spans
        .iter()
        .map(|span| Row {
            trace: hex(span["traceId"].as_str().expect("a trace id"), 32),
            id: hex(span["id"].as_str().expect("an id"), 16),
            parent: span["parentId"].as_str().map(|id| hex(id, 16)),
            kind: span["kind"].as_str().unwrap_or("").to_owned(),
            service: span["localEndpoint"]["serviceName"]
                .as_str()
                .unwrap_or("")
                .to_owned(),
        })
        .collect()
}

fn jaeger(file: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    for trace in file["data"].as_array().expect("traces") {
        for span in trace["spans"].as_array().expect("spans") {
            let process = match &span["process"] {
                Value::Null => &trace["processes"][span["processID"].as_str().unwrap_or("")],
                process => process,
            };
            rows.push(Row {
                trace: hex(span["traceID"].as_str().expect("a trace id"), 32),
                id: hex(span["spanID"].as_str().expect("an id"), 16),
                parent: span["references"][0]["spanID"]
                    .as_str()
                    .map(|id| hex(id, 16)),
                kind: String::new(),
                service: process["serviceName"].as_str().unwrap_or("").to_owned(),
            });
        }
    }
    rows
}

/// Of every call that hangs on its root: its id, its caller's id, its depth.
type Calls = BTreeSet<(String, Option<String>, u32)>;

fn walk(rows: Vec<Row>) -> BTreeMap<String, Calls> {
    let mut traces: BTreeMap<String, HashMap<String, Level>> = BTreeMap::new();
    for row in rows {
        let level = traces
            .entry(row.trace)
            .or_default()
            .entry(row.id)
            .or_default();
        level.makes |= matches!(&*row.kind, "CLIENT" | "PRODUCER");
        level.receives |= matches!(&*row.kind, "SERVER" | "CONSUMER");
        level.parent = level.parent.take().or(row.parent);
        level.services.insert(row.service);
    }
    traces
        .into_iter()
        .map(|(trace, levels)| {
            let is_call = |level: &Level| match &level.parent {
                None => true,
                Some(above) => {
                    let above = levels.get(above);
                    // A call that has its receiver at the same id calls nobody else.
                    let called = above.is_some_and(|above| above.makes && !above.receives);
                    let other =
                        above.is_some_and(|above| above.services.is_disjoint(&level.services));
                    level.makes || !called && (level.receives || other)
                }
            };
            let mut calls = Calls::new();
            for (id, level) in levels.iter().filter(|(_, level)| is_call(level)) {
                let (mut above, mut caller, mut depth, mut rooted) = (level, None, 0, true);
                while let Some(parent) = &above.parent {
                    let Some(next) = levels.get(parent) else {
                        rooted = false;
                        break;
                    };
                    if is_call(next) {
                        caller = caller.or(Some(parent.clone()));
                        depth += 1;
                    }
                    above = next;
                }
                if rooted {
                    calls.insert((id.clone(), caller, depth));
                }
            }
            (trace, calls)
        })
        .collect()
}

fn check(path: &Path, rows: fn(&Value) -> Vec<Row>) -> usize {
    let bytes = std::fs::read(path).expect("a file");
    let intake = read(&bytes).expect("spans");
    assert_eq!(
        intake.refused(),
        0,
        "{}: {:?}",
        path.display(),
        intake.refused
    );
    let observed = observe(&intake.spans);
    let expected = walk(rows(&serde_json::from_slice(&bytes).expect("JSON")));
    assert_eq!(observed.requests.len(), expected.len());
    for (origin, observations) in observed.requests {
        let count = observations.len();
        let builder = TreeBuilder::batch(origin, observations);
        assert_eq!((builder.len(), builder.refused()), (count, 0));
        let tree = builder.tree();
        let mut found = Calls::new();
        for node in tree.nodes() {
            let (mut top, mut rooted) = (node, node.level() == 0);
            while let Some(parent) = top.parent() {
                (top, rooted) = (parent, parent.level() == 0);
            }
            let id = |node: selvedge_calltree::NodeView<'_>| {
                node.id().map_or(String::new(), |id| id.to_string())
            };
            if rooted {
                found.insert((id(node), node.parent().map(id), node.depth()));
            }
        }
        assert_eq!(
            found,
            expected[&origin.to_string()],
            "{} {origin}",
            path.display()
        );
    }
    intake.spans.len()
}

pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/traces");
    let Ok(folder) = std::fs::read_dir(root.join(folder)) else {
        eprintln!("skipped: no {folder} in ../shared/data/traces");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = folder.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn zipkin_traces_have_the_parents_and_depths_that_a_walk_finds() {
    for file in files("zipkin") {
        let spans = check(&file, zipkin);
        println!("{}: {spans} spans", file.display());
    }
}

#[test]
fn jaeger_traces_have_the_parents_and_depths_that_a_walk_finds() {
    for file in files("jaeger-crisp")
        .iter()
        .chain(&files("jaeger-deathstarbench"))
    {
        let spans = check(file, jaeger);
        println!("{}: {spans} spans", file.display());
    }
}

#[test]
fn the_example_of_otlp_keeps_all_that_it_says() {
    for file in files("otlp") {
        let intake = read(&std::fs::read(&file).expect("a file")).expect("spans");
        let span = &intake.spans[0];
        assert_eq!(span.origin.to_string(), "5b8efff798038103d269b633813fc60c");
        assert_eq!(&*span.name, "I'm a server span");
        assert_eq!(&*span.service, "my.service");
        assert_eq!(&*span.scope.name, "my.library");
        assert!(span.scope.attributes.get("my.scope.attribute").is_some());
        let value = span
            .attributes
            .iter()
            .next()
            .map(|(_, value)| value.to_text());
        assert_eq!(value.as_deref(), Some("some value"));
        assert_eq!(span.duration_ns, Some(1_000_000_000));
        let observed = observe(&intake.spans);
        assert_eq!(observed.requests.values().map(Vec::len).sum::<usize>(), 1);
    }
}
