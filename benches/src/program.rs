//! The release program of this workspace, built and started for a benchmark.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A command of the program `selvedge`: `SELVEDGE_BIN` if that is set, else built in release form.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn selvedge() -> Command {
    if let Some(path) = std::env::var_os("SELVEDGE_BIN") {
        return Command::new(path);
    }
    let args = ["--package", "selvedge-cli", "--bin", "selvedge"];
    Command::new(built(&args, "selvedge"))
}

/// Builds a program of the workspace in release form; where it lies.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn built(args: &[&str], name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a root");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--release"])
        .args(args)
        .current_dir(root);
    assert!(
        build.status().expect("cargo runs").success(),
        "{name} does not build"
    );
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("release").join(name)
}
