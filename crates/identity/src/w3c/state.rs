//! The header `tracestate`: a list of members `key=value`, newest first, each of another tracing
//! system. Ours is `sv`; the others are kept and passed on behind it.
//!
//! Read as the specification demands and as its test suite checks it: a list that breaks the
//! grammar is dropped whole, while `traceparent` is still used. Keys are those of level 1, and
//! may begin with a digit as level 2 allows. Of members with one key the first stays.

use smallvec::SmallVec;

use super::trim;

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
        let mut members = self.others.clone();
        members.truncate(MEMBERS_MAX - 1);
        while length(&members) > PASSED_ON_LENGTH {
            let long = members.iter().rposition(|m| m.len() > LONG_MEMBER);
            members.remove(long.unwrap_or(members.len() - 1));
        }
        (!members.is_empty()).then(|| members.join(","))
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

/// `simple`, or `tenant@system` with at most 241 and 14 characters; 256 in all.
fn is_key(key: &[u8]) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(b);
    let part = |part: &[u8], length_max: usize, digit_first: bool| {
        part.len() <= length_max
            && part
                .first()
                .is_some_and(|b| b.is_ascii_lowercase() || (digit_first && b.is_ascii_digit()))
            && part.iter().all(inner)
    };
    match key.iter().position(|&b| b == b'@') {
        None => part(key, 256, true),
        Some(at) => part(&key[..at], 241, true) && part(&key[at + 1..], 14, false),
    }
}

/// 1 to 256 printable characters without comma and equals sign. (The last is no space: the
/// member was trimmed.)
fn is_value(value: &[u8]) -> bool {
    (1..=256).contains(&value.len())
        && value
            .iter()
            .all(|b| matches!(b, b' '..=b'~') && !b",=".contains(b))
}
