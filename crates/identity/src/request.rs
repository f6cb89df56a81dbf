//! The request identifier: origin, depth, stack, check (D1, D2).
//!
//! Each request says where it stands in the call tree: whose tree (origin), how deep, and the
//! newest k interaction ids on the way to it. A service that handles it *advances* the identifier
//! for each call it makes. So a tree can be drawn even where whole services' logs are lost.
//!
//! The text form is drawn in `docs/formats/request-identifier.md`; reading and writing it is in
//! [`text`]. Every identifier has one text only, and reading, advancing and writing allocate
//! nothing: this is done for every call of a fleet.

mod correct;
mod text;

use thiserror::Error;

use crate::stack::Stack;
use crate::wire::HeaderText;
use crate::{Interaction, Origin, StackId};

/// The most ids that a stack can hold, whatever is configured.
pub const STACK_MAX: usize = 16;

/// The greatest depth that an identifier can say.
pub const DEPTH_MAX: u32 = (1 << 30) - 1;

/// How a service writes identifiers: how many ids it keeps, how wide, how far a call deepens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Ids in a stack, 1 to [`STACK_MAX`]. Default 6.
    pub k: u8,
    /// Bytes an id, 1 to 8. Default 4.
    pub width: u8,
    /// What a call adds to the depth. Default 1.
    pub depth_increment: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            k: 6,
            width: 4,
            depth_increment: 1,
        }
    }
}

/// What a request says of its place in the call tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIdentifier {
    pub(crate) origin: Origin,
    pub(crate) depth: u32,
    pub(crate) k: u8,
    pub(crate) stack: Stack,
}

/// Why a text is not a request identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdentifierError {
    /// Not of the form, or a part is out of its range.
    #[error("malformed request identifier")]
    Malformed,
    /// Longer than any valid one.
    #[error("oversized request identifier")]
    Oversized,
    /// A version this program does not know.
    #[error("request identifier of an unknown version")]
    UnknownVersion,
    /// The check does not hold: damaged on the way.
    #[error("damaged request identifier")]
    Damaged,
}

impl RequestIdentifier {
    /// The longest header value, in bytes.
    pub const TEXT_MAX: usize = 256;

    /// A root's identifier: depth 0, and its own id alone in the stack.
    #[must_use]
    pub fn root(origin: Origin, own: Interaction, shape: Shape) -> Self {
        let mut stack = Stack::new();
        let _ = stack.push(StackId::of(own, shape.width));
        Self {
            origin,
            depth: 0,
            k: shape.k.clamp(1, STACK_MAX as u8),
            stack,
        }
    }

    /// One whose depth and stack are still to be filled in: in place, for a stack is big, and each
    /// move of it costs as much as the rest. `k` is clamped.
    #[inline]
    pub(crate) fn unfilled(origin: Origin, k: u8) -> Self {
        Self {
            origin,
            depth: 0,
            k: k.clamp(1, STACK_MAX as u8),
            stack: Stack::new(),
        }
    }

    /// As [`Self::unfilled`], in the place of what was here.
    #[inline]
    pub(crate) fn unfill(&mut self, origin: Origin, k: u8) {
        self.origin = origin;
        self.depth = 0;
        self.k = k.clamp(1, STACK_MAX as u8);
        self.stack.clear();
    }

    /// Puts an identifier together from its parts; `None` if a part is out of range (empty or
    /// over-long stack, k of 0 or below the stack's length, depth over [`DEPTH_MAX`]).
    #[must_use]
    pub fn from_parts(origin: Origin, depth: u32, k: u8, stack: &[StackId]) -> Option<Self> {
        let valid = !stack.is_empty()
            && stack.len() <= usize::from(k)
            && usize::from(k) <= STACK_MAX
            && depth <= DEPTH_MAX;
        if !valid {
            return None;
        }
        Some(Self {
            origin,
            depth,
            k,
            stack: Stack::of(stack)?,
        })
    }

    /// The identifier of an outbound call made while handling this request (D2): same origin,
    /// deeper by the shape's increment (at most to [`DEPTH_MAX`]), the newest k-1 ids kept and
    /// `own` pushed. `k` is the shape's, so a stack that came in longer is cut, and one that came
    /// in shorter grows.
    ///
    /// Ids that came in narrower than the shape's width stay as they are (what is not known
    /// cannot be made up); wider ones are cut to it: a service under pressure for bytes gets what
    /// it asked for at once, and ids of different widths still match by prefix.
    #[must_use]
    #[inline]
    pub fn advance(&self, own: Interaction, shape: Shape) -> Self {
        let mut next = Self::unfilled(self.origin, shape.k);
        self.advance_to(own, shape, &mut next);
        next
    }

    /// As [`Self::advance`], into the place of another: who makes call after call need not move
    /// what is big to move.
    pub fn advance_to(&self, own: Interaction, shape: Shape, next: &mut Self) {
        next.origin = self.origin;
        let deeper = self.depth.saturating_add(shape.depth_increment);
        next.depth = deeper.min(DEPTH_MAX);
        next.k = shape.k.clamp(1, STACK_MAX as u8);
        let own = StackId::of(own, shape.width);
        next.stack
            .advance(&self.stack, usize::from(next.k) - 1, own);
    }

    /// The same at another depth, at most [`DEPTH_MAX`]: for depths that are no numbers of calls
    /// (D3).
    #[must_use]
    pub fn at_depth(mut self, depth: u32) -> Self {
        self.depth = depth.min(DEPTH_MAX);
        self
    }

    /// The root request's id.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Calls between this request and the root.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// How many ids the sender keeps at most.
    #[must_use]
    pub fn k(&self) -> u8 {
        self.k
    }

    /// The newest ids, oldest first; never empty; the last is this request's own.
    #[must_use]
    pub fn stack(&self) -> &[StackId] {
        &self.stack
    }

    /// This request's own id.
    #[must_use]
    pub fn own(&self) -> StackId {
        self.stack.newest()
    }

    /// Reads the value of a `selvedge-request` header, without white space around it.
    ///
    /// # Errors
    /// See [`IdentifierError`].
    #[inline]
    pub fn parse(value: &[u8]) -> Result<Self, IdentifierError> {
        let mut id = Self::unfilled(Origin::PLACEHOLDER, 1);
        id.parse_to(value)?;
        Ok(id)
    }

    /// As [`Self::parse`], into the place of another. After an error it holds nothing of use.
    ///
    /// # Errors
    /// See [`IdentifierError`].
    #[inline]
    pub fn parse_to(&mut self, value: &[u8]) -> Result<(), IdentifierError> {
        self.stack.clear();
        text::read(value, self)
    }

    /// As [`Self::parse`], but repairs one damaged character, and says whether one was (D1, by
    /// choice). A text that is damaged further is taken for another identifier about once in
    /// three thousand times, instead of once in sixteen million; so ask for it only where damage
    /// is likelier in one place than in many.
    ///
    /// # Errors
    /// See [`IdentifierError`]: that of the text as it came.
    pub fn parse_correcting(value: &[u8]) -> Result<(Self, bool), IdentifierError> {
        correct::parse(value)
    }

    /// The value of the `selvedge-request` header, on the stack.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> HeaderText<{ Self::TEXT_MAX }> {
        let mut out = HeaderText::new();
        text::write(self, &mut out);
        out
    }

    /// As [`Self::encode`], into the place of another text.
    pub fn encode_to(&self, out: &mut HeaderText<{ Self::TEXT_MAX }>) {
        out.clear();
        text::write(self, out);
    }
}
