//! Running the fuzz targets.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{root, run};

/// Runs the named fuzz targets (all, if none is named), each for `--seconds` (600).
pub(crate) fn fuzz(rest: &[String]) -> Result<()> {
    let mut seconds = 600;
    let mut targets = Vec::new();
    let mut args = rest.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().context("--seconds needs a number")?;
            seconds = value.parse().context("--seconds needs a number")?;
        } else {
            targets.push(arg.clone());
        }
    }
    if targets.is_empty() {
        targets = all()?;
    }
    let length: u32 = seconds;
    for target in targets {
        eprintln!("== fuzz {target} for {length} s");
        let mut command = Command::new("cargo");
        command.args(["+nightly", "fuzz", "run", &target]);
        // New inputs go to the first folder; the second is in the repository.
        let corpus = root().join("fuzz/corpus").join(&target);
        std::fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        command.arg(corpus);
        let seeds = root().join("fuzz/seeds").join(&target);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        command.arg("--");
        command.arg(format!("-max_total_time={length}"));
        // One artifact of a crash is enough, and memory is bounded whatever the input.
        command.args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"]);
        run(&mut command)?;
    }
    Ok(())
}

fn all() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("no fuzz target in {}", folder.display());
    }
    Ok(names)
}
