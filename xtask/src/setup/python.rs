//! The Python that tests run: a virtual environment in `target/python` with pinned packages of
//! PyPI and our propagator, made anew whenever one of them changes.
//!
//! The propagator is installed as an editable package, so that a change of its code needs nothing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{root, run};

/// Where it is; the tests look there too.
const FOLDER: &str = "target/python";
const REQUIREMENTS: &str = "system-tests/scripts/requirements.txt";
const PROPAGATOR: &str = "propagators/python";

/// Makes the environment, unless it is there as wanted.
pub(super) fn set_up() -> Result<()> {
    let root = root();
    let folder = root.join(FOLDER);
    let wanted = wanted(&root)?;
    let stamp = folder.join("selvedge-stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    eprintln!("setting up {FOLDER} with packages of PyPI");
    run(Command::new("python3").args(["-m", "venv", "--clear", FOLDER]))
        .context("Debian has it in the package python3-venv")?;
    let pip = || {
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet"]);
        pip.arg("--disable-pip-version-check");
        pip
    };
    run(pip().args(["--requirement", REQUIREMENTS]))?;
    run(pip().args(["--no-deps", "--editable", PROPAGATOR]))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// What the environment is made from.
fn wanted(root: &Path) -> Result<String> {
    let mut wanted = root.display().to_string();
    for path in [REQUIREMENTS, "propagators/python/pyproject.toml"] {
        let text = std::fs::read_to_string(root.join(path));
        wanted += &text.with_context(|| format!("cannot read {path}"))?;
    }
    Ok(wanted)
}
