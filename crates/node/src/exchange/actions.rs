//! The actions of one request and which follows which (A9).
//!
//! The request's own entry comes first. An action that its code records follows every action of
//! the request that was finished when it began; one that is still going on then is concurrent
//! with it, for nobody can tell a nested action from a parallel one. What the answer carries are
//! the actions that no other follows.

use selvedge_entry::Follow;
use selvedge_identity::{Head, Position};

/// Ordered actions that one request may have, so that no code can make the counters run away;
/// more are recorded without an ordering id and flagged.
pub(super) const ACTIONS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Actions {
    /// What the request carried: followed by whatever follows nothing of the request itself.
    carried: Vec<Head>,
    list: Vec<One>,
}

#[derive(Debug)]
struct One {
    head: Head,
    /// Bit i: it follows action i.
    ancestors: u64,
    finished: bool,
    /// It is the request's own entry.
    own: bool,
}

/// What an action that begins now follows.
pub(super) struct Begin {
    pub(super) after: Vec<Head>,
    ancestors: u64,
}

impl Begin {
    pub(super) fn follows(&self) -> impl Iterator<Item = Follow> + '_ {
        self.after.iter().map(Follow::from)
    }

    /// The greatest counter among what is followed.
    pub(super) fn floor(&self) -> u64 {
        self.after
            .iter()
            .map(|head| head.counter)
            .max()
            .unwrap_or(0)
    }
}

impl Actions {
    pub(super) fn new(carried: Vec<Head>) -> Self {
        Self {
            carried,
            list: Vec::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= ACTIONS_MAX
    }

    /// What an action, or a call to another server, that begins now follows.
    pub(super) fn begin(&self) -> Begin {
        let finished = self.bits(|one| one.finished);
        let tips = self.tips_of(finished);
        let after = if tips == 0 {
            self.carried.clone()
        } else {
            self.heads(tips)
        };
        Begin {
            after,
            ancestors: finished,
        }
    }

    /// The counter of the request's own action, if it is one and no other came since.
    pub(super) fn only_own(&self) -> Option<u64> {
        match &*self.list {
            [own] if own.own => Some(own.head.counter),
            _ => None,
        }
    }

    /// All that an action that begins now follows, directly or not, as far as this request knows.
    pub(super) fn past(&self) -> impl Iterator<Item = &Position> {
        let finished = self.list.iter().filter(|one| one.finished);
        let heads = self.carried.iter().chain(finished.map(|one| &one.head));
        heads.map(|head| &head.position)
    }

    /// Of what an action that begins now follows, what the request has not waited for: if its own
    /// entry is an action, it has for what it carried.
    pub(super) fn unwaited(&self) -> impl Iterator<Item = &Head> {
        let waited = self.list.iter().any(|one| one.own);
        let carried = self.carried.iter().filter(move |_| !waited);
        carried.chain(self.list.iter().filter(|one| !one.own).map(|one| &one.head))
    }

    /// Adds an action; returns its index.
    pub(super) fn add(&mut self, begin: &Begin, head: Head, finished: bool) -> usize {
        self.list.push(One {
            head,
            ancestors: begin.ancestors,
            finished,
            own: false,
        });
        self.list.len() - 1
    }

    /// Adds the request's own entry, which is an action.
    pub(super) fn add_own(&mut self, begin: &Begin, head: Head) {
        let index = self.add(begin, head, true);
        self.list[index].own = true;
    }

    pub(super) fn finish(&mut self, index: usize, effect: u64) {
        let one = &mut self.list[index];
        one.finished = true;
        one.head.effect = one.head.effect.max(effect);
    }

    pub(super) fn head(&self, index: usize) -> &Head {
        &self.list[index].head
    }

    /// The actions that no other follows.
    pub(super) fn tips(&self) -> Vec<Head> {
        self.heads(self.tips_of(self.bits(|_| true)))
    }

    fn bits(&self, which: impl Fn(&One) -> bool) -> u64 {
        let chosen = self.list.iter().enumerate().filter(|(_, one)| which(one));
        chosen.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// Of the set `bits`, what nothing in the set follows.
    fn tips_of(&self, bits: u64) -> u64 {
        let members = self.list.iter().enumerate();
        members
            .filter(|(index, _)| bits & 1 << index != 0)
            .fold(bits, |tips, (_, one)| tips & !one.ancestors)
    }

    fn heads(&self, bits: u64) -> Vec<Head> {
        let members = self.list.iter().enumerate();
        members
            .filter(|(index, _)| bits & 1 << index != 0)
            .map(|(_, one)| one.head.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use selvedge_identity::{Epoch, ServerName};

    use super::*;

    fn head(counter: u64) -> Head {
        Head {
            position: Position {
                server: ServerName::new("s").expect("valid"),
                epoch: Epoch {
                    counter: 1,
                    random: 1,
                },
                sequence: counter,
            },
            effect: counter,
            counter,
        }
    }

    fn counters(heads: &[Head]) -> Vec<u64> {
        heads.iter().map(|head| head.counter).collect()
    }

    #[test]
    fn sequential_actions_form_a_chain_with_one_tip() {
        let mut actions = Actions::new(vec![head(1)]);
        let begin = actions.begin();
        assert_eq!(counters(&begin.after), [1]);
        actions.add(&begin, head(2), true);
        let begin = actions.begin();
        assert_eq!(counters(&begin.after), [2]);
        let third = actions.add(&begin, head(3), false);
        actions.finish(third, 9);
        assert_eq!(counters(&actions.begin().after), [3]);
        assert_eq!(counters(&actions.tips()), [3]);
        assert_eq!(actions.tips()[0].effect, 9);
    }

    #[test]
    fn actions_that_overlap_are_both_tips_until_one_follows_both() {
        let mut actions = Actions::new(Vec::new());
        let begin = actions.begin();
        actions.add(&begin, head(1), true);
        let begin = actions.begin();
        let a = actions.add(&begin, head(2), false);
        let begin = actions.begin();
        assert_eq!(counters(&begin.after), [1]);
        let b = actions.add(&begin, head(3), false);
        assert_eq!(counters(&actions.tips()), [2, 3]);
        actions.finish(a, 2);
        actions.finish(b, 3);
        let begin = actions.begin();
        assert_eq!(counters(&begin.after), [2, 3]);
        actions.add(&begin, head(4), true);
        assert_eq!(counters(&actions.tips()), [4]);
    }
}
