//! `docs/openapi.json` is what the code says.

use std::path::{Path, PathBuf};

use crate::api::openapi;

/// `SELVEDGE_BLESS=1 cargo test -p selvedge-repository` writes the file anew.
#[test]
fn the_openapi_file_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let said = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("SELVEDGE_BLESS").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        said == held,
        "docs/openapi.json is old: run SELVEDGE_BLESS=1 cargo test -p selvedge-repository, and look at the change"
    );
}

/// Routes of the admin port stand in several crates; those that name their path by a text of their
/// own, not by the endpoint table, could be forgotten in the file.
#[test]
fn every_route_of_the_admin_port_is_in_the_openapi_file() {
    let api = openapi();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut routes = Vec::new();
    for name in ["cli", "follow", "monitor", "repository", "collector"] {
        for file in rust_files(&crates.join(name).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let calls = text.split(".route(").skip(1).map(str::trim_start);
            routes.extend(calls.filter_map(|call| path(call, &text)));
        }
    }
    // Proof that the search finds what it is for.
    assert!(routes.iter().any(|route| route == "/api/v1/thresholds"));
    assert!(routes.iter().any(|route| route == "/api/v1/entries"));
    for route in routes.iter().filter(|route| route.starts_with("/api/")) {
        let described = api["paths"][route].is_object();
        assert!(
            described,
            "{route} is not described: add it to the endpoint table"
        );
    }
}

/// The path that a call of `route` begins with: a text, or a constant of the same file.
fn path(call: &str, file: &str) -> Option<String> {
    let text = match call.strip_prefix('"') {
        Some(text) => text,
        None => {
            let (name, _) = call.split_once(',')?;
            let value = file.split(&format!("const {name}: &str = \"")).nth(1);
            value?
        }
    };
    text.split('"').next().map(str::to_owned)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}
