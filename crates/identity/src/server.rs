//! The name of a server: the one writer of a journal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::ParseIdError;

/// The name of a server, unique in its fleet: 1 to 63 characters of `a-z`, `0-9`, `-`, `_`, `.`,
/// the first of which is a letter or a digit. (So it can stand in a path, a header and a
/// `server/epoch/sequence` position.) Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 63;

    /// Checks and wraps a name.
    ///
    /// # Errors
    /// When the name breaks the rule above.
    pub fn new(name: &str) -> Result<Self, ParseIdError> {
        let first = name.bytes().next();
        let valid = name.len() <= Self::LENGTH_MAX
            && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if valid {
            Ok(Self(name.into()))
        } else {
            Err(ParseIdError::new("server name"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::new(text)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::wire::serde_as_text!(ServerName);
