//! What the fuzz targets call: bytes of strangers in, every promise about what comes out checked.

use core::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use crate::authority::{Authority, AuthorityOptions, AuthorityParts};
use crate::build::{Decoded, QueryBuilder};
use crate::cookie::Secrets;
use crate::limit::LimitOptions;
use crate::master;
use crate::name::Name;
use crate::policy::Steering;
use crate::query::kind;
use crate::respond::{Now, Reply, Responder, Via};
use crate::zone::Zones;

const ZONE: &str = "\
$TTL 60
@ SOA ns admin 1 2 3 4 5
@ NS ns
ns A 192.0.2.1
alias CNAME ns
*.wild TXT x
sub NS ns.sub
ns.sub A 192.0.2.2
";

/// One message, over both ways.
///
/// # Panics
/// If an answer is malformed, too large, or not one to this message.
pub fn message(bytes: &[u8]) {
    static ZONES: OnceLock<Zones> = OnceLock::new();
    let zones = ZONES.get_or_init(|| zones(ZONE).expect("a zone"));
    for via in [Via::Udp(service()), Via::Tcp] {
        let mut out = Vec::new();
        if ask(zones.clone(), bytes, via, &mut out) == Reply::Silent {
            continue;
        }
        let answer = Decoded::read(&out).expect("well-formed");
        assert_eq!(answer.id.to_be_bytes(), bytes[..2]);
        assert!(answer.flags & 0x8000 != 0);
        let limit = match via {
            Via::Udp(_) => 1232,
            Via::Tcp => 0xffff,
        };
        assert!(out.len() <= limit);
    }
}

/// A master file of the zone `example.`.
///
/// # Panics
/// If it is served and answers malformed.
pub fn zone(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Some(zones) = zones(text) else { return };
    for name in ["example.", "ns.example.", "a.b.example.", "*.example."] {
        for kind in [kind::A, kind::NS, kind::TXT, kind::CNAME, 64000] {
            let query = QueryBuilder::new(name, kind).edns(1232).build();
            let mut out = Vec::new();
            assert_eq!(ask(zones.clone(), &query, Via::Tcp, &mut out), Reply::Send);
            Decoded::read(&out).expect("well-formed");
        }
    }
}

fn service() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 53))
}

fn zones(text: &str) -> Option<Zones> {
    let origin = Name::parse(b"example.", None).ok()?;
    let mut include = |file: &str| match file {
        "again" => Ok("$INCLUDE again\na A 192.0.2.3\n".to_owned()),
        _ => Err("there is no such file".to_owned()),
    };
    let master = master::read("zone", text, &origin, &mut include).ok()?;
    Zones::new(&[(origin, master)], &Steering::default()).ok()
}

fn ask(zones: Zones, message: &[u8], via: Via, out: &mut Vec<u8>) -> Reply {
    let options = AuthorityOptions::default();
    let authority = Authority::new(AuthorityParts {
        options: AuthorityOptions {
            limit: LimitOptions {
                per_s: 0,
                ..options.limit
            },
            ..options
        },
        zones,
        secrets: Secrets::new([1; 16], &[]),
        race_secret: [2; 16],
        seed: 3,
    });
    let from = SocketAddr::from(([192, 0, 2, 9], 4000));
    let now = Now {
        unix_s: 1_800_000_000,
        steady_ms: 10_000,
    };
    Responder::new(Arc::new(authority)).respond(message, from, via, now, 0, out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_zone_or_none(text in "([$@a-z*.]{0,6}[ \t](60 )?(IN )?(A|NS|TXT|SOA|CNAME|MX|\\(|\\)|\"|;)?[ 0-9a-z.:\"\\\\#]{0,20}\n){0,8}") {
            super::zone(text.as_bytes());
        }
    }
}
