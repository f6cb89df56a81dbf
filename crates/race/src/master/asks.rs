//! How many races one address may start: a client that proves its address may still ask too often.

use std::collections::HashMap;
use std::net::IpAddr;

use selvedge_clock::{Local, Nanos};

/// The most addresses that are remembered; beyond it strangers wait until old ones are forgotten.
const ADDRESSES_MAX: usize = 8192;

const SECOND: Nanos = 1_000_000_000;

/// A bucket of tokens an address (an IPv6 network of 64 bits counts as one).
#[derive(Debug)]
pub(crate) struct Asks {
    per_second: i64,
    buckets: HashMap<IpAddr, (Nanos, Local)>,
    /// When old ones were last looked for: that walks over all.
    swept: Option<Local>,
}

impl Asks {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: i64::from(per_second.max(1)),
            buckets: HashMap::new(),
            swept: None,
        }
    }

    /// Whether the address may ask once more.
    pub(crate) fn allow(&mut self, from: IpAddr, now: Local) -> bool {
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&network(from)) {
            self.sweep(now);
            if self.buckets.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let cost = SECOND / self.per_second;
        let (credit, since) = self.buckets.entry(network(from)).or_insert((SECOND, now));
        *credit = (*credit + (now - *since).max(0)).min(SECOND);
        *since = now;
        if *credit < cost {
            return false;
        }
        *credit -= cost;
        true
    }
}

impl Asks {
    /// Whoever was quiet for a second has a full bucket: forgetting it changes nothing.
    fn sweep(&mut self, now: Local) {
        if self.swept.is_none_or(|swept| now - swept >= SECOND / 10) {
            self.swept = Some(now);
            self.buckets.retain(|_, (_, since)| now - *since < SECOND);
        }
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_asks_so_often_a_second_and_no_more() {
        let mut asks = Asks::new(5);
        let ip = IpAddr::from([192, 0, 2, 1]);
        let allowed = |asks: &mut Asks, at| (0..20).filter(|_| asks.allow(ip, Local(at))).count();
        assert_eq!(allowed(&mut asks, 0), 5);
        assert_eq!(allowed(&mut asks, SECOND / 5), 1);
        assert_eq!(allowed(&mut asks, 10 * SECOND), 5);
        assert!(asks.allow(IpAddr::from([192, 0, 2, 2]), Local(10 * SECOND)));
    }

    #[test]
    fn memory_is_bounded_and_an_ipv6_network_is_one_asker() {
        let mut asks = Asks::new(1);
        for n in 0..100_000u32 {
            asks.allow(IpAddr::from(n.to_be_bytes()), Local(0));
        }
        assert_eq!(asks.buckets.len(), ADDRESSES_MAX);
        assert!(
            asks.allow(IpAddr::from([250, 1, 1, 1]), Local(2 * SECOND)),
            "the old are forgotten"
        );
        assert!(asks.allow("2001:db8::1".parse().expect("ip"), Local(0)));
        assert!(!asks.allow("2001:db8::2".parse().expect("ip"), Local(0)));
    }
}
