//! OpenTelemetry's SDKs for JavaScript and Rust, as tests run them, and what drives a browser.
//! (Python's is in the Python environment.)
//!
//! JavaScript: packages of npm as `package-lock.json` pins them, in `target/otel-js`, without their
//! install scripts. Rust: a program with a workspace of its own, built into `target/otel-rust`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{root, run};

const JAVASCRIPT: &str = "system-tests/programs/otel-js";
const BROWSER: &str = "system-tests/programs/browser";
const RUST: &str = "system-tests/programs/otel-rust/Cargo.toml";

/// Where they are; the tests look there too.
const JAVASCRIPT_FOLDER: &str = "target/otel-js";
const BROWSER_FOLDER: &str = "target/browser";
const RUST_FOLDER: &str = "target/otel-rust";

/// Installs JavaScript's packages, unless they are there as wanted.
pub(super) fn javascript() -> Result<()> {
    packages(JAVASCRIPT, JAVASCRIPT_FOLDER)
}

/// Installs what drives Debian's Chromium, likewise.
pub(super) fn browser() -> Result<()> {
    packages(BROWSER, BROWSER_FOLDER)
}

fn packages(from: &str, to: &str) -> Result<()> {
    let root = root();
    let (from, folder) = (root.join(from), root.join(to));
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let wanted = read(&from.join("package-lock.json"))?;
    let stamp = folder.join("selvedge-stamp");
    if read(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    eprintln!("setting up {to} with packages of npm");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(from.join(name), folder.join(name)).with_context(|| name.to_owned())?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--ignore-scripts", "--no-audit"]);
    run(npm.args(["--no-fund", "--prefix", to]))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Builds the program in Rust; cargo knows whether that is needed.
pub(super) fn rust() -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--manifest-path", RUST]);
    run(cargo.args(["--target-dir", RUST_FOLDER]))
}
