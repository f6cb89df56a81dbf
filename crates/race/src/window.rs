//! Numbers that rise, each taken once: what was recorded and sent again is refused.

/// How far behind the greatest number a late one is still taken: datagrams overtake one another.
const WIDTH: u64 = 64;

/// The numbers of one sender's run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// The greatest number taken; 0 before the first.
    greatest: u64,
    /// Bit n: `greatest - n` was taken.
    taken: u64,
}

impl Window {
    /// Whether the number is new; it is taken then. 0 never is.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        if number > self.greatest {
            let by = number - self.greatest;
            self.taken = if by < WIDTH { self.taken << by } else { 0 } | 1;
            self.greatest = number;
            return true;
        }
        let behind = self.greatest - number;
        if number == 0 || behind >= WIDTH || self.taken & (1 << behind) != 0 {
            return false;
        }
        self.taken |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn none_is_taken_twice_and_none_far_behind(numbers in proptest::collection::vec(0..200u64, 0..400)) {
            let mut window = Window::default();
            let mut model = HashSet::new();
            for number in numbers {
                let greatest = model.iter().copied().max().unwrap_or(0);
                let expected = number > 0 && !model.contains(&number) && number + WIDTH > greatest;
                prop_assert_eq!(window.take(number), expected, "{}", number);
                if expected {
                    model.insert(number);
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_too() {
        let mut window = Window::default();
        assert!(!window.take(0));
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
        assert!(window.take(u64::MAX - 63));
        assert!(!window.take(u64::MAX - 64));
    }
}
