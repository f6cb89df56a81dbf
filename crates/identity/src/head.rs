//! What an answer proves that the client knows.

use crate::{OrderingId, Position};

/// The most heads that a token or an entry's `after` holds; of more, the greatest by ordering id
/// are kept.
pub const HEADS_MAX: usize = 16;

/// A head: the last action of a session as one answer showed it. A server that gets it knows
/// which action the client's next request follows (A2), and how much of that server's journal it
/// must hold before it may answer (E6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The action's opening.
    pub position: Position,
    /// The sequence, in the same epoch, of the record that made the action's effect durable; at
    /// least `position.sequence`.
    pub effect: u64,
    /// The counter of the action's ordering id; its server is `position.server`.
    pub counter: u64,
}

impl Head {
    /// The action's ordering id.
    #[must_use]
    pub fn ordering(&self) -> OrderingId {
        OrderingId {
            counter: self.counter,
            server: self.position.server.clone(),
        }
    }
}
