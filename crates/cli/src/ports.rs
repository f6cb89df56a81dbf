//! The file that says where everything listens.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Addresses by what listens there.
#[derive(Default)]
pub(crate) struct Ports(Map<String, Value>);

impl Ports {
    pub(crate) fn add(&mut self, what: &str, address: SocketAddr) {
        self.0
            .insert(what.to_owned(), Value::from(address.to_string()));
    }

    /// Writes the file, at once: whoever sees it sees all of it.
    pub(crate) fn write(self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let cannot = || format!("cannot write the ports file {}", path.display());
        let fresh = path.with_extension("part");
        let text = serde_json::to_string_pretty(&Value::Object(self.0))?;
        std::fs::write(&fresh, text + "\n").with_context(cannot)?;
        std::fs::rename(&fresh, path).with_context(cannot)
    }
}
