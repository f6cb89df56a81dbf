//! The file with the keys that the fleet shares.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use selvedge_identity::KeyRing;

/// Reads the file, or makes it, with one fresh key, readable by its owner only.
///
/// # Errors
/// When it cannot be read or made, or is not a key file.
pub(crate) fn load_or_make(path: &Path) -> Result<KeyRing> {
    match std::fs::read_to_string(path) {
        Ok(text) => KeyRing::parse(&text).with_context(|| format!("key file {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path),
        Err(error) => {
            Err(error).with_context(|| format!("cannot read the key file {}", path.display()))
        }
    }
}

fn make(path: &Path) -> Result<KeyRing> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("no random bytes from the operating system")?;
    let ring = KeyRing::single(secret);
    // Under another name first: a process that starts at the same time must not read half a file.
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).context("no random bytes from the operating system")?;
    let fresh = path.with_extension(format!("{:016x}", u64::from_le_bytes(suffix)));
    let cannot = || format!("cannot write the key file {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(cannot)?;
    file.write_all(ring.to_text().as_bytes())
        .with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    let linked = std::fs::hard_link(&fresh, path);
    std::fs::remove_file(&fresh).with_context(cannot)?;
    match linked {
        Ok(()) => Ok(ring),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load_or_make(path),
        Err(error) => Err(error).with_context(cannot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keys");
        let made = load_or_make(&path).expect("made");
        let read = load_or_make(&path).expect("read");
        assert_eq!(made.to_text(), read.to_text());
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, "what").expect("written");
        let error = load_or_make(&path).expect_err("refused");
        assert!(format!("{error:#}").contains("keys"), "{error:#}");
    }
}
