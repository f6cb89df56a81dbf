//! Several tokens in one request become one.
//!
//! A browser sends every cookie it holds, a program may send a header line for each answer
//! that it got side by side. Each token is checked by itself. The valid ones of one session are
//! united; of several sessions the one with the greatest ordering id wins, so that the choice is
//! the same in whatever order they come. Nothing is ever carried from one session to another.
//!
//! Heads that broadcasts brought ([`AddressedHead`]) stand among the tokens. They choose no
//! session; those that were sealed for the one that won are united with its heads.

use smallvec::SmallVec;

use super::{AddressedHead, SessionToken, TokenError, heads};
use crate::{Head, KeyRing, OrderingId, SessionId};

/// The most tokens of one request that are looked at: twice the cookies that a browser has.
pub const TOKENS_MAX: usize = 64;

/// The tokens of one request, united.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Union {
    /// The session they agree on, if any was valid.
    pub token: Option<SessionToken>,
    /// Every token that was refused, and why. Tokens past [`TOKENS_MAX`] are one
    /// [`TokenError::Oversized`] together.
    pub refused: SmallVec<[TokenError; 1]>,
    /// How many valid tokens were of another session than the one that won.
    pub other_sessions: usize,
    /// How many addressed heads were refused: damaged, or not sealed for the session that won (or
    /// there is none).
    pub heads_refused: usize,
}

impl SessionToken {
    /// Checks and unites the tokens of one request. Each item is the value of a header line or of
    /// a cookie: one token or several with commas between; empty ones are skipped.
    ///
    /// The result does not depend on the order of the tokens (but `refused` keeps it). Between
    /// sessions whose greatest ordering ids are equal, the greater session id wins; one with heads
    /// wins over one without.
    #[must_use]
    pub fn unite<'a>(values: impl IntoIterator<Item = &'a [u8]>, keys: &KeyRing) -> Union {
        let mut union = Union::default();
        let mut valid: SmallVec<[SessionToken; 2]> = SmallVec::new();
        let mut addressed: SmallVec<[&[u8]; 2]> = SmallVec::new();
        let tokens = values
            .into_iter()
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty());
        for (index, token) in tokens.enumerate() {
            if index == TOKENS_MAX {
                union.refused.push(TokenError::Oversized);
                break;
            }
            if AddressedHead::is_meant(token) {
                addressed.push(token);
                continue;
            }
            match SessionToken::verify(token, keys) {
                Ok(token) => valid.push(token),
                Err(error) => union.refused.push(error),
            }
        }
        let Some(winner) = valid.iter().max_by(|a, b| rank(a).cmp(&rank(b))) else {
            union.heads_refused = addressed.len();
            return union;
        };
        let session = winner.session;
        let mut united: SmallVec<[Head; 1]> = SmallVec::new();
        for token in valid {
            if token.session == session {
                united.extend(token.heads);
            } else {
                union.other_sessions += 1;
            }
        }
        for text in addressed {
            match AddressedHead::parse(text).and_then(|sealed| sealed.open(session, keys)) {
                Ok(head) => united.push(head),
                Err(_) => union.heads_refused += 1,
            }
        }
        heads::normalise(&mut united);
        union.token = Some(SessionToken {
            session,
            heads: united,
        });
        union
    }
}

/// What decides between sessions.
fn rank(token: &SessionToken) -> (Option<OrderingId>, SessionId) {
    (token.heads.iter().map(Head::ordering).max(), token.session)
}
