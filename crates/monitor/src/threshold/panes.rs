//! A sum over the panes of a window, of which old ones expire.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// A sum by pane, and in total.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Panes {
    /// The pane of the first value.
    first: i64,
    values: VecDeque<f64>,
    total: f64,
}

impl Panes {
    pub(crate) fn total(&self) -> f64 {
        self.total
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds to a pane. The caller keeps panes within a bounded range by [`Self::expire`].
    pub(crate) fn add(&mut self, pane: i64, amount: f64) {
        if self.values.is_empty() {
            self.first = pane;
        }
        while pane < self.first {
            self.values.push_front(0.0);
            self.first -= 1;
        }
        let index = (pane - self.first) as usize;
        if index >= self.values.len() {
            self.values.resize(index + 1, 0.0);
        }
        self.values[index] += amount;
        self.total += amount;
    }

    /// Forgets the panes before this one.
    pub(crate) fn expire(&mut self, before: i64) {
        let expired = before.saturating_sub(self.first).max(0) as usize;
        if expired == 0 || self.values.is_empty() {
            return;
        }
        self.values.drain(..expired.min(self.values.len()));
        self.first = before;
        // Not subtracted: the errors of floating point would add up for ever.
        self.total = self.values.iter().sum();
    }
}
