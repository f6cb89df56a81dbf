//! The project's own commands: `cargo xtask setup | test | check | bench | tidy | media | simulate |
//! lab | fuzz | trace-context`.
//!
//! They need nothing but the Rust toolchain; what a test needs beyond it (a Debian package) they
//! install where they may, and say so where they may not.

mod bench;
mod fuzz;
mod longest;
mod media;
mod run;
mod setup;
mod tidy;
mod trace_context;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::run::{cargo, step};

const USAGE: &str = "usage: cargo xtask COMMAND
  setup                 set up what tests need
  test [-- ARGS]        set up what tests need, and run every test
  check                 formatting, clippy with warnings denied, tidy, docs, then test
  bench [NAME ...]      run the benchmarks and print their ratios
  tidy [--bless]        the rules of the tree: purity, the map, the crate graph
  media [FILE.ts]       make transport streams with ffmpeg; the channel's is copied to FILE.ts
  simulate [--seed S] [--seeds N] [--minutes M]
                        run seeded fleets; a seed replays one
  lab FILE              bring a plan's wide-area network up on this machine (needs root)
  fuzz [--seconds N] [TARGET ...]
                        run the fuzz targets (needs nightly and cargo-fuzz)
  trace-context DIR     run W3C's suite, a copy of which is in DIR, against sidecar and SDK";

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match command {
        "setup" => setup::for_tests(),
        "test" => test(rest),
        "check" => check(),
        "bench" => bench::bench(rest),
        "tidy" => tidy::tidy(rest.iter().any(|arg| arg == "--bless")),
        "media" => {
            setup::for_media()?;
            media::media(rest.first().map(String::as_str))
        }
        "simulate" => simulate(rest),
        "lab" => lab(rest),
        "fuzz" => fuzz::fuzz(rest),
        "trace-context" => match rest {
            [folder] => trace_context::trace_context(folder),
            _ => bail!("which folder holds the suite?\n{USAGE}"),
        },
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n{USAGE}"),
    }
}

fn test(rest: &[String]) -> Result<()> {
    setup::for_tests()?;
    // The system tests run the program itself.
    step("build the program", || {
        cargo(&["build", "--package", "selvedge-cli", "--bin", "selvedge"])
    })?;
    let mut args = vec!["test", "--workspace"];
    args.extend(rest.iter().map(String::as_str));
    step("every test", || cargo(&args))
}

fn check() -> Result<()> {
    step("formatting", || cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", || tidy::tidy(false))?;
    step("clippy", || {
        let mut args = vec!["clippy", "--workspace", "--all-targets", "--quiet"];
        args.extend(["--", "--deny", "warnings"]);
        cargo(&args)
    })?;
    step("docs", run::docs)?;
    test(&[])?;
    longest::print()
}

fn lab(rest: &[String]) -> Result<()> {
    let mut args = vec!["run", "--quiet", "--package", "selvedge-lab", "--"];
    args.extend(rest.iter().map(String::as_str));
    cargo(&args)
}

fn simulate(rest: &[String]) -> Result<()> {
    let mut args = vec![
        "run",
        "--release",
        "--quiet",
        "--package",
        "selvedge-simulation",
    ];
    args.extend(["--bin", "simulate", "--"]);
    args.extend(rest.iter().map(String::as_str));
    cargo(&args)
}
