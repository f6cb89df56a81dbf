//! DNS cookies (RFC 7873), as RFC 9018 makes them: all servers that share a secret take each
//! other's.
//!
//! A cookie that is right shows that its sender receives what is sent to its address. Nothing is
//! kept for it: it holds its time, and a keyed hash over that, the client's part and address.

use core::net::IpAddr;

use crate::hash::sip;

/// Bytes of a server cookie.
pub const LENGTH: usize = 16;

/// How long one is good, in seconds (RFC 9018, 4.3).
const OLD: u32 = 3600;

/// When a new one is given in its place.
const RENEWED: u32 = 1800;

/// How far another server's clock may be ahead.
const AHEAD: u32 = 300;

/// The secrets: the first makes cookies, all are taken.
#[derive(Clone)]
pub struct Secrets(Vec<[u8; 16]>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// These; the first makes cookies.
    #[must_use]
    pub fn new(first: [u8; 16], others: &[[u8; 16]]) -> Self {
        let mut all = vec![first];
        all.extend_from_slice(others);
        Self(all)
    }

    /// A server cookie for that client now.
    #[must_use]
    pub fn make(&self, client: &[u8; 8], address: IpAddr, now_s: u32) -> [u8; LENGTH] {
        let head = head(now_s);
        let hash = hash(&self.0[0], client, &head, address);
        let mut cookie = [0; LENGTH];
        cookie[..8].copy_from_slice(&head);
        cookie[8..].copy_from_slice(&hash);
        cookie
    }

    /// Judges what a client sent as its server cookie: `None` if it proves nothing; else the one to
    /// answer with, which is a new one once it is half as old as it may be.
    #[must_use]
    pub fn check(
        &self,
        client: &[u8; 8],
        server: &[u8],
        address: IpAddr,
        now_s: u32,
    ) -> Option<[u8; LENGTH]> {
        let server: &[u8; LENGTH] = server.try_into().ok()?;
        let head: &[u8; 8] = server.first_chunk()?;
        if head[..4] != [1, 0, 0, 0] {
            return None;
        }
        let then = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        // Serial arithmetic (RFC 1982), as RFC 9018 asks.
        let age = now_s.wrapping_sub(then) as i32;
        if age > OLD as i32 || age < -(AHEAD as i32) {
            return None;
        }
        let right = self.0.iter().position(|secret| {
            let hash = hash(secret, client, head, address);
            // All bytes are looked at, whichever differ.
            let differing = hash
                .iter()
                .zip(&server[8..])
                .fold(0, |d, (a, b)| d | (a ^ b));
            differing == 0
        })?;
        match right == 0 && age < RENEWED as i32 {
            true => Some(*server),
            false => Some(self.make(client, address, now_s)),
        }
    }
}

/// Version, reserved bytes, time.
fn head(now_s: u32) -> [u8; 8] {
    let [a, b, c, d] = now_s.to_be_bytes();
    [1, 0, 0, 0, a, b, c, d]
}

fn hash(secret: &[u8; 16], client: &[u8; 8], head: &[u8; 8], address: IpAddr) -> [u8; 8] {
    let hash = match address {
        IpAddr::V4(address) => sip(secret, &[client, head, &address.octets()]),
        IpAddr::V6(address) => sip(secret, &[client, head, &address.octets()]),
    };
    hash.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
    }

    /// RFC 9018, appendix A.1 to A.4.
    #[test]
    fn cookies_are_those_of_rfc_9018() {
        let secret = hex("e5e973e5a6b2a43f48e7dc849e37bfcf");
        let secrets = Secrets::new(secret, &[]);
        let client = hex("2464c4abcf10c957");
        let address = "198.51.100.100".parse().expect("an address");
        let made = secrets.make(&client, address, 1_559_731_985);
        assert_eq!(made, hex("010000005cf79f111f8130c3eee29480"));
        let renewed = secrets.check(&client, &made, address, 1_559_734_385);
        assert_eq!(renewed, Some(hex("010000005cf7a871d4a564a1442aca77")));
        // A.3: a reserved field that is not zero is not one of ours.
        let reserved: [u8; 16] = hex("01abcdef5cf78f71a314227b6679ebf5");
        let client = hex("fc93fc62807ddb86");
        let address = "203.0.113.203".parse().expect("an address");
        assert_eq!(
            secrets.check(&client, &reserved, address, 1_559_727_985),
            None
        );
        // A.4: IPv6, and a secret that is on its way out.
        let old = hex("dd3bdf9344b678b185a6f5cb60fca715");
        let new = hex("445536bcd2513298075a5d379663c962");
        let secrets = Secrets::new(new, &[old]);
        let client = hex("22681ab97d52c298");
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8"
            .parse()
            .expect("an address");
        let old_cookie: [u8; 16] = hex("010000005cf7c57926556bd0934c72f8");
        let renewed = secrets.check(&client, &old_cookie, address, 1_559_741_961);
        assert_eq!(renewed, Some(hex("010000005cf7c609a6bb79d16625507a")));
    }

    #[test]
    fn a_cookie_proves_one_client_for_an_hour() {
        let secrets = Secrets::new([7; 16], &[]);
        let (client, address) = ([1; 8], IpAddr::from([192, 0, 2, 1]));
        let cookie = secrets.make(&client, address, 10_000);
        let check = |client, cookie: &[u8], address, now| {
            secrets.check(&client, cookie, address, now).is_some()
        };
        assert!(check(client, &cookie, address, 10_000));
        assert_eq!(
            secrets.check(&client, &cookie, address, 11_000),
            Some(cookie)
        );
        assert!(check(client, &cookie, address, 13_600));
        assert!(!check(client, &cookie, address, 13_601));
        assert!(check(client, &cookie, address, 9_700));
        assert!(!check(client, &cookie, address, 9_699));
        assert!(!check([2; 8], &cookie, address, 10_000));
        assert!(!check(
            client,
            &cookie,
            IpAddr::from([192, 0, 2, 2]),
            10_000
        ));
        assert!(!check(client, &cookie[..8], address, 10_000));
        for at in 0..16 {
            let mut other = cookie;
            other[at] ^= 1;
            assert!(!check(client, &other, address, 10_000), "byte {at}");
        }
    }
}
