//! Which step comes next, and how long the viewer waits before it.

use std::time::Duration;

use crate::Step;

/// The steps of all rounds, handed out one by one.
pub(crate) struct Plan {
    walk: Vec<Step>,
    next: u64,
    end: u64,
    delay_max: Duration,
    random: u64,
}

impl Plan {
    pub(crate) fn new(walk: Vec<Step>, rounds: u32, delay_max: Duration, seed: u64) -> Self {
        let end = walk.len() as u64 * u64::from(rounds);
        Self {
            walk,
            next: 0,
            end,
            delay_max,
            // Zero is the one state that the generator below cannot leave.
            random: seed ^ 0x9e37_79b9_7f4a_7c15 | 1,
        }
    }

    /// One more round.
    pub(crate) fn again(&mut self) {
        self.end += self.walk.len() as u64;
    }

    /// The next request's number (from 1), its step, and the time to wait before it is sent.
    pub(crate) fn next(&mut self) -> Option<(u64, Step, Duration)> {
        if self.next == self.end {
            return None;
        }
        let step = self.walk[(self.next % self.walk.len() as u64) as usize].clone();
        self.next += 1;
        let wait = if self.delay_max.is_zero() {
            Duration::ZERO
        } else {
            Duration::from_micros(self.draw() % (self.delay_max.as_micros() as u64 + 1))
        };
        Some((self.next, step, wait))
    }

    /// Xorshift: delays need to differ, no more.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_walk;

    #[test]
    fn every_round_walks_all_steps_in_order() {
        let walk = default_walk();
        let mut plan = Plan::new(walk.clone(), 3, Duration::from_millis(2), 7);
        for number in 1..=walk.len() * 3 {
            let (n, step, wait) = plan.next().unwrap();
            assert_eq!(n, number as u64);
            assert_eq!(step, walk[(number - 1) % walk.len()]);
            assert!(wait <= Duration::from_millis(2));
        }
        assert!(plan.next().is_none());
    }

    #[test]
    fn no_steps_or_no_rounds_end_at_once() {
        assert!(Plan::new(Vec::new(), 9, Duration::ZERO, 0).next().is_none());
        assert!(
            Plan::new(default_walk(), 0, Duration::ZERO, 0)
                .next()
                .is_none()
        );
    }
}
