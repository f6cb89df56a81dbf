//! The rules of the tree that no compiler checks.
//!
//! Pure crates stay pure; the map (ARCHITECTURE.md) names only what exists, and every crate; the
//! crate graph is what its golden file says; every file says first what it is for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::root;

/// Crates without sockets, files, clocks, random sources or an async runtime.
const PURE: [&str; 10] = [
    "identity", "entry", "filter", "session", "calltree", "spans", "analysis", "plan", "clock",
    "video",
];

/// What a pure crate may depend on. A name not in it wants a reason here.
const PURE_DEPENDENCIES: [&str; 12] = [
    "arrayvec",         // containers
    "blake3",           // keyed hash
    "bytes",            // shared byte slices
    "constant_time_eq", // comparing MACs
    "crc32c",           // checksum
    "fearless_simd",    // asks the processor for its instructions, and has the call that is unsafe
    "hashbrown",        // containers
    "serde",            // forms
    "serde_json",       // forms
    "smallvec",         // containers
    "thiserror",        // error types
    "time",             // calendar arithmetic, without its clock
];

/// What a pure crate must not say.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::io::std",
    "std::thread",
    "std::process",
    "Instant::now",
    "SystemTime",
    "now_utc",
    "std::env",
];

/// What stays out of tracked files. (In two parts, so that this file does not hold it.)
const UNFINISHED: [(&str, &str); 4] = [
    ("todo", "!("),
    ("unimplemented", "!("),
    ("FIX", "ME"),
    ("XX", "X "),
];

/// Where the crate graph's golden file lies.
const GRAPH: &str = "docs/crate-graph.txt";

/// Checks the rules; with `bless`, writes the golden file anew.
pub(crate) fn tidy(bless: bool) -> Result<()> {
    let root = root();
    let mut faults = Vec::new();
    pure_sources(&root, &mut faults)?;
    files(&root, &mut faults)?;
    map(&root, &mut faults)?;
    graph(&root, bless, &mut faults)?;
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if faults.is_empty() {
        Ok(())
    } else {
        bail!("{} faults", faults.len());
    }
}

/// Every Rust file of the project, tests and tools included.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = item?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && name != "node_modules" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn pure_sources(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    for name in PURE {
        for path in rust_files(&root.join("crates").join(name).join("src"))? {
            let text = std::fs::read_to_string(&path)?;
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                    faults.push(format!(
                        "{}:{}: {word} in a pure crate; take it as an argument",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    Ok(())
}

fn files(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    for path in rust_files(root)? {
        let text = std::fs::read_to_string(&path)?;
        let first = text.lines().find(|line| !line.starts_with("#!"));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            faults.push(format!(
                "{}: opens without a //! line saying what it is for",
                path.display()
            ));
        }
        for (left, right) in UNFINISHED {
            let word = format!("{left}{right}");
            if text.contains(&word) {
                faults.push(format!("{}: holds {word:?}", path.display()));
            }
        }
    }
    Ok(())
}

/// Every path that ARCHITECTURE.md names in backquotes exists, and it names every crate.
fn map(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md"))
        .context("ARCHITECTURE.md, the newcomer's first page")?;
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    for path in named.iter().filter(|name| {
        name.contains('/')
            && !name.contains([' ', '<', '{', '*', ':', '\n'])
            && !name.starts_with('/')
    }) {
        if !root.join(path).exists() {
            faults.push(format!(
                "ARCHITECTURE.md names {path}, which does not exist"
            ));
        }
    }
    for item in std::fs::read_dir(root.join("crates"))? {
        let name = item?.file_name().to_string_lossy().into_owned();
        let path = format!("crates/{name}");
        if !named
            .iter()
            .any(|named| named.trim_end_matches('/') == path)
        {
            faults.push(format!("ARCHITECTURE.md does not name {path}"));
        }
    }
    Ok(())
}

/// The dependencies between the project's crates, held against the golden file; those of pure
/// crates on others, against the list.
fn graph(root: &Path, bless: bool, faults: &mut Vec<String>) -> Result<()> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&out.stdout).context("cargo metadata")?;
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let Some(name) = package["name"].as_str() else {
            continue;
        };
        let dependencies = package["dependencies"].as_array().unwrap_or(&empty);
        let normal = dependencies.iter().filter(|d| d["kind"].is_null());
        let all: Vec<&str> = normal.filter_map(|d| d["name"].as_str()).collect();
        let pure = name
            .strip_prefix("selvedge-")
            .is_some_and(|n| PURE.contains(&n));
        for other in all.iter().filter(|_| pure) {
            let pure = match other.strip_prefix("selvedge-") {
                Some(ours) => PURE.contains(&ours),
                None => PURE_DEPENDENCIES.contains(other),
            };
            if !pure {
                faults.push(format!("{name} is pure and must not depend on {other}"));
            }
        }
        let mut ours: Vec<&str> = all.into_iter().filter(|d| names.contains(d)).collect();
        ours.sort_unstable();
        ours.dedup();
        graph.insert(name, ours);
    }
    let mut text = String::new();
    for (name, ours) in graph {
        let _ = writeln!(text, "{name}: {}", ours.join(" "));
    }
    let golden = root.join(GRAPH);
    if bless {
        std::fs::write(&golden, &text)?;
    }
    let held = std::fs::read_to_string(&golden).unwrap_or_default();
    if held != text {
        faults.push(format!(
            "the crate graph is not that of {GRAPH}; if it should change: cargo xtask tidy --bless"
        ));
    }
    Ok(())
}
