//! The program under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The built program: `SELVEDGE_BIN` if it is set, else this profile's, which is built first.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("SELVEDGE_BIN") {
            return path.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a root");
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "selvedge-cli",
            "--bin",
            "selvedge",
        ]);
        let status = build.current_dir(root).status().expect("cargo runs");
        assert!(status.success(), "the program does not build");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        target.join("debug/selvedge")
    })
}

/// The built program of an example's package: in the folder `SELVEDGE_EXAMPLES` if that is set,
/// else this profile's, which is built first.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn example(package: &str, program: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("SELVEDGE_EXAMPLES") {
        return Path::new(&folder).join(program);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a root");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", package, "--bin", program]);
    let status = build.current_dir(root).status().expect("cargo runs");
    assert!(status.success(), "{package} does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("debug").join(program)
}

/// A command of the program.
#[must_use]
pub fn selvedge(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    command
}

/// Runs a command to its end, and returns what it printed; it must succeed.
///
/// # Panics
/// When it fails: with what it said.
#[must_use]
pub fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it runs");
    assert!(
        status.success(),
        "{command:?}: {status}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).expect("text")
}
