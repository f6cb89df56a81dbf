//! The text of a header value, on the stack.
//!
//! Identifiers are written for every call of a fleet, so their texts are put together from bytes
//! in place: nothing is zeroed first and nothing is tested for UTF-8 while it is written. Who
//! wants a `str` pays for that test then (`unsafe` is forbidden here); an HTTP library takes the
//! bytes.

use std::fmt;
use std::ops::Deref;

use arrayvec::ArrayVec;

/// A header value of at most `N` characters of ASCII.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HeaderText<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> HeaderText<N> {
    pub(crate) fn new() -> Self {
        Self(ArrayVec::new_const())
    }

    /// That of one part.
    #[inline]
    pub(crate) fn of(part: &[u8]) -> Self {
        let mut text = Self::new();
        text.put(part);
        text
    }

    /// Appends ASCII. The caller has sized the text: what does not fit is left out.
    #[inline]
    pub(crate) fn put(&mut self, part: &[u8]) {
        let fitted = self.0.try_extend_from_slice(part);
        debug_assert!(fitted.is_ok(), "a text of {N} characters is full");
    }

    /// As an empty one.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // ASCII: the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> Deref for HeaderText<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> AsRef<[u8]> for HeaderText<N> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<const N: usize> fmt::Display for HeaderText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl<const N: usize> fmt::Debug for HeaderText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
