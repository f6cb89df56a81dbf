//! A limit on equal answers to one network: who sends queries in another's name gets no amplifier
//! (response-rate limiting, as BIND and NSD do it).
//!
//! One bucket for each (network, answer), refilled at a rate. An answer that finds its bucket empty
//! is dropped, and every few times sent cut short instead, so that whoever really asks can come
//! over TCP. A race is charged for all the answers that it draws. The table has a fixed size; two
//! keys that fall into one place share its bucket while it is in use, which errs to the safe side,
//! and who does not know the seed cannot aim at it.

use core::net::IpAddr;
use std::hash::{BuildHasher as _, Hasher as _};

use crate::hash::Quick;

/// Places of the table.
const PLACES: usize = 1 << 16;

/// Parts of an answer that a bucket counts in.
const WHOLE: u64 = 1000;

/// How limited answers are, and which networks are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOptions {
    /// Equal answers to one network a second; 0: no limit.
    pub per_s: u32,
    /// Every how many limited answers one is sent cut short; 0: none, 1: all.
    pub slip: u32,
    /// Bits of an IPv4 network.
    pub v4_bits: u8,
    /// Bits of an IPv6 network.
    pub v6_bits: u8,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// It is sent cut short.
    Slip,
    /// It is not sent.
    Drop,
}

/// The table.
#[derive(Debug)]
pub struct Limiter {
    options: LimitOptions,
    seed: Quick,
    places: Vec<Place>,
    limited: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    at_ms: u64,
    left: u64,
}

impl Limiter {
    /// A table; strangers must not know the seed.
    #[must_use]
    pub fn new(options: LimitOptions, seed: u64) -> Self {
        let places = match options.per_s {
            0 => 0,
            _ => PLACES,
        };
        Self {
            options,
            seed: Quick(seed),
            places: vec![Place::default(); places],
            limited: 0,
        }
    }

    /// Charges a query's network for `answers` answers that are `answer`.
    pub fn charge(&mut self, source: IpAddr, answer: u64, answers: u32, now_ms: u64) -> Verdict {
        if self.places.is_empty() {
            return Verdict::Send;
        }
        let network = network(source, self.options.v4_bits, self.options.v6_bits);
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(network as u64);
        hasher.write_u64((network >> 64) as u64 ^ u64::from(source.is_ipv6()));
        hasher.write_u64(answer);
        let key = hasher.finish();
        let full = u64::from(self.options.per_s) * WHOLE;
        let place = &mut self.places[key as usize % PLACES];
        let passed = now_ms.saturating_sub(place.at_ms);
        if place.key != key && passed >= 1000 {
            *place = Place {
                key,
                at_ms: now_ms,
                left: full,
            };
        } else {
            let refill = passed.saturating_mul(u64::from(self.options.per_s));
            place.left = place.left.saturating_add(refill).min(full);
            place.at_ms = now_ms;
        }
        let cost = u64::from(answers) * WHOLE;
        match place.left.checked_sub(cost) {
            Some(left) => {
                place.left = left;
                Verdict::Send
            }
            None => {
                // What is refused costs nothing: who really asks is served at the rate.
                self.limited = self.limited.wrapping_add(1);
                let slips = self.options.slip > 0 && self.limited.is_multiple_of(self.options.slip);
                match slips {
                    true => Verdict::Slip,
                    false => Verdict::Drop,
                }
            }
        }
    }
}

/// The network of an address, as its first bits.
#[must_use]
pub(crate) fn network(address: IpAddr, v4_bits: u8, v6_bits: u8) -> u128 {
    let keep = |bits: u8, value: u128| match bits.min(128) {
        0 => 0,
        bits => value & u128::MAX << (128 - bits),
    };
    match address.to_canonical() {
        IpAddr::V4(address) => keep(v4_bits.min(32), u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => keep(v6_bits, address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: LimitOptions = LimitOptions {
        per_s: 10,
        slip: 2,
        v4_bits: 24,
        v6_bits: 56,
    };

    fn count(limiter: &mut Limiter, source: [u8; 4], answer: u64, cost: u32, now: u64) -> usize {
        let source = IpAddr::from(source);
        (0..100)
            .filter(|_| limiter.charge(source, answer, cost, now) == Verdict::Send)
            .count()
    }

    #[test]
    fn a_network_gets_equal_answers_at_the_rate() {
        let mut limiter = Limiter::new(OPTIONS, 1);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], 1, 1, 5000), 10);
        assert_eq!(count(&mut limiter, [192, 0, 2, 9], 1, 1, 5000), 0);
        assert_eq!(count(&mut limiter, [192, 0, 3, 1], 1, 1, 5000), 10);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], 2, 1, 5000), 10);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], 1, 1, 5500), 5);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], 1, 1, 60_000), 10);
    }

    #[test]
    fn a_race_is_charged_for_all_its_answers() {
        let mut limiter = Limiter::new(OPTIONS, 1);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], 1, 5, 5000), 2);
    }

    #[test]
    fn every_second_limited_answer_is_cut_short() {
        let mut limiter = Limiter::new(OPTIONS, 1);
        let verdicts: Vec<Verdict> = (0..14)
            .map(|_| limiter.charge(IpAddr::from([1, 2, 3, 4]), 1, 1, 0))
            .collect();
        use Verdict::{Drop, Slip};
        assert_eq!(verdicts[10..], [Drop, Slip, Drop, Slip]);
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let mut limiter = Limiter::new(
            LimitOptions {
                per_s: 0,
                ..OPTIONS
            },
            1,
        );
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], 1, 1, 0), 100);
    }

    #[test]
    fn networks_are_the_first_bits() {
        let of = |text: &str| network(text.parse().expect("an address"), 24, 56);
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.7"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:ff::1"));
        assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:1::1"));
        assert_eq!(network(IpAddr::from([255; 4]), 0, 0), 0);
    }
}
