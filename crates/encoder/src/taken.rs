//! What an encoder has placed, on the disk: so that after a restart a notification that comes again
//! is known, and the rules' states are repeated from the first heartbeat.
//!
//! A file of JSON lines, one an indication, appended with fdatasync before the notification is
//! acknowledged, and written anew, with what is still of use, when it has grown. A torn last line
//! is of one that was not acknowledged.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use selvedge_video::Indication;

/// Ids that are remembered. A monitor repeats only what was not acknowledged, so the newest do.
const IDS_MAX: usize = 65_536;
/// Bytes of the longest file that is read: of that many ids twice over.
const BYTES_MAX: u64 = 256 << 20;

/// The record.
#[derive(Debug)]
pub(crate) struct Taken {
    path: PathBuf,
    file: File,
    lines: usize,
    order: VecDeque<Indication>,
    ids: HashSet<String>,
}

impl Taken {
    /// Opens the record in this folder, which is made where it is missing.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("taken.jsonl");
        let text = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > BYTES_MAX => {
                let what = "too large for a record of an encoder; move it away to begin anew";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            Ok(_) => std::fs::read(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut taken = Self {
            file: OpenOptions::new().create(true).append(true).open(&path)?,
            path,
            lines: 0,
            order: VecDeque::new(),
            ids: HashSet::new(),
        };
        for (number, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let read = serde_json::from_slice(line).map_err(|error| {
                let what = format!(
                    "line {}: {error}; move the file away to begin anew",
                    number + 1
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            taken.keep(read);
        }
        taken.rewrite()?;
        Ok(taken)
    }

    /// The last indication of each rule and group, oldest first.
    pub(crate) fn states(&self) -> Vec<Indication> {
        let mut last = BTreeMap::new();
        for (number, indication) in self.order.iter().enumerate() {
            last.insert((&indication.rule, &indication.group), number);
        }
        let mut numbers: Vec<usize> = last.into_values().collect();
        numbers.sort_unstable();
        numbers
            .into_iter()
            .filter_map(|number| self.order.get(number).cloned())
            .collect()
    }

    /// Whether this id was placed.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Remembers what was placed; when it returns, a crash of the host does not undo it.
    pub(crate) fn add(&mut self, indications: Vec<Indication>) -> io::Result<()> {
        let mut text = Vec::new();
        for indication in &indications {
            serde_json::to_writer(&mut text, indication)?;
            text.push(b'\n');
        }
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        for indication in indications {
            self.keep(indication);
        }
        if self.lines > 4 * IDS_MAX {
            self.rewrite()?;
        }
        Ok(())
    }

    fn keep(&mut self, indication: Indication) {
        self.lines += 1;
        if self.ids.insert(indication.id.clone()) {
            self.order.push_back(indication);
        }
        while self.order.len() > IDS_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.ids.remove(&old.id);
        }
    }

    /// Writes the file anew with what is kept.
    fn rewrite(&mut self) -> io::Result<()> {
        let fresh = self.path.with_extension("part");
        let mut text = Vec::new();
        for indication in &self.order {
            serde_json::to_writer(&mut text, indication)?;
            text.push(b'\n');
        }
        let mut file = File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.lines = self.order.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use selvedge_entry::Timestamp;
    use selvedge_video::State;

    use super::*;

    fn indication(number: u64, rule: &str) -> Indication {
        Indication {
            id: format!("{rule}.{number}"),
            rule: rule.to_owned(),
            group: None,
            state: State::Raised,
            value: number as f64,
            at: Timestamp(number as i64),
        }
    }

    #[test]
    fn what_was_taken_is_known_after_a_restart_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut taken = Taken::open(folder.path()).expect("opens");
        taken
            .add(vec![indication(1, "a"), indication(1, "b")])
            .expect("written");
        taken.add(vec![indication(2, "a")]).expect("written");
        drop(taken);
        let path = folder.path().join("taken.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).expect("opens");
        file.write_all(b"{\"id\":\"a.3\"").expect("written");
        let taken = Taken::open(folder.path()).expect("opens");
        assert!(taken.has("a.1") && taken.has("a.2") && taken.has("b.1") && !taken.has("a.3"));
        assert_eq!(taken.states(), [indication(1, "b"), indication(2, "a")]);
        std::fs::write(&path, "nonsense\n").expect("written");
        let error = Taken::open(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
