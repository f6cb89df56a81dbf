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

/// Who asked what a moment ago. A place is taken over by the next that falls into it: then a
/// question that comes again is taken for a new one.
#[derive(Debug)]
pub struct Recent {
    seed: Quick,
    places: Vec<(u64, u64)>,
}

impl Recent {
    /// Nobody yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed: Quick(seed),
            places: vec![(0, 0); PLACES],
        }
    }

    /// Whether the question was marked less than `within_ms` ago; `name` is a key.
    #[must_use]
    pub fn is_again(
        &self,
        address: IpAddr,
        name: &[u8],
        kind: u16,
        now_ms: u64,
        within_ms: u64,
    ) -> bool {
        let key = self.key(address, name, kind);
        let (there, then) = self.places[key as usize % PLACES];
        there == key && now_ms.saturating_sub(then) < within_ms
    }

    /// Marks the question as asked now.
    pub fn mark(&mut self, address: IpAddr, name: &[u8], kind: u16, now_ms: u64) {
        let key = self.key(address, name, kind);
        self.places[key as usize % PLACES] = (key, now_ms);
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
    fn a_question_that_comes_again_soon_is_known() {
        let mut recent = Recent::new(3);
        let address = IpAddr::from([192, 0, 2, 1]);
        assert!(!recent.is_again(address, b"name", 1, 0, 100));
        recent.mark(address, b"name", 1, 50);
        assert!(recent.is_again(address, b"name", 1, 149, 100));
        assert!(!recent.is_again(address, b"name", 1, 150, 100));
        assert!(!recent.is_again(address, b"name", 28, 60, 100));
        assert!(!recent.is_again(address, b"other", 1, 60, 100));
        assert!(!recent.is_again(IpAddr::from([192, 0, 2, 2]), b"name", 1, 60, 100));
    }
}
