//! `cargo xtask trace-context DIR`: the suite of W3C's own for Trace Context, against a service
//! behind the sidecar and against one on the SDK.
//!
//! The suite is no part of this repository: DIR is a copy of `test` of w3c/trace-context. It wants
//! `aiohttp`, which is installed beside it in `target/trace-context`, and port 7777.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, root, run, step};

/// A program, ended with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the suite in this folder.
pub(crate) fn trace_context(folder: &str) -> Result<()> {
    let folder = std::path::absolute(folder)?;
    let suite = folder.join("test.py");
    if !suite.exists() {
        bail!(
            "no {}: take `test` from https://github.com/w3c/trace-context",
            suite.display()
        );
    }
    let python = root().join("target/trace-context/bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv", "target/trace-context"]))
            .context("Debian has it in the package python3-venv")?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "aiohttp"]))?;
    }
    let target = target();
    step("build", || {
        cargo(&["build", "--package", "selvedge-cli", "--bin", "selvedge"])?;
        cargo(&[
            "build",
            "--package",
            "selvedge",
            "--example",
            "trace_context",
        ])
    })?;
    step("a service behind the sidecar", || {
        let data = Data::new()?;
        let (service, egress) = (free()?, free()?);
        let config = data.path().join("sidecar.toml");
        let text = format!(
            "[sidecar]\nupstream = \"http://{service}\"\nlisten = \"127.0.0.1:0\"\negress = \"{egress}\"\n"
        );
        std::fs::write(&config, text)?;
        let _service = Running(
            Command::new(&python)
                .arg(root().join("system-tests/scripts/trace_context_service.py"))
                .args(["--listen", &service.to_string()])
                .args(["--egress", &egress.to_string()])
                .spawn()?,
        );
        let mut sidecar = Command::new(target.join("debug/selvedge"));
        sidecar.args(["sidecar", "--name", "suite", "--bus", &free()?.to_string()]);
        sidecar.arg("--config").arg(&config);
        sidecar.arg("--data").arg(data.path());
        let (_sidecar, address) = serving(&mut sidecar)?;
        run_suite(&python, &suite, &address)
    })?;
    step("a service on the SDK", || {
        let mut service = Command::new(target.join("debug/examples/trace_context"));
        let (_service, address) = serving(&mut service)?;
        run_suite(&python, &suite, &address)
    })
}

/// Starts a program that says at which address it serves, as the last word of its first line.
fn serving(command: &mut Command) -> Result<(Running, String)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let out = child.stdout.take().context("a pipe")?;
    let running = Running(child);
    let mut out = BufReader::new(out);
    let mut line = String::new();
    out.read_line(&mut line)?;
    let address = line.split_whitespace().last().unwrap_or_default();
    let address = address.trim_start_matches("http://").to_owned();
    if address.parse::<SocketAddr>().is_err() {
        bail!("{command:?} does not serve: {line}");
    }
    // What it prints later has to go somewhere.
    std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(drop));
    Ok((running, address))
}

fn run_suite(python: &Path, suite: &Path, address: &str) -> Result<()> {
    let folder = suite.parent().context("a folder")?;
    let status = Command::new(python)
        .arg(suite)
        .arg(format!("http://{address}/test"))
        .env("SPEC_LEVEL", "2")
        .env("STRICT_LEVEL", "2")
        .current_dir(folder)
        .status()?;
    if !status.success() {
        bail!("the suite failed: {status}");
    }
    Ok(())
}

fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// An address of this host that was free a moment ago.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A folder for one run, removed after it.
struct Data(std::path::PathBuf);

impl Data {
    fn new() -> Result<Self> {
        let path = target().join(format!("trace-context-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
