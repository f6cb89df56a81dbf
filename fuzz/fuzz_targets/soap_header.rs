//! SOAP envelopes: whatever the scanner can write to, it reads back, and writing again changes
//! nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_identity::carrier::soap;
use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

fuzz_target!(|envelope: &[u8]| {
    let own = Interaction::from_random([9; 8]);
    let id = RequestIdentifier::root(Origin::new(9, [3; 10]), own, Shape::default());
    let found = soap::read(envelope);
    let Ok(written) = soap::write(envelope, &id) else {
        return;
    };
    assert!(found.is_ok());
    let text = id.encode();
    assert_eq!(soap::read(&written), Ok(Some(text.as_bytes())));
    assert_eq!(soap::write(&written, &id).as_deref(), Ok(&written[..]));
});
