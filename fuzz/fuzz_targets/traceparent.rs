//! Trace Context and the native header together: the input is three header values, a line each.
//! Whatever is extracted can be injected, and extracts the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_identity::carrier::{self, Headers};
use selvedge_identity::{Interaction, Shape, TraceParent, TraceState};

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes
        .split(|&b| b == b'\n')
        .map(|line| (!line.is_empty()).then_some(line));
    let mut next = || lines.next().flatten();
    let headers = Headers {
        traceparent: next(),
        tracestate: next(),
        request: next(),
    };
    let shape = Shape::default();
    let stranger = carrier::extract(headers, false, shape);
    assert_eq!(stranger.identifier, None);
    let _ = carrier::extract_correcting(headers, carrier::b3::Headers::default(), true, shape);
    if let Some(value) = headers.tracestate
        && let Some(members) = TraceState::parse(value).and_then(|s| s.passed_on())
    {
        let again = TraceState::parse(members.as_bytes()).and_then(|s| s.passed_on());
        assert_eq!(again.as_deref(), Some(&members[..]));
    }

    let extracted = carrier::extract(headers, true, shape);
    // Behind an empty member ours is read as one of a list, and not before the list's grammar.
    let in_list = headers.tracestate.map(|state| [b",", state].concat());
    let listed = Headers {
        tracestate: in_list.as_deref(),
        ..headers
    };
    assert_eq!(carrier::extract(listed, true, shape), extracted);
    let Some(inbound) = extracted.identifier else {
        return;
    };
    let own = Interaction::from_random([9; 8]);
    let id = inbound.advance(own, shape);
    let out = carrier::inject(&id, own, extracted.flags, extracted.tracestate.as_deref());
    assert!(TraceParent::parse(out.traceparent.as_bytes()).is_ok());
    let sent = Headers {
        request: Some(out.request.as_bytes()),
        traceparent: Some(out.traceparent.as_bytes()),
        tracestate: Some(out.tracestate.as_bytes()),
    };
    let again = carrier::extract(sent, true, shape);
    assert_eq!(again.identifier.as_ref(), Some(&id));
    assert_eq!(again.interaction, Some(own));
    assert_eq!(again.tracestate, extracted.tracestate);
    assert!(!again.disagree && again.link.is_none() && again.native_fault.is_none());

    let plain = carrier::extract(
        Headers {
            request: None,
            ..sent
        },
        true,
        shape,
    );
    let plain_id = plain.identifier.expect("what we wrote reads back");
    assert_eq!(
        (plain_id.origin(), plain_id.depth()),
        (id.origin(), id.depth())
    );
    assert_eq!(plain_id.stack().len(), id.stack().len());
    assert!(!plain.ignored_hop && plain.sv_fault.is_none());
});
