//! The winner table: which site answers reach a resolver's network first.

use std::collections::VecDeque;
use std::fmt;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::hash::Quick;

/// Winners kept at most.
const WINNERS_MAX: usize = 1 << 16;

/// How long a winner whose time is over is still the incumbent, in seconds.
const INCUMBENT_S: u64 = 7 * 24 * 3600;

/// Changes kept for whoever looks.
const CHANGES_MAX: usize = 256;

/// A resolver's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first bits; an IPv4 network's are the first 32.
    pub bits: u128,
    /// Whether it is one of IPv6.
    pub v6: bool,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.v6 {
            true => core::net::Ipv6Addr::from_bits(self.bits).fmt(f),
            false => core::net::Ipv4Addr::from_bits((self.bits >> 96) as u32).fmt(f),
        }
    }
}

/// What there is one winner of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WinnerKey {
    /// The resolver's network.
    pub network: Network,
    /// The raced name, as a key.
    pub name: Box<[u8]>,
    /// The type.
    pub kind: u16,
}

/// Who won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// The site's name.
    pub site: String,
    /// Since when, in seconds since 1970.
    pub since_s: u64,
    /// Until when it is answered without a race.
    pub until_s: u64,
    /// How many races it won one after the other.
    pub wins: u64,
}

/// A network's winner became another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// The network's address.
    pub network: String,
    /// The raced name.
    pub name: String,
    /// The type.
    pub kind: u16,
    /// Who was it before; nobody at first.
    pub from: Option<String>,
    /// Who is it now.
    pub to: String,
}

/// The table.
#[derive(Debug)]
pub struct Winners {
    winners: HashMap<WinnerKey, Winner, Quick>,
    changes: VecDeque<Change>,
    changed: u64,
    swept_s: u64,
}

/// A row as it is kept over a restart.
#[derive(Serialize, Deserialize)]
struct Row {
    network: String,
    name: String,
    kind: u16,
    site: String,
    since_s: u64,
    until_s: u64,
    wins: u64,
}

impl Winners {
    /// Empty; strangers must not know the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            winners: HashMap::with_hasher(Quick(seed)),
            changes: VecDeque::new(),
            changed: 0,
            swept_s: 0,
        }
    }

    /// The winner, while it is answered without a race.
    #[must_use]
    pub fn now(&self, key: &WinnerKey, now_s: u64) -> Option<&Winner> {
        let winner = self.winners.get(key)?;
        (now_s < winner.until_s).then_some(winner)
    }

    /// The last winner, however long ago: a tie leaves it.
    #[must_use]
    pub fn incumbent(&self, key: &WinnerKey) -> Option<&str> {
        self.winners.get(key).map(|winner| winner.site.as_str())
    }

    /// A race was won.
    pub fn won(&mut self, key: WinnerKey, site: &str, now_s: u64, ttl: u32) {
        let until_s = now_s + u64::from(ttl);
        self.changed += 1;
        if let Some(winner) = self.winners.get_mut(&key)
            && winner.site == site
        {
            winner.until_s = until_s;
            winner.wins += 1;
            return;
        }
        if !self.has_room(&key, now_s) {
            return;
        }
        let winner = Winner {
            site: site.to_owned(),
            since_s: now_s,
            until_s,
            wins: 1,
        };
        let change = Change {
            at_s: now_s,
            network: key.network.to_string(),
            name: crate::name::text(&key.name),
            kind: key.kind,
            from: None,
            to: site.to_owned(),
        };
        let before = self.winners.insert(key, winner);
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        let from = before.map(|before| before.site);
        self.changes.push_back(Change { from, ..change });
    }

    /// How often it changed: a number to compare.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// The last changes of winners, the oldest first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter()
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = (&WinnerKey, &Winner)> {
        self.winners.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.winners.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.winners.is_empty()
    }

    /// The table as text, to be kept over a restart.
    #[must_use]
    pub fn save(&self) -> String {
        let row = |(key, winner): (&WinnerKey, &Winner)| Row {
            network: key.network.to_string(),
            name: crate::name::text(&key.name),
            kind: key.kind,
            site: winner.site.clone(),
            since_s: winner.since_s,
            until_s: winner.until_s,
            wins: winner.wins,
        };
        let mut out = String::new();
        for entry in &self.winners {
            out += &serde_json::to_string(&row(entry)).unwrap_or_default();
            out.push('\n');
        }
        out
    }

    /// Takes over what [`save`](Self::save) wrote; a line that is not one of its own is left out.
    /// Says how many were.
    pub fn load(&mut self, text: &str, now_s: u64) -> usize {
        let mut left_out = 0;
        for line in text.lines() {
            let row: Option<Row> = serde_json::from_str(line).ok();
            let Some((key, winner)) = row.and_then(unrow) else {
                left_out += 1;
                continue;
            };
            // A clock that went back leaves no winner for longer than it was one.
            let far = winner.until_s > now_s + u64::from(u32::MAX >> 1);
            if far || !self.has_room(&key, now_s) {
                left_out += 1;
                continue;
            }
            self.winners.insert(key, winner);
        }
        left_out
    }

    fn has_room(&mut self, key: &WinnerKey, now_s: u64) -> bool {
        if self.winners.len() < WINNERS_MAX || self.winners.contains_key(key) {
            return true;
        }
        if now_s != self.swept_s {
            self.swept_s = now_s;
            self.winners
                .retain(|_, winner| now_s < winner.until_s + INCUMBENT_S);
            if self.winners.len() == WINNERS_MAX {
                self.winners.retain(|_, winner| now_s < winner.until_s);
            }
        }
        self.winners.len() < WINNERS_MAX
    }
}

fn unrow(row: Row) -> Option<(WinnerKey, Winner)> {
    let network = match row.network.parse().ok()? {
        core::net::IpAddr::V4(address) => Network {
            bits: u128::from(address.to_bits()) << 96,
            v6: false,
        },
        core::net::IpAddr::V6(address) => Network {
            bits: address.to_bits(),
            v6: true,
        },
    };
    let name = crate::name::Name::parse(row.name.as_bytes(), None).ok()?;
    let key = WinnerKey {
        network,
        name: name.key(),
        kind: row.kind,
    };
    let winner = Winner {
        site: row.site,
        since_s: row.since_s,
        until_s: row.until_s,
        wins: row.wins,
    };
    Some((key, winner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> WinnerKey {
        WinnerKey {
            network: Network {
                bits: u128::from(number) << 96,
                v6: false,
            },
            name: b"\x03www\x07example\x00"[..].into(),
            kind: 1,
        }
    }

    #[test]
    fn a_winner_is_answered_until_its_time_is_over_and_stays_the_incumbent() {
        let mut winners = Winners::new(1);
        winners.won(key(1), "north", 100, 30);
        assert_eq!(winners.now(&key(1), 129).map(|w| &*w.site), Some("north"));
        assert_eq!(winners.now(&key(1), 130), None);
        assert_eq!(winners.incumbent(&key(1)), Some("north"));
        assert_eq!(winners.now(&key(2), 100), None);
        winners.won(key(1), "north", 130, 30);
        winners.won(key(1), "south", 200, 30);
        let changes: Vec<_> = winners
            .changes()
            .map(|c| (c.from.as_deref(), &*c.to))
            .collect();
        assert_eq!(changes, [(None, "north"), (Some("north"), "south")]);
    }

    #[test]
    fn the_table_is_the_same_after_a_restart() {
        let mut winners = Winners::new(1);
        winners.won(key(0xc000_0200), "north", 100, 30);
        let v6 = WinnerKey {
            network: Network {
                bits: 0x2001_0db8 << 96,
                v6: true,
            },
            ..key(0)
        };
        winners.won(v6.clone(), "south", 100, 30);
        let text = winners.save();
        let mut again = Winners::new(2);
        assert_eq!(again.load(&text, 110), 0);
        assert_eq!(again.now(&v6, 110), winners.now(&v6, 110));
        assert_eq!(
            again.now(&key(0xc000_0200), 110).map(|w| &*w.site),
            Some("north")
        );
        let damaged = text.replace("\"kind\":1", "\"kind\":x");
        assert_eq!(Winners::new(3).load(&damaged, 110), 2);
    }

    #[test]
    fn the_table_is_bounded_and_drops_what_is_over_first() {
        let mut winners = Winners::new(1);
        for number in 0..WINNERS_MAX as u32 {
            winners.won(
                key(number),
                "north",
                100,
                if number < 10 { 5 } else { 1000 },
            );
        }
        winners.won(key(1 << 20), "north", 104, 30);
        assert_eq!(winners.len(), WINNERS_MAX);
        winners.won(key(1 << 20), "north", 105, 30);
        assert_eq!(winners.len(), WINNERS_MAX - 9);
    }
}
