//! Which cookie takes an answer's token (A9).
//!
//! A browser sends several requests at once, and each answer shows a head of its own. In one
//! cookie the answer that comes last would overwrite what the others showed. So every answer sets
//! a cookie of its own, and clears those that its request carried, since its head follows theirs.
//! What the jar holds is then the heads that nothing follows yet: one, of a browser that sends one
//! request after the other; at most as many as it has in flight.
//!
//! No name is used twice ([`Name`]), so nothing that is set can be overwritten, and a clearing
//! takes away exactly the token that its request carried, however answers overtake each other. That
//! needs no memory: a gateway that has just started, and several before one browser, lose nothing.
//!
//! What is remembered is a bound. A browser behind something that sends a hundred requests at once
//! would hold a hundred cookies, more than some proxies let pass. So a gateway counts the cookies
//! that it knows in a session's jar, and where there are [`COOKIES_MAX`] of them, the answer takes
//! the name of the oldest. Only that can lose a head, which costs proof (see
//! `docs/adr/cookie-slots.md`). A session that was forgotten is counted anew.
//!
//! Pure: no clock, no randomness.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use smallvec::SmallVec;

/// Cookies that a gateway lets a session have: twice the heads of a token, because some of those
/// that it counts are gone already. About 4 KiB of a request.
pub const COOKIES_MAX: usize = 32;
/// Names of one session that are remembered. (More come from several gateways, or are invented.)
const NAMES_MAX: usize = 64;

/// What tells a token's cookie from others: six characters of the token's code. Two tokens of one
/// session share them in one case of 2^36.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name([u8; Name::LENGTH]);

impl Name {
    /// Characters.
    pub const LENGTH: usize = 6;

    /// Of a token. The last character is left out: it carries only two bits.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut name = [b'0'; Self::LENGTH];
        let code = token.bytes().rev().skip(1).filter(u8::is_ascii_graphic);
        for (to, from) in name.iter_mut().rev().zip(code) {
            *to = from;
        }
        Self(name)
    }

    /// Reads a name: six base64 characters.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let name = text.try_into().ok()?;
        text.iter().all(plain).then_some(Self(name))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{}", *b as char))
    }
}

/// A cookie that a request carried: its name, and a hash of its token.
pub type Carried = SmallVec<[(Name, u64); 4]>;

/// What an answer does to the jar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The cookie that takes its token.
    pub set: Name,
    /// The cookies that are cleared.
    pub clear: SmallVec<[Name; 4]>,
}

/// A token as it is remembered.
#[must_use]
pub fn fingerprint(token: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(token);
    hasher.finish()
}

/// The jars of the browsers whose sessions are in use, as far as a gateway knows them.
#[derive(Debug)]
pub struct Jars<S> {
    /// Sessions in use lately, and those that were in use before: with the next turn the idle ones
    /// of these are forgotten.
    young: HashMap<S, Jar>,
    old: HashMap<S, Jar>,
    half_max: usize,
}

/// Cookies that were sent or came, and are not known to be cleared: oldest first.
#[derive(Clone, Debug, Default)]
struct Jar(SmallVec<[(Name, u64); 2]>);

impl<S: Copy + Eq + Hash> Jars<S> {
    /// Of about `sessions_max` sessions.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half_max: (sessions_max / 2).max(1),
        }
    }

    /// A request of that session came.
    pub fn came(&mut self, session: S, carried: &Carried) {
        self.jar(session).came(carried);
    }

    /// The answer to a request that carried these goes out with this token.
    pub fn answered(&mut self, session: S, carried: &Carried, token: &str) -> Change {
        self.jar(session).answered(carried, token)
    }

    /// How many sessions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn jar(&mut self, session: S) -> &mut Jar {
        if !self.young.contains_key(&session) {
            if self.young.len() >= self.half_max {
                self.old = std::mem::take(&mut self.young);
            }
            let jar = self.old.remove(&session).unwrap_or_default();
            self.young.insert(session, jar);
        }
        self.young.entry(session).or_default()
    }
}

impl Jar {
    fn came(&mut self, carried: &Carried) {
        for &(name, token) in carried {
            // One that is known by another token was given that since: it is on its way.
            let known = self.0.iter().any(|(known, _)| *known == name);
            if !known && self.0.len() < NAMES_MAX {
                self.0.push((name, token));
            }
        }
    }

    fn answered(&mut self, carried: &Carried, token: &str) -> Change {
        // Not one whose name was given to another answer since.
        let given = |name: &Name, token: &u64| {
            let mut held = self.0.iter();
            held.any(|(other, held)| other == name && held != token)
        };
        let followed = carried.iter().filter(|(name, token)| !given(name, token));
        let mut clear: SmallVec<[Name; 4]> = followed.map(|(name, _)| *name).collect();
        self.0.retain(|cookie| !carried.contains(cookie));
        let mut set = Name::of(token);
        if self.0.len() >= COOKIES_MAX {
            set = self.0.remove(0).0;
        }
        self.0.retain(|(name, _)| *name != set);
        self.0.push((set, fingerprint(token.as_bytes())));
        clear.sort_unstable();
        clear.dedup();
        clear.retain(|name| *name != set);
        Change { set, clear }
    }
}

#[cfg(test)]
mod tests;
