//! Which session tokens the next request carries.
//!
//! An answer's token proves which action the client has seen. It stands for all that its request
//! carried, so those are dropped; answers to requests that were in flight together do not know of
//! each other, so theirs stay side by side until one request has carried them all (design
//! section 3). The order of two requests is thus exactly what this client saw: an answer that
//! came before a request was sent is before it, everything else is concurrent.

/// The most tokens kept; of more, the ones that came first are dropped.
pub const TOKENS_MAX: usize = 16;

/// The most heads of broadcasts kept; of more, the newest. (A later one follows those before it,
/// if its server knew of them.)
const HEADS_MAX: usize = 8;

/// What a head of a broadcast begins with, and no token does.
const HEAD_MARK: char = '~';

/// The longest token kept, in bytes; a longer one is not ours.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The tokens of one visit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenJar {
    client: Option<String>,
    tokens: Vec<String>,
    /// Heads that broadcasts brought, the one that came first at the front.
    heads: Vec<String>,
}

/// What one request carried: kept until its answer is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The values of its `selvedge-session` headers.
    pub sessions: Vec<String>,
    /// The value of its `selvedge-client` header.
    pub client: Option<String>,
}

impl TokenJar {
    /// A jar that holds these, as a state file told. Tokens that no header could carry are left
    /// out.
    #[must_use]
    pub fn restore(client: Option<String>, tokens: Vec<String>) -> Self {
        let mut jar = Self {
            client: client.filter(|token| usable(token)),
            ..Self::default()
        };
        for token in tokens {
            match token.starts_with(HEAD_MARK) {
                true => jar.keep_head(&token),
                false => jar.add(token),
            }
        }
        jar
    }

    /// What a request that is sent now carries.
    #[must_use]
    pub fn carry(&self) -> Carried {
        Carried {
            sessions: self.all(),
            client: self.client.clone(),
        }
    }

    /// Takes the tokens of an answer, at the arrival of its headers. Without a session token in
    /// the answer nothing is dropped: what the request carried is still the newest known.
    pub fn take(&mut self, carried: &Carried, session: Option<&str>, client: Option<&str>) {
        if let Some(client) = client.filter(|token| usable(token)) {
            self.client = Some(client.to_owned());
        }
        if let Some(session) = session.filter(|token| usable(token)) {
            let new = |token: &String| !carried.sessions.contains(token);
            self.tokens.retain(new);
            self.heads.retain(new);
            self.add(session.to_owned());
        }
    }

    /// Keeps the head that a broadcast brought: requests carry it beside the tokens, without which
    /// it is worth nothing, until an answer's token stands for it.
    pub fn keep_head(&mut self, head: &str) {
        let ours = head.starts_with(HEAD_MARK) && usable(head);
        if !ours || self.heads.iter().any(|known| known == head) {
            return;
        }
        self.heads.push(head.to_owned());
        if self.heads.len() > HEADS_MAX {
            self.heads.remove(0);
        }
    }

    /// All that a request carries and a state file keeps: tokens, then heads of broadcasts.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.tokens.iter().chain(&self.heads).cloned().collect()
    }

    /// The client's token.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The session tokens, the one that came first at the front.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The session's id, as the newest token shows it: the part before the first dot.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.tokens.last().and_then(|token| token.split('.').next())
    }

    fn add(&mut self, token: String) {
        if !usable(&token) || self.tokens.contains(&token) {
            return;
        }
        self.tokens.push(token);
        if self.tokens.len() > TOKENS_MAX {
            self.tokens.remove(0);
        }
    }
}

/// Whether a header can carry it.
fn usable(token: &str) -> bool {
    !token.is_empty()
        && token.len() <= TOKEN_BYTES_MAX
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_replaces_what_its_request_carried() {
        let mut jar = TokenJar::default();
        jar.take(&jar.carry(), Some("s.1"), Some("c.1"));
        let first = jar.carry();
        assert_eq!(first.sessions, ["s.1"]);
        assert_eq!(first.client.as_deref(), Some("c.1"));
        jar.take(&first, Some("s.2"), None);
        assert_eq!(jar.tokens(), ["s.2"]);
        assert_eq!(jar.client(), Some("c.1"));
        assert_eq!(jar.session(), Some("s"));
    }

    #[test]
    fn answers_of_concurrent_requests_stand_side_by_side() {
        let mut jar = TokenJar::restore(None, vec!["s.1".into()]);
        let (one, two) = (jar.carry(), jar.carry());
        jar.take(&one, Some("s.2"), None);
        jar.take(&two, Some("s.3"), None);
        assert_eq!(jar.tokens(), ["s.2", "s.3"]);
        let both = jar.carry();
        jar.take(&both, Some("s.4"), None);
        assert_eq!(jar.tokens(), ["s.4"]);
    }

    #[test]
    fn an_answer_without_a_token_drops_nothing() {
        let mut jar = TokenJar::restore(None, vec!["s.1".into()]);
        jar.take(&jar.carry(), None, None);
        jar.take(&jar.carry(), Some("bad token\n"), None);
        jar.take(&jar.carry(), Some(""), None);
        assert_eq!(jar.tokens(), ["s.1"]);
    }

    #[test]
    fn heads_of_broadcasts_ride_beside_the_token_until_an_answer_stands_for_them() {
        let mut jar = TokenJar::restore(None, vec!["s.1".into()]);
        let before = jar.carry();
        for head in ["~A1", "~A2", "~A1", "s.9", "~b d"] {
            jar.keep_head(head);
        }
        assert_eq!(jar.tokens(), ["s.1"]);
        assert_eq!(jar.session(), Some("s"));
        let carried = jar.carry();
        assert_eq!(carried.sessions, ["s.1", "~A1", "~A2"]);
        assert_eq!(TokenJar::restore(None, jar.all()), jar);
        // An answer to a request that was sent before they came does not stand for them.
        jar.take(&before, Some("s.2"), None);
        assert_eq!(jar.carry().sessions, ["s.2", "~A1", "~A2"]);
        jar.take(&carried, Some("s.3"), None);
        assert_eq!(jar.carry().sessions, ["s.2", "s.3"]);
    }

    #[test]
    fn however_many_broadcasts_come_the_session_is_not_lost() {
        let mut jar = TokenJar::restore(None, vec!["s.1".into()]);
        for number in 0..100 {
            jar.keep_head(&format!("~A{number}"));
        }
        let carried = jar.carry().sessions;
        assert_eq!(carried.len(), 1 + HEADS_MAX);
        assert_eq!((&*carried[0], &*carried[HEADS_MAX]), ("s.1", "~A99"));
    }

    proptest! {
        /// The model: each answer's token stands for the set of actions that it proves. Whatever
        /// is in flight at once, the jar's tokens together always prove every answer received.
        #[test]
        fn the_jar_always_proves_every_answer_that_came(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200)
        ) {
            let mut jar = TokenJar::default();
            let mut proves: Vec<HashSet<usize>> = Vec::new();
            let mut in_flight: Vec<Carried> = Vec::new();
            let mut received = HashSet::new();
            let number = |token: &String| token[2..].parse::<usize>().unwrap();
            for (send, which) in steps {
                if send && in_flight.len() < 8 || in_flight.is_empty() {
                    in_flight.push(jar.carry());
                } else {
                    let carried = in_flight.remove(which.index(in_flight.len()));
                    let action = proves.len();
                    let mut proven: HashSet<usize> = carried
                        .sessions
                        .iter()
                        .flat_map(|token| proves[number(token)].clone())
                        .collect();
                    proven.insert(action);
                    proves.push(proven);
                    received.insert(action);
                    jar.take(&carried, Some(&format!("s.{action}")), None);
                }
                let known: HashSet<usize> = jar
                    .tokens()
                    .iter()
                    .flat_map(|token| proves[number(token)].clone())
                    .collect();
                prop_assert_eq!(&known, &received);
                prop_assert!(jar.tokens().len() <= 8);
            }
        }
    }
}
