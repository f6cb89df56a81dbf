//! `cargo xtask lab FILE`: brings a plan's network up, starts its programs, and ends with them.

use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use selvedge_lab::{Lab, LabError, Plan, possible};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: lab FILE (see docs/guide/lab.md)");
        return Ok(ExitCode::from(2));
    };
    if let Err(LabError::Impossible(why)) = possible() {
        eprintln!("lab: skipped: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let plan = Plan::parse(&text).map_err(|error| format!("{file}: {error}"))?;
    let lab = Lab::start(&plan)?;
    for host in &plan.hosts {
        eprintln!("{:<12} {}", host.name, host.address);
    }
    let mut last = None;
    let mut children = Vec::new();
    for run in &plan.runs {
        let mut command = with_the_lab(&run.command[0]);
        command.args(&run.command[1..]);
        let child = lab.host(&run.host).spawn(command);
        let child = child.map_err(|error| format!("{:?} on {}: {error}", run.command, run.host))?;
        if run.last {
            last = Some(child);
        } else {
            children.push(child);
        }
    }
    let code = match last {
        Some(mut last) => last.wait()?.code().unwrap_or(1),
        None => wait(&mut children)?,
    };
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
    let late = lab.lateness();
    eprintln!(
        "{} packets, late p50 {:?}, p99 {:?}",
        late.packets, late.p50, late.p99
    );
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// A program that ends with the lab, and all that it started with it, however the lab ends: in
/// namespaces of process ids of their own, whose first process is killed when its parent dies.
fn with_the_lab(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "--",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--",
    ]);
    command.arg(program);
    command
}

/// Until all have ended.
fn wait(children: &mut [Child]) -> std::io::Result<i32> {
    let mut code = 0;
    for child in children {
        code = code.max(child.wait()?.code().unwrap_or(1));
    }
    // What is on its way is still delivered.
    std::thread::sleep(Duration::from_millis(10));
    Ok(code)
}
