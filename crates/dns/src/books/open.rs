//! Races whose winner nobody has named yet.

use std::collections::VecDeque;

use hashbrown::HashMap;
use selvedge_race::contest::RaceId;

use super::WinnerKey;
use crate::hash::Quick;
use crate::token::RaceMark;

/// Races kept at most; the oldest go first.
const OPEN_MAX: usize = 1 << 15;

/// A race that runs, or ran a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) race: RaceId,
    pub(crate) key: WinnerKey,
    /// For how long its winner is answered.
    pub(crate) ttl: u32,
    pub(crate) began_ms: u64,
}

/// The open races by the marks in their labels. Keys are our own, so their hash needs no secret.
#[derive(Debug, Default)]
pub(crate) struct OpenRaces {
    open: HashMap<RaceMark, Open, Quick>,
    order: VecDeque<RaceMark>,
}

impl OpenRaces {
    pub(crate) fn begin(&mut self, race: RaceId, key: WinnerKey, ttl: u32, now_ms: u64) {
        if self.order.len() == OPEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        let mark = RaceMark::new(race.epoch, race.sequence);
        self.order.push_back(mark);
        let open = Open {
            race,
            key,
            ttl,
            began_ms: now_ms,
        };
        self.open.insert(mark, open);
    }

    /// Takes the race out, whose winner is named.
    pub(crate) fn end(&mut self, mark: RaceMark) -> Option<Open> {
        self.open.remove(&mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Network;

    #[test]
    fn races_that_nobody_answers_are_bounded() {
        let mut races = OpenRaces::default();
        let key = WinnerKey {
            network: Network { bits: 0, v6: false },
            name: b"\x01a\x00"[..].into(),
            kind: 1,
        };
        let id = |sequence| RaceId { epoch: 7, sequence };
        for sequence in 0..100_000 {
            races.begin(id(sequence), key.clone(), 30, sequence);
        }
        assert_eq!((races.open.len(), races.order.len()), (OPEN_MAX, OPEN_MAX));
        assert_eq!(races.end(RaceMark::new(7, 0)), None);
        let last = races.end(RaceMark::new(7, 99_999)).expect("open");
        assert_eq!((last.race, last.began_ms), (id(99_999), 99_999));
        assert_eq!(races.end(RaceMark::new(7, 99_999)), None);
    }
}
