//! Pairs of a message's metadata, a line `key: value` each, B3's among them. Whatever is extracted
//! can be injected as pairs, in both wrappings, and extracts the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_identity::carrier::{self, b3, metadata};
use selvedge_identity::{Interaction, Shape};

const OWN: [u8; 8] = [9; 8];

fuzz_target!(|bytes: &[u8]| {
    let pairs = bytes.split(|&b| b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        let key = std::str::from_utf8(&line[..colon]).ok()?;
        Some((key, &line[colon + 1..]))
    });
    let shape = Shape::default();
    let stranger = metadata::extract(pairs.clone(), false, shape);
    assert_eq!(stranger.identifier, None);
    let extracted = metadata::extract(pairs, true, shape);
    let Some(inbound) = extracted.identifier else {
        return;
    };
    let own = Interaction::from_random(OWN);
    let id = inbound.advance(own, shape);

    let out = carrier::inject(&id, own, extracted.flags, extracted.tracestate.as_deref());
    let mut sent = Vec::new();
    metadata::inject(&out, |key, value| sent.push((key, value.to_owned())));
    let again = read(&sent);
    assert_eq!(again.identifier.as_ref(), Some(&id));
    assert_eq!(again.interaction, Some(own));
    assert_eq!(again.tracestate, extracted.tracestate);
    assert!(!again.disagree && !again.b3_fault && again.native_fault.is_none());

    let form = extracted
        .b3
        .unwrap_or_else(|| b3::Form::of_flags(extracted.flags));
    let wrapped = b3::inject(&id, own, extracted.interaction, form);
    let mut sent = Vec::new();
    metadata::inject_b3(&wrapped, |key, value| sent.push((key, value.to_owned())));
    let multi = read(&sent);
    let single = read(&[(b3::B3, wrapped.single.to_string())]);
    for again in [multi, single] {
        let again_id = again.identifier.expect("what we wrote reads back");
        assert_eq!(again_id.origin(), id.origin());
        assert_eq!(again.interaction, Some(own));
        assert!(!again.b3_fault);
        assert_eq!(again.b3.map(|form| form.sampling), Some(form.sampling));
    }
});

fn read(pairs: &[(&'static str, String)]) -> carrier::Extracted {
    let pairs = pairs.iter().map(|(key, value)| (*key, value.as_bytes()));
    metadata::extract(pairs, true, Shape::default())
}
