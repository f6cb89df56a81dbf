//! Reading files of spans, as other tracing systems export them, and showing their call trees.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use selvedge_calltree::TreeBuilder;
use selvedge_spans::{INPUT_BYTES_MAX, Intake, observe};
use serde_json::{Value, json};

use crate::args::Import;
use crate::print::{self, tree};

/// Shows the trees of all spans in the files: `selvedge import --tree`. A trace may be spread over
/// several files.
///
/// # Errors
/// When a file cannot be read as spans, or standard output is closed.
pub(crate) fn trees(args: &Import) -> Result<()> {
    let mut intake = Intake::default();
    for path in &args.files {
        intake.append(read(path)?);
    }
    let spans = intake.spans.len();
    let observed = observe(&intake.spans);
    let mut trees = Vec::new();
    for (origin, observations) in observed.requests {
        let builder = TreeBuilder::batch(origin, observations);
        let tree = serde_json::to_value(builder.tree().to_json()).context("tree as JSON")?;
        if args.json {
            trees.push(tree);
        } else {
            print::text(&format!("{}\n", tree::render(&tree)))?;
        }
    }
    let refused: serde_json::Map<String, Value> = intake
        .refused
        .iter()
        .map(|(reason, count)| (reason.as_str().to_owned(), json!(count)))
        .collect();
    if args.json {
        return Ok(print::json(&json!({
            "trees": trees,
            "spans": spans,
            "repeats": observed.repeats,
            "conflicts": observed.conflicts,
            "cycles": observed.cycles,
            "refused": refused,
        }))?);
    }
    let counts = [
        (observed.repeats, "exact repeats left out"),
        (
            observed.conflicts,
            "spans contradict another of the same id",
        ),
        (observed.cycles, "cycles of parents cut"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        eprintln!("selvedge: {count} {what}");
    }
    for (reason, count) in refused {
        eprintln!("selvedge: {count} spans refused: {reason}");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Intake> {
    let named = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(named)?;
    let mut input = Vec::new();
    let limit = INPUT_BYTES_MAX as u64 + 1;
    file.take(limit)
        .read_to_end(&mut input)
        .with_context(named)?;
    if input.is_empty() {
        bail!("{} is empty", path.display());
    }
    selvedge_spans::read(&input).with_context(|| format!("{}", path.display()))
}
