//! Which pairs only look concurrent because a head was lost.
//!
//! A client that loses no head (a program that holds its tokens) makes a graph in which
//! "reachable" is exactly "received before sent". A browser holds them in cookies, and where it
//! has very many an answer can overwrite one (`docs/formats/cookies.md`). That head is lost: what
//! the client sends later follows the lost action in truth, and nothing in the graph says so. Such
//! a pair must not be called concurrent.
//!
//! In the words of the design: a head is lost when nothing follows it while an action not before
//! it is followed by one that is not after it. Made exact, and held to the pairs that it can
//! concern: let A and B be apart (neither reachable from the other) and of different requests. A
//! **may have been received before B was sent** if all of these hold:
//!
//! 1. A was answered, and is in that answer's token: its effect is in the journal (which is
//!    durable before an answer's first byte), and it is not an action recorded after it.
//! 2. B's request carried heads, and none of them is before A. (An answer clears what its request
//!    carried. A client that still carries a head that is before A has not received A's answer;
//!    so B, "not after" A, follows only actions that are "not before it".)
//! 3. Nothing follows A's request; or there is a follower R and a head P of B's request such that
//!    P is not before R. (The second is a proof that something was lost: R was sent when A was
//!    known and P not, B when P was known and A not, and without loss one of the two must have
//!    been known first to both.)
//! 4. A's server does not contradict: neither B nor an action after B stands, in the journal of
//!    A's server, before the effect of A. (It had then come in before A's answer went out.)
//!
//! The pair is *unproven* if A may have been received before B was sent, or the reverse, or if
//! the later by ordering id has an unknown ancestor that the other has not (it may stand between
//! them). Else it is *concurrent*.
//!
//! What this promises (tests/visits/simulation.rs): no order that is shown is false; where no head is
//! lost, every pair that a later request of the client settles is told exactly; a pair whose order
//! was lost is not called concurrent. At a session's end, answers that nothing follows yet stand
//! unproven against later requests of other lines until a request carries them, if nothing of
//! their server's journal settles it: without the next request nobody can tell a held head from a
//! lost one.

use selvedge_entry::Entry;

use crate::graph::Graph;

/// Steps spent on rule 3 before the rest is called unproven: a bound for hostile graphs; a
/// session of eight requests in flight needs about a hundred per action.
const STEPS_MAX: u64 = 1 << 27;

/// Every pair that is apart, told as what it is. Lists are ascending.
pub(crate) struct Losses {
    pub(crate) concurrent: Vec<Vec<u32>>,
    pub(crate) unproven: Vec<Vec<u32>>,
    /// How many actions, from the first, have lists.
    pub(crate) related: usize,
}

impl Losses {
    pub(crate) fn find(actions: &[Entry], graph: &Graph) -> Self {
        let related = graph.related();
        let mut apart: Vec<Vec<u32>> = graph.apart.clone();
        for (number, lower) in (0..).zip(&graph.apart) {
            for other in lower {
                apart[*other as usize].push(number);
            }
        }
        let mut search = Search {
            actions,
            graph,
            steps: STEPS_MAX,
            marks: vec![u32::MAX; related],
        };
        let mut unproven: Vec<Vec<u32>> = vec![Vec::new(); related];
        for (action, others) in (0..).zip(&apart) {
            for other in search.maybe_received_before(action, others) {
                unproven[action as usize].push(other);
                unproven[other as usize].push(action);
            }
            let hidden = |other: &&u32| **other < action && graph.may_hide(**other, action);
            for other in others.iter().filter(hidden) {
                unproven[action as usize].push(*other);
                unproven[*other as usize].push(action);
            }
        }
        let mut concurrent = apart;
        for (concurrent, unproven) in concurrent.iter_mut().zip(&mut unproven) {
            unproven.sort_unstable();
            unproven.dedup();
            concurrent.retain(|other| unproven.binary_search(other).is_err());
        }
        Self {
            concurrent,
            unproven,
            related,
        }
    }
}

struct Search<'a> {
    actions: &'a [Entry],
    graph: &'a Graph,
    steps: u64,
    /// By action, the last action whose server contradicts it (rule 4).
    marks: Vec<u32>,
}

impl Search<'_> {
    /// Which of `others`, all that are apart from `action`, may have been sent after its answer
    /// was received.
    fn maybe_received_before(&mut self, action: u32, others: &[u32]) -> Vec<u32> {
        if others.is_empty() {
            return Vec::new();
        }
        let Some(answered) = self.answered(action) else {
            return Vec::new();
        };
        let request = self.graph.request[action as usize];
        let mut suspects: Vec<u32> = Vec::new();
        for other in others {
            if self.graph.request[*other as usize] != request
                && self.carried_none_before(*other, action)
                && self.loss_is_possible(action, *other)
            {
                suspects.push(*other);
            }
        }
        if !suspects.is_empty() {
            self.mark_contradicted(action, answered, others);
            suspects.retain(|other| self.marks[*other as usize] != action);
        }
        suspects
    }

    /// Rule 1: the sequence of the effect that made the action's answer, if it was in it.
    fn answered(&self, action: u32) -> Option<u64> {
        let entry = &self.actions[action as usize];
        let request = &self.graph.requests[self.graph.request[action as usize] as usize];
        match request.answered {
            Some(effect) => effect.filter(|effect| entry.position.sequence <= *effect),
            None => entry.effect.as_ref().map(|(effect, _)| *effect),
        }
    }

    /// Rule 2.
    fn carried_none_before(&self, other: u32, action: u32) -> bool {
        let request = &self.graph.requests[self.graph.request[other as usize] as usize];
        let any = !request.heads.is_empty() || !request.unknown_heads.is_empty();
        any && !request
            .heads
            .iter()
            .any(|head| self.graph.before(*head, action))
            && !request
                .unknown_heads
                .iter()
                .any(|head| self.graph.unknown_before(*head, action) == Some(true))
    }

    /// Rule 3.
    fn loss_is_possible(&mut self, action: u32, other: u32) -> bool {
        let graph = self.graph;
        let followed = &graph.requests[graph.request[action as usize] as usize].followers;
        let related = graph.related() as u32;
        let mut followers = followed.iter().filter(|follower| **follower < related);
        let request = &graph.requests[graph.request[other as usize] as usize];
        let cost = followed.len() * (request.heads.len() + request.unknown_heads.len());
        self.steps = self.steps.saturating_sub(cost as u64);
        if followed.is_empty() || self.steps == 0 {
            return true;
        }
        followers.any(|follower| {
            !request
                .heads
                .iter()
                .all(|head| graph.before(*head, *follower))
                || !request
                    .unknown_heads
                    .iter()
                    .all(|head| graph.unknown_before(*head, *follower) == Some(true))
        })
    }

    /// Rule 4: marks those of `others` that came in before the action's answer went out.
    fn mark_contradicted(&mut self, action: u32, answered: u64, others: &[u32]) {
        let position = &self.actions[action as usize].position;
        for other in others.iter().rev() {
            let at = &self.actions[*other as usize].position;
            let earlier = at.server == position.server
                && at.epoch == position.epoch
                && at.sequence < answered;
            // What follows it and is apart from the action has been looked at: it is higher.
            let marked = |follower: &u32| self.marks.get(*follower as usize) == Some(&action);
            if earlier || self.graph.followers[*other as usize].iter().any(marked) {
                self.marks[*other as usize] = action;
            }
        }
    }
}
