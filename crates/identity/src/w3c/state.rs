//! The header `tracestate`: a list of members `key=value`, newest first, each of another tracing
//! system. Ours is `sv`; the others are kept and passed on behind it.
//!
//! Read as the specification demands and as its test suite checks it: a list that breaks the
//! grammar is dropped whole, while `traceparent` is still used. Keys are those of level 2, which
//! allows all of level 1's. Of members with one key the first stays.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

use super::{sv, trim};
use crate::wire::HeaderText;
use crate::{Origin, RequestIdentifier};

/// The most members that a list may have; empty ones do not count.
pub(crate) const MEMBERS_MAX: usize = 32;

/// As many characters of other systems' members are passed on at least; the specification asks
/// for so many, and what is longer is cut the way it advises.
const PASSED_ON_LENGTH: usize = 512;

/// Members longer than this go first where the list must be cut.
const LONG_MEMBER: usize = 128;

/// The key of our member.
pub(crate) const KEY: &[u8] = b"sv";

/// A `tracestate` header, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceState<'a> {
    /// The value of our member, if there is one.
    pub sv: Option<&'a [u8]>,
    /// The other members as `key=value`, in their order, each key once.
    others: SmallVec<[&'a str; 4]>,
}

impl<'a> TraceState<'a> {
    /// Reads a header value; several header lines are one list, joined by commas. `None` if it
    /// breaks the grammar: then all of it is to be dropped.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut state = Self::default();
        // Nearly always ours stands alone.
        if let Some(own) = value.strip_prefix(b"sv=").filter(|own| is_value(own)) {
            state.sv = Some(own);
            return Some(state);
        }
        let members = value
            .split(|&b| b == b',')
            .map(trim)
            .filter(|m| !m.is_empty());
        for (index, member) in members.enumerate() {
            if index == MEMBERS_MAX {
                return None;
            }
            let equals = member.iter().position(|&b| b == b'=')?;
            let (key, content) = (&member[..equals], &member[equals + 1..]);
            if !is_key(key) || !is_value(content) {
                return None;
            }
            if key == KEY {
                state.sv.get_or_insert(content);
                continue;
            }
            let seen = |m: &&str| m.as_bytes().get(..=equals) == Some(&member[..=equals]);
            if !state.others.iter().any(seen) {
                state.others.push(std::str::from_utf8(member).ok()?);
            }
        }
        Some(state)
    }

    /// The other members as they are to be passed on behind ours: at most 31, and at most 512
    /// characters, above which those over 128 characters are left out and then the oldest. `None`
    /// if none is left.
    #[must_use]
    pub fn passed_on(&self) -> Option<String> {
        if self.others.is_empty() {
            return None;
        }
        let members = self.fitting();
        (!members.is_empty()).then(|| members.join(","))
    }

    /// The members that are passed on.
    pub(crate) fn fitting(&self) -> SmallVec<[&'a str; 4]> {
        let mut members = self.others.clone();
        members.truncate(MEMBERS_MAX - 1);
        while length(&members) > PASSED_ON_LENGTH {
            let long = members.iter().rposition(|m| m.len() > LONG_MEMBER);
            members.remove(long.unwrap_or(members.len() - 1));
        }
        members
    }
}

/// Characters of a list, with its commas.
fn length(members: &[&str]) -> usize {
    members
        .iter()
        .map(|m| m.len() + 1)
        .sum::<usize>()
        .saturating_sub(1)
}

/// 1 to 256 characters, the first a letter or a digit.
fn is_key(key: &[u8]) -> bool {
    let first = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=256).contains(&key.len())
        && first(&key[0])
        && key.iter().all(|b| first(b) || b"_-*/@".contains(b))
}

/// 1 to 256 printable characters without comma and equals sign, the last no space.
fn is_value(value: &[u8]) -> bool {
    let wrong = |b: u8| !matches!(b, b' '..=b'~') | (b == b',') | (b == b'=');
    // Without a way out at the first one: so it is done by vectors.
    (1..=256).contains(&value.len())
        && !value.iter().fold(false, |any, &b| any | wrong(b))
        && value.last() != Some(&b' ')
}

/// The value of a `tracestate` header that is sent.
#[derive(Clone, Default)]
pub struct StateText {
    own: HeaderText<{ sv::MEMBER_MAX }>,
    /// Our member and the others, where there are others.
    all: Option<String>,
}

impl StateText {
    /// Writes our member first, then those of the others that are passed on, in the place of what
    /// was here. `origin`: the identifier's, as text.
    #[inline]
    pub(crate) fn put(
        &mut self,
        id: &RequestIdentifier,
        origin: &[u8; Origin::TEXT_LENGTH],
        others: Option<&str>,
    ) {
        self.own.clear();
        sv::put(&mut self.own, id, origin);
        self.all = others.and_then(|others| with_others(&self.own, others));
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.all {
            Some(all) => all.as_bytes(),
            None => self.own.as_bytes(),
        }
    }

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.all.as_deref().unwrap_or_else(|| self.own.as_str())
    }
}

fn with_others(own: &str, others: &str) -> Option<String> {
    let state = TraceState::parse(others.as_bytes())?;
    let mut all = String::with_capacity(own.len() + 1 + others.len());
    all.push_str(own);
    for member in state.fitting() {
        all.push(',');
        all.push_str(member);
    }
    Some(all)
}

impl PartialEq for StateText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for StateText {}

impl Deref for StateText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for StateText {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for StateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for StateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
