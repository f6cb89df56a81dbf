//! The benchmarks, and the table of their ratios.
//!
//! Each benchmark is a program of `benches/` that prints its result rows as
//! `| what | ours | beside | ratio |`; everything else that it prints is for the reader's eye. The
//! rows of all of them make the table that stands in the README.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::root;
use crate::setup;

/// Runs the named benchmarks (all, if none is named).
pub(crate) fn bench(names: &[String]) -> Result<()> {
    setup::for_benches()?;
    let names = if names.is_empty() {
        all()?
    } else {
        names.to_vec()
    };
    let mut rows = Vec::new();
    for name in &names {
        eprintln!("== bench {name}");
        rows.extend(one(name)?);
    }
    println!("\n| what | ours | beside | ratio |\n|---|---|---|---|");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

fn all() -> Result<Vec<String>> {
    let folder = root().join("benches/benches");
    let mut names = Vec::new();
    for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        if path.extension().is_some_and(|kind| kind == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Runs one benchmark, shows what it prints, and returns its rows.
fn one(name: &str) -> Result<Vec<String>> {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "bench",
        "--quiet",
        "--package",
        "selvedge-benches",
        "--bench",
        name,
    ]);
    let mut child = command
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo bench")?;
    let mut rows = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("{line}");
            if line.starts_with("| ") && line.matches('|').count() == 5 {
                rows.push(line);
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("benchmark {name} failed: {status}");
    }
    Ok(rows)
}
