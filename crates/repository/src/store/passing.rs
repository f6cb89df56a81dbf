//! What was not asked for: an owner that was asked looks through its journal and sends only some
//! of its records. The others are kept there, and must not read as missing (D7, on demand).

use selvedge_identity::{Epoch, ServerName};

use super::index::Index;
use super::{Store, StoreError, frame};

impl Store {
    /// Notes that the owner looked through the records `[from, to)` of an epoch and sent those
    /// that were asked for.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn pass_over(
        &self,
        server: &ServerName,
        epoch: Epoch,
        from: u64,
        to: u64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer_with_room()?;
        let known = {
            let index = self.read();
            let id = index.journals.find(server, epoch);
            id.is_some_and(|id| {
                let state = index.journals.state(id);
                let missing = state.received.missing(from, to);
                let mut missing = missing.into_iter();
                missing.all(|(from, to)| state.passed_over.holds(from, to))
            })
        };
        if known {
            return Ok(());
        }
        let mut bytes = Vec::new();
        frame::encode_passed(&mut bytes, server, epoch, from, to);
        writer
            .append(&bytes)
            .map_err(|error| writer.failed(error))?;
        self.write().pass_over(server, epoch, from, to);
        Ok(())
    }
}

impl Index {
    pub(super) fn pass_over(&mut self, server: &ServerName, epoch: Epoch, from: u64, to: u64) {
        let id = self.journals.intern(server, epoch);
        self.journals.state_mut(id).passed_over.insert(from, to);
    }
}
