//! Identifiers as messages of their own: one is taken in the one form that it is written in, and
//! what names its request comes through whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_identity::carrier::reference::Reference;
use selvedge_identity::carrier::separate::{ABOUT_MAX, Separate, TEXT_MAX};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Separate::parse(bytes) {
        let text = message.encode();
        assert_eq!(bytes.trim_ascii_end(), text.as_bytes());
    }
    if let Ok(reference) = Reference::parse(bytes) {
        assert_eq!(reference.text().as_bytes(), bytes);
    }
    // No mutation finds the check: the same bytes as what names a request, and as an identifier.
    let own = Interaction::from_random([9; 8]);
    let id = RequestIdentifier::parse(bytes).unwrap_or_else(|_| {
        RequestIdentifier::root(Origin::new(9, [3; 10]), own, Shape::default())
    });
    let Some(message) = Separate::new(bytes, id) else {
        assert!(bytes.is_empty() || bytes.len() > ABOUT_MAX);
        return;
    };
    let text = message.encode();
    assert!(text.len() <= TEXT_MAX);
    assert_eq!(Separate::parse(text.as_bytes()), Ok(message));
});
