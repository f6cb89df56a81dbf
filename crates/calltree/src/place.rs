//! Where an entry stands in a call tree: its request identifier, packed for comparing.

use selvedge_identity::{Interaction, Origin, RequestIdentifier, StackId};

use crate::chain::{Chain, Packed};

/// A request identifier as a tree needs it, with the newest id as wide as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    origin: Origin,
    /// The narrowest id of the stack, in bytes.
    narrowest: u8,
    chain: Packed,
}

impl Place {
    /// Packs an identifier. `interaction` is the whole of its newest id, where that is known; one
    /// that does not fit the stack is not believed.
    #[must_use]
    pub fn new(identifier: &RequestIdentifier, interaction: Option<Interaction>) -> Self {
        let stack = identifier.stack();
        let whole = interaction.map(StackId::from);
        let whole = whole.filter(|whole| whole.matches(&identifier.own()));
        let mut chain: Chain = stack.iter().rev().copied().collect();
        chain[0] = whole.unwrap_or(chain[0]);
        Self {
            origin: identifier.origin(),
            narrowest: stack.iter().map(StackId::width).min().unwrap_or(8),
            chain: Packed::new(identifier.depth(), &chain),
        }
    }

    /// The root request's id.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The depth, as the identifier says it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.chain.level()
    }

    /// The interaction's own id, as wide as it is known.
    #[must_use]
    pub fn own(&self) -> StackId {
        self.chain.own()
    }

    /// Its own id and its ancestors' as far as the stack holds them, nearest first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = StackId> + use<> {
        self.chain.unpack().into_iter()
    }

    pub(crate) fn narrowest(&self) -> u8 {
        self.narrowest
    }

    pub(crate) fn packed(&self) -> &Packed {
        &self.chain
    }
}
