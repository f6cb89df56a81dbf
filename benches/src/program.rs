//! The release program of this workspace, built and started for a benchmark.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Clock ticks a second in /proc/PID/stat (Linux, x86 and ARM).
const TICKS: f64 = 100.0;

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

/// A role of the program at work. Dropped, it is killed.
pub struct Running {
    child: Child,
    ports: Value,
}

impl Running {
    /// Starts `command`, with a ports file in `folder`, and waits until it says that it serves.
    ///
    /// # Panics
    /// When it ends first.
    #[must_use]
    pub fn start(mut command: Command, folder: &Path) -> Self {
        let ports = tempfile::Builder::new()
            .prefix("ports-")
            .tempfile_in(folder)
            .expect("a ports file");
        command.arg("--ports-file").arg(ports.path());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("readable");
        assert!(line.contains("serves"), "{command:?}: {line}");
        // Whatever else it prints must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let ports = std::fs::read(ports.path()).expect("written");
        Self {
            child,
            ports: serde_json::from_slice(&ports).expect("JSON"),
        }
    }

    /// Starts `selvedge up` on free ports, with this configuration and its data in `folder`.
    #[must_use]
    pub fn up(folder: &Path, config: &Path, args: &[&str]) -> Self {
        let mut command = selvedge();
        command.args(["up", "--ephemeral", "--config"]).arg(config);
        command.arg("--data").arg(folder.join("data")).args(args);
        Self::start(command, folder)
    }

    /// Where a part of it listens.
    ///
    /// # Panics
    /// When it has no such part.
    #[must_use]
    pub fn address(&self, part: &str) -> SocketAddr {
        let address = self.ports[part].as_str();
        let address = address.and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no {part} among {}", self.ports))
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time that a process has used, in seconds.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name may hold anything, and ends with the last parenthesis.
    let after_name = stat.rsplit(')').next().expect("fields");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / TICKS
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
