//! Reading journals where they lie, with no Selvedge running: `log`, and `tree --from`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use selvedge_calltree::{Observation, TreeBuilder};
use selvedge_entry::{Entry, Fold, Record};
use selvedge_identity::{Epoch, Origin, Position, ServerName, SessionId};
use selvedge_journal::{DiskStorage, ReadDir, read_dir, read_file};
use serde_json::Value;

use crate::print::{self, BAD, CARE, DIM, GOOD, NAME, Table};

/// Entries that are held back for the end of an earlier one, so that they are shown in the order
/// of their openings; beyond it the earlier one is shown as it is.
const HELD_MAX: usize = 10_000;

/// Rows of a table, whose widths are then known.
const ROWS: usize = 500;

/// Shows a journal: `selvedge log`.
///
/// # Errors
/// When it cannot be read, or standard output is closed.
pub(crate) fn log(path: &Path, session: Option<SessionId>, json: bool) -> Result<()> {
    let mut rows = Rows {
        json,
        table: None,
        count: 0,
    };
    let mut damage = Vec::new();
    entries(path, &mut damage, |entry| {
        if session.is_some() && entry.opening.session != session {
            return Ok(());
        }
        rows.show(&entry)
    })?;
    rows.flush()?;
    for fault in &damage {
        eprintln!("selvedge: {fault}");
    }
    if damage.is_empty() {
        Ok(())
    } else {
        bail!("{} damaged places in {}", damage.len(), path.display());
    }
}

/// Builds a request's tree from journals alone, in the JSON form of the API.
///
/// # Errors
/// When a journal cannot be read, or none of them knows the origin.
pub(crate) fn tree(origin: Origin, from: &[PathBuf]) -> Result<Value> {
    let mut builder = TreeBuilder::new(origin);
    let mut damage = Vec::new();
    for path in from.iter().flat_map(|path| journals(path)) {
        entries(&path, &mut damage, |entry| {
            let call = entry.opening.call.as_ref();
            if call.is_some_and(|call| call.identifier.origin() == origin)
                && let Some(observation) = Observation::of(&entry)
            {
                builder.add(observation);
            }
            Ok(())
        })?;
    }
    for fault in &damage {
        eprintln!("selvedge: {fault}");
    }
    if builder.is_empty() {
        bail!("no entry of request {origin} in these journals");
    }
    let tree = builder.tree();
    serde_json::to_value(tree.to_json()).context("tree as JSON")
}

/// A folder that holds journals' folders stands for all of them.
fn journals(path: &Path) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.is_file();
    let inside: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|item| item.ok().map(|item| item.path()))
        .collect();
    let mut folders: Vec<PathBuf> = inside.iter().filter(|p| p.is_dir()).cloned().collect();
    if folders.is_empty() || inside.iter().any(is_segment) {
        return vec![path.to_owned()];
    }
    folders.sort();
    folders
}

/// Gives the entries of a journal in the order of their openings; damaged places are told apart.
fn entries(
    path: &Path,
    damage: &mut Vec<String>,
    mut give: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let mut fold: Option<(ServerName, Epoch, Fold)> = None;
    for record in open(path)? {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                damage.push(error.to_string());
                continue;
            }
        };
        if !matches!(&fold, Some((server, epoch, _)) if *server == record.server && *epoch == record.epoch)
        {
            if let Some((_, _, fold)) = fold.take() {
                fold.into_entries().try_for_each(&mut give)?;
            }
            let fresh = Fold::new(record.server.clone(), record.epoch);
            fold = Some((record.server.clone(), record.epoch, fresh));
        }
        if selvedge_journal::EpochStart::decode(&record.payload).is_some() {
            continue;
        }
        let Some((server, epoch, fold)) = &mut fold else {
            continue;
        };
        match Record::decode(&record.payload) {
            Ok(decoded) => {
                fold.apply(record.sequence, decoded);
            }
            Err(error) => damage.push(format!(
                "{}: {error}",
                Position {
                    server: server.clone(),
                    epoch: *epoch,
                    sequence: record.sequence
                }
            )),
        }
        while let Some(entry) = next_to_show(fold) {
            give(entry)?;
        }
    }
    if let Some((_, _, fold)) = fold {
        fold.into_entries().try_for_each(&mut give)?;
    }
    Ok(())
}

/// Takes the earliest entry out, once it has ended or too much waits behind it.
fn next_to_show(fold: &mut Fold) -> Option<Entry> {
    let first = fold.entries().next()?;
    let ready = first.closing.is_some() || fold.len() >= HELD_MAX;
    let sequence = first.position.sequence;
    if ready { fold.remove(sequence) } else { None }
}

fn open(path: &Path) -> Result<ReadDir> {
    let storage = Arc::new(DiskStorage);
    if !path.exists() {
        bail!("{} does not exist", path.display());
    }
    let read = if path.is_dir() {
        let holds_file = std::fs::read_dir(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .any(|item| item.is_ok_and(|item| item.path().is_file()));
        if !holds_file {
            bail!(
                "{} holds no journal; is one of the folders in it meant?",
                path.display()
            );
        }
        read_dir(storage, path)
    } else {
        read_file(storage, path)
    };
    Ok(read?)
}

/// Entries as they are shown: JSON lines, or tables of many rows.
struct Rows {
    json: bool,
    table: Option<Table>,
    count: usize,
}

impl Rows {
    fn show(&mut self, entry: &Entry) -> Result<()> {
        if self.json {
            let mut out = std::io::stdout().lock();
            serde_json::to_writer(&mut out, &entry.to_json())?;
            writeln!(out)?;
            return Ok(());
        }
        let table = self.table.get_or_insert_with(|| {
            Table::new(&[
                "position", "received", "side", "id", "action", "outcome", "took", "session",
                "origin",
            ])
        });
        let json = entry.to_json();
        let outcome = print::member(&json, "outcome").to_owned();
        let style = match outcome.as_str() {
            "ok" => GOOD,
            "error" => BAD,
            _ => CARE,
        };
        let counter = entry.opening.counter;
        table.row(vec![
            (DIM, entry.position.to_string()),
            (DIM, entry.opening.at.to_string()),
            (DIM, print::member(&json, "direction").to_owned()),
            (NAME, counter.map_or_else(String::new, |c| c.to_string())),
            (NAME, entry.opening.action.to_string()),
            (style, outcome),
            (
                DIM,
                json["duration"]
                    .as_f64()
                    .map_or_else(String::new, print::nanoseconds),
            ),
            (DIM, print::member(&json, "session").to_owned()),
            (DIM, print::member(&json, "origin").to_owned()),
        ]);
        self.count += 1;
        if self.count.is_multiple_of(ROWS) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(table) = self.table.take() {
            print::text(&table.render())?;
        }
        Ok(())
    }
}
