//! Who has proven an address, and who asked the same a moment ago.

use core::net::IpAddr;
use std::hash::{BuildHasher as _, Hasher as _};

use hashbrown::HashMap;

use crate::hash::Quick;

/// Addresses remembered at most.
const ADDRESSES_MAX: usize = 1 << 17;

/// How long one is remembered: a bounce a day, and what it proved.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Addresses that were told to come over TCP, and whether they did.
///
/// When there is no room, nobody new is told so: they get plain answers.
#[derive(Debug)]
pub struct Sources {
    known: HashMap<IpAddr, Source, Quick>,
    swept_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    bounced_ms: u64,
    proven_ms: Option<u64>,
}

impl Sources {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            known: HashMap::with_hasher(Quick(seed)),
            swept_ms: 0,
        }
    }

    /// Whether an address came over TCP within the last day.
    #[must_use]
    pub fn is_proven(&self, address: IpAddr, now_ms: u64) -> bool {
        let source = self.known.get(&address.to_canonical());
        let proven = source.and_then(|source| source.proven_ms);
        proven.is_some_and(|then| now_ms.saturating_sub(then) < DAY_MS)
    }

    /// An address came over TCP.
    pub fn prove(&mut self, address: IpAddr, now_ms: u64) {
        let address = address.to_canonical();
        if !self.has_room(address, now_ms) {
            return;
        }
        let source = self.known.entry(address).or_insert(Source {
            bounced_ms: now_ms,
            proven_ms: None,
        });
        source.proven_ms = Some(now_ms);
    }

    /// Whether to tell an address to come over TCP: once a day.
    pub fn bounce(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let address = address.to_canonical();
        let known = self.known.get(&address).copied();
        if known.is_some_and(|source| now_ms.saturating_sub(source.bounced_ms) < DAY_MS)
            || !self.has_room(address, now_ms)
        {
            return false;
        }
        let proven_ms = known.and_then(|source| source.proven_ms);
        let source = Source {
            bounced_ms: now_ms,
            proven_ms,
        };
        self.known.insert(address, source);
        true
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn has_room(&mut self, address: IpAddr, now_ms: u64) -> bool {
        if self.known.len() < ADDRESSES_MAX || self.known.contains_key(&address) {
            return true;
        }
        // Looked through at most once a second, however fast strangers come.
        if now_ms.saturating_sub(self.swept_ms) >= 1000 {
            self.swept_ms = now_ms;
            self.known.retain(|_, source| {
                let last = source.proven_ms.unwrap_or(0).max(source.bounced_ms);
                now_ms.saturating_sub(last) < DAY_MS
            });
        }
        self.known.len() < ADDRESSES_MAX
    }
}

/// Places of [`Recent`].
const PLACES: usize = 1 << 14;

/// Who asked what a moment ago, and how often. A place is taken over by the next that falls into
/// it: then a question that comes again is taken for a new one.
#[derive(Debug)]
pub struct Recent {
    seed: Quick,
    places: Vec<Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    key: u64,
    first_ms: u64,
    times: u32,
}

impl Recent {
    /// Nobody yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed: Quick(seed),
            places: vec![Asked::default(); PLACES],
        }
    }

    /// How often the question was marked since a time that began less than `within_ms` ago; `name`
    /// is a key.
    #[must_use]
    pub fn times(
        &self,
        address: IpAddr,
        name: &[u8],
        kind: u16,
        now_ms: u64,
        within_ms: u64,
    ) -> u32 {
        let key = self.key(address, name, kind);
        let there = self.places[key as usize % PLACES];
        let now = there.key == key && now_ms.saturating_sub(there.first_ms) < within_ms;
        if now { there.times } else { 0 }
    }

    /// Marks the question as asked once more; a time begins now, if it was never marked or longer
    /// ago than `within_ms`.
    pub fn mark(&mut self, address: IpAddr, name: &[u8], kind: u16, now_ms: u64, within_ms: u64) {
        let times = self.times(address, name, kind, now_ms, within_ms);
        let key = self.key(address, name, kind);
        let place = &mut self.places[key as usize % PLACES];
        if times == 0 {
            *place = Asked {
                key,
                first_ms: now_ms,
                times: 0,
            };
        }
        place.times += 1;
    }

    fn key(&self, address: IpAddr, name: &[u8], kind: u16) -> u64 {
        let mut hasher = self.seed.build_hasher();
        match address.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(name);
        hasher.write_u64(u64::from(kind));
        hasher.finish() | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_bounced_once_a_day_and_proven_for_one() {
        let mut sources = Sources::new(1);
        let address = IpAddr::from([192, 0, 2, 1]);
        let mapped = "::ffff:192.0.2.1".parse().expect("an address");
        assert!(sources.bounce(address, 0));
        assert!(!sources.bounce(mapped, DAY_MS - 1));
        assert!(!sources.is_proven(address, 5));
        sources.prove(mapped, 10);
        assert!(sources.is_proven(address, DAY_MS + 9));
        assert!(!sources.is_proven(address, DAY_MS + 10));
        assert!(sources.bounce(address, DAY_MS));
    }

    #[test]
    fn strangers_fill_a_bounded_table_and_push_nobody_out() {
        let mut sources = Sources::new(1);
        let known = IpAddr::from([192, 0, 2, 1]);
        sources.prove(known, 0);
        let bounced = (0..200_000_u32)
            .filter(|n| sources.bounce(IpAddr::from(n.to_be_bytes()), 1))
            .count();
        assert_eq!((bounced, sources.len()), (ADDRESSES_MAX - 1, ADDRESSES_MAX));
        assert!(sources.is_proven(known, 1));
        // A day later there is room again.
        assert!(sources.bounce(IpAddr::from([255; 4]), DAY_MS + 1));
        assert_eq!(sources.len(), 1);
    }

    #[test]
    fn questions_that_come_again_soon_are_counted() {
        let mut recent = Recent::new(3);
        let address = IpAddr::from([192, 0, 2, 1]);
        let times =
            |recent: &Recent, name: &[u8], kind, now| recent.times(address, name, kind, now, 100);
        assert_eq!(times(&recent, b"name", 1, 0), 0);
        recent.mark(address, b"name", 1, 50, 100);
        recent.mark(address, b"name", 1, 149, 100);
        assert_eq!(times(&recent, b"name", 1, 149), 2);
        assert_eq!(times(&recent, b"name", 1, 150), 0);
        assert_eq!(times(&recent, b"name", 28, 60), 0);
        assert_eq!(times(&recent, b"other", 1, 60), 0);
        recent.mark(address, b"name", 1, 150, 100);
        assert_eq!(times(&recent, b"name", 1, 160), 1);
        let other = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(recent.times(other, b"name", 1, 160, 100), 0);
    }
}
