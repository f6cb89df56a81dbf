//! Files of spans, as other tracing systems export them: given to a running Selvedge, or shown as
//! call trees with none running.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use selvedge_calltree::TreeBuilder;
use selvedge_repository::IMPORT_BYTES_MAX;
use selvedge_spans::{INPUT_BYTES_MAX, Intake, PieceSizes, Pieces, observe};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::Import;
use crate::ask;
use crate::print::{self, tree};

/// Files are sent in pieces of about this size: memory is bounded here and there, and progress is
/// seen.
const PIECE_BYTES: usize = 8 << 20;

/// Origins that are named one by one on a terminal.
const ORIGINS_SHOWN_MAX: usize = 10;

/// What a Selvedge says of a piece; and the sum of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Imported {
    /// Spans that were not there yet.
    new: u64,
    /// Spans that were.
    repeated: u64,
    /// Spans that were refused, by reason.
    refused: BTreeMap<String, u64>,
    /// The origins of all.
    origins: BTreeSet<String>,
}

impl Imported {
    fn add(&mut self, other: Self) {
        self.new += other.new;
        self.repeated += other.repeated;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.origins.extend(other.origins);
    }

    fn spans(&self) -> u64 {
        self.new + self.repeated
    }
}

/// Gives the spans of all files to a running Selvedge. Doing so again changes nothing.
///
/// # Errors
/// When a file cannot be read as spans, or they are not taken: what was taken before stays.
pub(crate) async fn import(args: &Import) -> Result<()> {
    let mut all = Imported::default();
    for path in &args.files {
        let done = file(path, &args.asking.admin, &mut all).await;
        progress("");
        done.with_context(|| match all.spans() {
            0 => path.display().to_string(),
            spans => format!("{} (after {spans} spans were taken)", path.display()),
        })?;
    }
    if args.asking.json {
        return Ok(print::json(&serde_json::to_value(&all)?)?);
    }
    let repeated = match all.repeated {
        0 => String::new(),
        repeated => format!(", and {repeated} that were there already"),
    };
    let origins = all.origins.len();
    let requests = if origins == 1 { "request" } else { "requests" };
    let mut text = format!("{} spans{repeated}, of {origins} {requests}\n", all.new);
    for (reason, count) in &all.refused {
        text += &format!("{count} refused: {reason}\n");
    }
    if origins <= ORIGINS_SHOWN_MAX {
        for origin in &all.origins {
            text += &format!("selvedge tree {origin}\n");
        }
    }
    Ok(print::text(&text)?)
}

async fn file(path: &Path, admin: &str, all: &mut Imported) -> Result<()> {
    let file = File::open(path).context("cannot read it")?;
    let length = file.metadata().map_or(0, |about| about.len());
    let sizes = PieceSizes {
        enough_bytes: PIECE_BYTES,
        // A piece may be that long before the element, and closes its brackets after it.
        element_bytes_max: IMPORT_BYTES_MAX - PIECE_BYTES - 1024,
    };
    for piece in Pieces::new(file, sizes) {
        let piece = piece?;
        if piece.bytes.is_empty() {
            bail!("it is empty");
        }
        let answer = ask::send(admin, "/api/v1/import", piece.bytes).await?;
        all.add(serde_json::from_value(answer).context("an answer of another form")?);
        let percent = (piece.read * 100).checked_div(length).unwrap_or(100);
        let name = print::printable(&path.display().to_string());
        progress(&format!("{name}: {percent} %, {} spans", all.spans()));
    }
    Ok(())
}

/// Shows how far it is, on a terminal, in the place of what it showed before.
fn progress(text: &str) {
    let mut out = std::io::stderr().lock();
    if out.is_terminal() {
        // Whether somebody sees it changes nothing.
        _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
    }
}

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
        if args.asking.json {
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
    if args.asking.json {
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
    let file = File::open(path).with_context(named)?;
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
