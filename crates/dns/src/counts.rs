//! What the server counts. Names of metrics stand here and nowhere else.

use std::fmt::Write as _;

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $count:ident = $name:literal,)+) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[doc = $doc])+ $count,)+
        }

        const NAMES: &[&str] = &[$($name,)+];
    };
}

counts! {
    /// Messages over UDP.
    Udp = "messages_udp",
    /// Messages over TCP.
    Tcp = "messages_tcp",
    /// Answers from the zone.
    Answered = "answered",
    /// Answers that a name has no such type, or does not exist.
    Negative = "negative",
    /// Referrals to another zone's servers.
    Referred = "referred",
    /// Refusals: no zone of ours, another class, a transfer.
    Refused = "refused",
    /// Malformed queries, answered with an error.
    Malformed = "malformed",
    /// What is no query, and was not answered.
    NoQuery = "no_query",
    /// Messages from addresses that nobody can have: port 0, broadcast, multicast.
    NoSource = "no_source",
    /// Queries for what is not implemented, or an unknown version of EDNS.
    NotImplemented = "not_implemented",
    /// Answers cut short because they were too large for their way.
    Truncated = "truncated",
    /// Answers that the rate limit held back.
    Limited = "limited",
    /// Answers that it cut short instead.
    Slipped = "slipped",
    /// Queries with a cookie that was right.
    Cookies = "cookies",
    /// Steered names: answers chosen by a plain policy.
    Chosen = "steered_chosen",
    /// Raced names: races begun.
    Raced = "raced",
    /// Raced names: answers from the winner table.
    FromTable = "raced_from_table",
    /// Raced names: plain answers, because the asker had not proven its address.
    Unproven = "raced_unproven",
    /// Raced names: plain answers to questions that came again.
    Again = "raced_again",
    /// Raced names: plain answers over TCP, or because no race could be run.
    Unraced = "raced_without",
    /// Raced names: askers told to come over TCP once.
    Bounced = "raced_bounced",
    /// Races whose winner was learned.
    Learned = "races_learned",
    /// Winners named from another network than the race was for, or too late.
    NotLearned = "races_not_learned",
    /// Answers that a race asked this site for.
    RaceAnswers = "race_answers",
    /// Answers that the system would not send.
    Unsent = "unsent",
    /// TCP connections refused: too many.
    ConnectionsRefused = "connections_refused",
}

/// Counters, by [`Count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts([u64; NAMES.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Counts {
    /// One more.
    pub fn add(&mut self, count: Count) {
        self.0[count as usize] += 1;
    }

    /// So many of it.
    #[must_use]
    pub fn of(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Adds those counters, and sets them to zero.
    pub fn take(&mut self, other: &mut Self) {
        for (to, from) in self.0.iter_mut().zip(&mut other.0) {
            *to += std::mem::take(from);
        }
    }

    /// In Prometheus' text form.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut out = String::new();
        for (name, value) in NAMES.iter().zip(self.0) {
            let _ = writeln!(out, "# TYPE selvedge_dns_{name}_total counter");
            let _ = writeln!(out, "selvedge_dns_{name}_total {value}");
        }
        out
    }
}
