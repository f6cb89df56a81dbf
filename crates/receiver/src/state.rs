//! The visit outlives the program: its tokens lie in a file.
//!
//! The file is small JSON, replaced as a whole (written beside, then renamed), so a reader sees
//! the old or the new one and never a part. It is not forced to the disk at every answer: after a
//! power cut an older state means a fork of the session, which the fabric shows as concurrency,
//! nothing worse. Tokens let their holder act in the session, so only the owner may read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{BrowseError, TokenJar};

/// The version of the file's form.
const FORMAT: u32 = 1;

/// No honest state file is longer.
const BYTES_MAX: u64 = 256 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    client: Option<String>,
    tokens: Vec<String>,
}

/// Where a jar is kept.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file at `path`; its folder must exist, the file need not.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the jar; an absent file is an empty one.
    ///
    /// # Errors
    /// When the file cannot be read, or holds anything but a jar.
    pub fn load(&self) -> Result<TokenJar, BrowseError> {
        let damaged = |reason: String| BrowseError::StateDamaged {
            path: self.path.clone(),
            reason,
        };
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(TokenJar::default());
            }
            Err(error) => return Err(self.failed("read", error)),
        };
        if text.len() as u64 > BYTES_MAX {
            return Err(damaged(format!("longer than {BYTES_MAX} bytes")));
        }
        let state: State =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if state.format != FORMAT {
            return Err(damaged(format!("of format {}", state.format)));
        }
        Ok(TokenJar::restore(state.client, state.tokens))
    }

    /// Writes the jar.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, jar: &TokenJar) -> Result<(), BrowseError> {
        let state = State {
            format: FORMAT,
            client: jar.client().map(str::to_owned),
            tokens: jar.all(),
        };
        let write = || {
            let mut text = serde_json::to_vec(&state)?;
            text.push(b'\n');
            let beside = beside(&self.path);
            create_private(&beside)?.write_all(&text)?;
            fs::rename(&beside, &self.path)
        };
        write().map_err(|error| self.failed("write", error))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> BrowseError {
        BrowseError::StateFile {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jar_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path().join("state.json"));
        assert_eq!(file.load().unwrap(), TokenJar::default());
        let jar = TokenJar::restore(
            Some("c.k".into()),
            vec!["s.1".into(), "s.2".into(), "~A3".into()],
        );
        file.save(&jar).unwrap();
        assert_eq!(file.load().unwrap(), jar);
        file.save(&TokenJar::default()).unwrap();
        assert_eq!(file.load().unwrap(), TokenJar::default());
    }

    #[test]
    fn damaged_files_are_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let file = StateFile::new(&path);
        let long = format!("[\"{}\"]", "x".repeat(BYTES_MAX as usize));
        for text in [
            "",
            "{",
            "[]",
            "{\"format\":2,\"client\":null,\"tokens\":[]}",
            &long,
        ] {
            fs::write(&path, text).unwrap();
            let error = file.load().unwrap_err().to_string();
            assert!(
                error.contains("state.json") && error.contains("delete it"),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_tokens() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        StateFile::new(&path).save(&TokenJar::default()).unwrap();
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
