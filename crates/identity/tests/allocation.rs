//! What every hop of a fleet does must not allocate: read an identifier, advance it, write it.

use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

#[test]
fn a_hop_does_not_allocate() {
    let shape = Shape::default();
    let interaction = |n: u8| Interaction::from_random([n; 8]);
    let mut id = RequestIdentifier::root(Origin::new(1, [7; 10]), interaction(1), shape);
    for n in 2..=6 {
        id = id.advance(interaction(n), shape);
    }
    let header = id.encode();
    // The first CRC of a process asks what the machine can do.
    RequestIdentifier::parse(header.as_bytes()).unwrap();

    let mut onward = None;
    let allocations = allocation_counter::measure(|| {
        let inbound = RequestIdentifier::parse(header.as_bytes()).unwrap();
        onward = Some(inbound.advance(interaction(7), shape).encode());
    });
    assert_eq!(allocations.count_total, 0);
    assert_ne!(onward.unwrap(), header);
}
