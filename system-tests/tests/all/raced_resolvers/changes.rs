//! A site dies, comes back, and its path slows: resolvers follow within the time that their answers
//! hold for (C6).

use std::time::{Duration, Instant};

use selvedge_lab::Shape;

use super::wan::{ROOMY, Terms, Wan, ask_with_ttl, led_to};
use super::{ahead, possible};

/// Whose resolvers ask; `NEAREST` is nearest to them.
const CLIENT: usize = 0;
const NEAREST: usize = 0;

const TERMS: Terms = Terms {
    // Knot Resolver keeps what holds for less as long.
    ttl_s: 5,
    ..ROOMY
};

/// Resolvers tell whole seconds, of what is left and of what was given.
const ROUNDING: Duration = Duration::from_secs(2);

impl Wan {
    /// Asks until every resolver of the client leads to the nearest site, or away from it. An
    /// answer of the other kind may be one that still holds, and is never a new one: it ends when
    /// the first of them did.
    fn follow(&self, what: &str, to_nearest: bool) {
        let resolvers = self.resolvers.iter().filter(|(at, _)| *at == CLIENT);
        let mut behind: Vec<_> = resolvers.map(|(_, r)| (r, None)).collect();
        loop {
            let mut least = u32::MAX;
            behind.retain_mut(|(resolver, ends)| {
                let name = format!("{:?}changes", resolver.kind);
                let before = Instant::now();
                let asked = ask_with_ttl(&self.lab, CLIENT, resolver, &name);
                let (address, ttl) = asked.expect("an answer");
                if (address == led_to(NEAREST)) == to_nearest {
                    return false;
                }
                let holds = Duration::from_secs(ttl.into());
                let ends = ends.get_or_insert_with(|| Instant::now() + holds + ROUNDING);
                assert!(
                    before + holds <= *ends,
                    "{what}: {:?} was led to {address} anew",
                    resolver.kind
                );
                least = least.min(ttl);
                true
            });
            if behind.is_empty() {
                return;
            }
            // Nobody asks again before its answer has run out.
            std::thread::sleep(Duration::from_millis(200 + 1_000 * u64::from(least)));
        }
    }
}

#[test]
fn resolvers_follow_a_site_that_dies_comes_back_and_slows_within_one_ttl() {
    if possible() {
        ahead("raced_resolvers::changes::in_a_roomy_network");
    }
}

#[test]
#[ignore = "run by the test before it, ahead of whatever else the machine does"]
fn in_a_roomy_network() {
    let mut wan = Wan::start(&TERMS);
    // Before the first proof of its address a resolver is led by chance, and for a shorter time.
    for (client, resolver) in &wan.resolvers {
        if *client == CLIENT {
            let name = format!("{:?}first", resolver.kind);
            let asked = ask_with_ttl(&wan.lab, CLIENT, resolver, &name);
            assert!(asked.is_some(), "{:?} has no answer", resolver.kind);
        }
    }
    wan.follow("at first", true);

    wan.end(NEAREST);
    wan.follow("a site died", false);

    wan.begin(NEAREST);
    wan.wait_for_sites();
    wan.follow("it came back", true);

    let slow = Shape::delay(Duration::from_millis(150));
    wan.lab.shape(
        &format!("site-{NEAREST}"),
        &format!("client-{CLIENT}"),
        slow,
    );
    wan.follow("its path is slow", false);
    assert_eq!(wan.count("malformed"), 0);
}
