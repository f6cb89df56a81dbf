//! Exports of real systems, against what a script that shares no code with us says of their calls,
//! callers, depths and critical paths (`scripts/expected_trees.py`): as files shown by `import
//! --tree`, and imported into a running Selvedge.
//!
//! The real files are no part of the project: `SELVEDGE_TRACES` names their folder (else
//! `../shared/data/traces` beside the project). Files of the same forms are generated on every run,
//! so something is always tested; a failure names the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_system_tests::{Query, Up, root, run, selvedge};
use serde_json::{Value, json};

/// Files of one test. Traces of different files have different ids.
struct Files {
    paths: Vec<PathBuf>,
    what: String,
    _folder: tempfile::TempDir,
}

/// A seed that is kept for good, and one drawn now.
const SEED: u64 = 7;

fn script(name: &str) -> Command {
    let mut python = Command::new("python3");
    python.arg(root().join("system-tests/scripts").join(name));
    python
}

fn generated(seed: u64) -> Files {
    let folder = tempfile::tempdir().expect("a folder");
    let mut generator = script("generated_traces.py");
    let _ = run(generator.arg(seed.to_string()).arg(folder.path()));
    Files {
        paths: listed(folder.path()),
        what: format!("generated_traces.py {seed}"),
        _folder: folder,
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    paths
}

/// Copies of the real files, if they are there. In many of Jaeger's the trace is called `A`: the
/// copies' are numbered.
fn real() -> Option<Files> {
    let traces = std::env::var_os("SELVEDGE_TRACES")
        .map_or_else(|| root().join("../shared/data/traces"), PathBuf::from);
    let folder = tempfile::tempdir().expect("a folder");
    let mut paths = Vec::new();
    for form in ["jaeger-crisp", "jaeger-deathstarbench", "otlp", "zipkin"] {
        for from in listed(&traces.join(form)) {
            let name = from.file_name().expect("a name").to_string_lossy();
            let to = folder.path().join(format!("{form}-{name}"));
            let text = std::fs::read_to_string(&from).expect("text");
            let text = match form {
                "jaeger-crisp" => text.replace(
                    "\"traceID\": \"A\"",
                    &format!("\"traceID\": \"{:x}\"", 0xc0ffee00 + paths.len()),
                ),
                _ => text,
            };
            std::fs::write(&to, text).expect("written");
            paths.push(to);
        }
    }
    if paths.is_empty() {
        eprintln!(
            "no real traces in {}: generated ones only",
            traces.display()
        );
        return None;
    }
    Some(Files {
        paths,
        what: "the real traces".into(),
        _folder: folder,
    })
}

impl Files {
    /// What the script says of every trace.
    fn expected(&self) -> BTreeMap<String, Value> {
        let text = run(script("expected_trees.py").args(&self.paths));
        serde_json::from_str(&text).expect("JSON")
    }
}

/// An id without what tells nodes of one id apart.
fn plain(id: &Value) -> Option<String> {
    let id = id.as_str()?;
    Some(id.split(['@', '~']).next().unwrap_or(id).to_owned())
}

/// Id, caller, and depth where the root is known.
type Call = (Option<String>, Option<String>, Option<u64>);

fn expected_calls(expected: &Value) -> Vec<Call> {
    let calls = expected["calls"].as_array().expect("calls");
    let mut calls: Vec<Call> = calls
        .iter()
        .map(|call| {
            let depth = call["depth"].as_u64();
            (plain(&call["id"]), plain(&call["caller"]), depth)
        })
        .collect();
    calls.sort();
    calls
}

/// The same of a tree that Selvedge shows.
fn shown_calls(tree: &Value) -> Vec<Call> {
    let nodes = tree["nodes"].as_array().expect("nodes");
    let by_id: BTreeMap<&str, &Value> = nodes
        .iter()
        .map(|node| (node["id"].as_str().expect("an id"), node))
        .collect();
    let rooted = |node: &Value| {
        let mut top = node;
        while let Some(parent) = top["parent"].as_str() {
            top = by_id[parent];
        }
        top["depth"] == 0
    };
    let mut calls: Vec<Call> = nodes
        .iter()
        .map(|node| {
            let depth = node["depth"].as_u64().filter(|_| rooted(node));
            (plain(&node["id"]), plain(&node["parent"]), depth)
        })
        .collect();
    calls.sort();
    calls
}

/// The first thing in which two lists differ; whole trees are too long to read.
#[track_caller]
fn same(what: &str, shown: &[Call], expected: &[Call]) {
    let of = |calls: &[Call]| calls.iter().cloned().collect::<BTreeSet<_>>();
    let (a, b) = (of(shown), of(expected));
    let only_shown: Vec<_> = a.difference(&b).take(5).collect();
    let only_expected: Vec<_> = b.difference(&a).take(5).collect();
    assert!(
        shown == expected,
        "{what}: {} calls shown, {} expected; only shown: {only_shown:?}; only expected: {only_expected:?}",
        shown.len(),
        expected.len()
    );
}

fn files_are_shown_as_expected(files: &Files) -> usize {
    let expected = files.expected();
    let mut import = selvedge(&["import", "--tree", "--json"]);
    let shown: Value = serde_json::from_str(&run(import.args(&files.paths))).expect("JSON");
    assert_eq!(shown["refused"], json!({}), "{}", files.what);
    let trees = shown["trees"].as_array().expect("trees");
    assert_eq!(trees.len(), expected.len(), "{}", files.what);
    for tree in trees {
        let origin = tree["origin"].as_str().expect("an origin");
        let what = format!("{}, {origin}", files.what);
        same(
            &what,
            &shown_calls(tree),
            &expected_calls(&expected[origin]),
        );
    }
    trees.len()
}

#[test]
fn generated_files_have_the_calls_callers_and_depths_that_a_script_finds() {
    let drawn = u64::from(std::process::id());
    for seed in [SEED, drawn] {
        assert!(files_are_shown_as_expected(&generated(seed)) >= 18);
    }
}

#[test]
fn real_files_have_the_calls_callers_and_depths_that_a_script_finds() {
    let Some(files) = real() else { return };
    let trees = files_are_shown_as_expected(&files);
    println!("{trees} trees of {} files", files.paths.len());
    assert!(trees >= files.paths.len());
}

/// Imports the files into a running Selvedge, and compares what it answers with what the script
/// says; returns how many critical paths could be compared, and of how many traces.
async fn answers_are_as_expected(up: &Up, files: &Files) -> (usize, usize) {
    let expected = files.expected();
    let mut import = selvedge(&["import", "--admin", &up.admin()]);
    let _ = run(import.args(&files.paths));
    let query = up.query();
    let mut compared = 0;
    for (origin, expected) in &expected {
        let what = format!("{}, {origin}", files.what);
        let (status, tree) = query.get(&format!("/api/v1/requests/{origin}")).await;
        assert_eq!(status, 200, "{what}");
        same(&what, &shown_calls(&tree), &expected_calls(expected));
        let Some(path) = expected["critical_path"].as_object() else {
            continue;
        };
        let path: BTreeMap<String, u64> = path
            .iter()
            .map(|(id, ns)| (id.clone(), ns.as_u64().expect("nanoseconds")))
            .collect();
        assert_eq!(shown_path(&query, origin).await, path, "{what}");
        compared += 1;
    }
    (compared, expected.len())
}

/// Nanoseconds on the critical path by id, as Selvedge answers.
async fn shown_path(query: &Query, origin: &str) -> BTreeMap<String, u64> {
    let (status, diagnosis) = query
        .get(&format!("/api/v1/requests/{origin}/diagnosis"))
        .await;
    assert_eq!(status, 200, "{origin}");
    let mut path = BTreeMap::new();
    for step in diagnosis["critical_path"].as_array().expect("steps") {
        let ns = |part: &str| step[part].as_u64().expect("nanoseconds");
        *path
            .entry(plain(&step["node"]).expect("a node"))
            .or_default() += ns("own") + ns("network");
    }
    path
}

#[tokio::test]
async fn imported_traces_answer_with_the_trees_and_critical_paths_that_a_script_finds() {
    let up = Up::start(&[]);
    for seed in [SEED, u64::from(std::process::id())] {
        let (compared, traces) = answers_are_as_expected(&up, &generated(seed)).await;
        // Those of clocks that contradict each other, or without their root, are left out.
        assert!(
            compared * 4 > traces * 3,
            "seed {seed}: {compared} of {traces}"
        );
    }
    if let Some(files) = real() {
        let (compared, traces) = answers_are_as_expected(&up, &files).await;
        println!("{compared} critical paths of {traces} real traces");
        assert!(compared + 1 >= traces, "{compared} of {traces}");
        published_paths_agree(&up.query(), &files).await;
    }
}

/// The files of CRISP say what its authors expect of the critical path: by service and operation,
/// microseconds. They count calls that overlap a little in full, and we the overlap once; so a
/// fiftieth of the whole may differ.
async fn published_paths_agree(query: &Query, files: &Files) {
    let mut compared = 0;
    for path in &files.paths {
        let text = std::fs::read_to_string(path).expect("text");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let published = match &file["testing"] {
            Value::Array(list) => &list[0],
            other => &other["opTimeExclusive"],
        };
        let Some(published) = published.as_object() else {
            continue;
        };
        let origin = file["data"][0]["traceID"].as_str().expect("an id");
        let (_, diagnosis) = query
            .get(&format!("/api/v1/requests/{origin:0>32}/diagnosis"))
            .await;
        let mut shown: BTreeMap<String, u64> = BTreeMap::new();
        for step in diagnosis["critical_path"].as_array().expect("steps") {
            let name = |part: &str| step[part].as_str().expect("a name").to_owned();
            let ns = |part: &str| step[part].as_u64().expect("nanoseconds");
            let name = format!("[{}] {}", name("service"), name("operation"));
            *shown.entry(name).or_default() += (ns("own") + ns("network")) / 1000;
        }
        let whole: u64 = shown.values().sum();
        let names = |map: &mut dyn Iterator<Item = &String>| map.cloned().collect::<BTreeSet<_>>();
        assert_eq!(
            names(&mut shown.keys()),
            names(&mut published.keys()),
            "{}",
            path.display()
        );
        for (name, us) in published {
            let us = us.as_u64().expect("microseconds");
            let off = us.abs_diff(shown[name]);
            assert!(off * 50 <= whole, "{}: {name}: {shown:?}", path.display());
        }
        compared += 1;
    }
    assert!(compared >= 30, "{compared} published paths");
}
