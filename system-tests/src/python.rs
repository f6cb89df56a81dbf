//! Python with the packages that tests use.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of `target/python`, in which `cargo xtask setup` put OpenTelemetry's SDK and our
/// propagator.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python() -> Command {
    let path = root().join("target/python/bin/python");
    assert!(
        path.exists(),
        "no Python packages at {}: `cargo xtask test` sets them up (or `cargo xtask setup` alone)",
        path.display()
    );
    Command::new(path)
}

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.into(), PathBuf::from)
}
