//! What every hop of a fleet does must not allocate: read an identifier, advance it, write it, in
//! each form of header.

use selvedge_identity::carrier::{self, Headers, b3};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape};

fn interaction(n: u8) -> Interaction {
    Interaction::from_random([n; 8])
}

fn inbound(shape: Shape) -> RequestIdentifier {
    let mut id = RequestIdentifier::root(Origin::new(1, [7; 10]), interaction(1), shape);
    for n in 2..=6 {
        id = id.advance(interaction(n), shape);
    }
    id
}

#[test]
fn a_hop_does_not_allocate_in_any_form() {
    let shape = Shape::default();
    let id = inbound(shape);
    let header = id.encode();
    let context = carrier::inject_trace_context(&id, interaction(6), 3, None);
    let before = Some(interaction(5));
    let wrapped = b3::inject(&id, interaction(6), before, b3::Form::of_flags(1));
    let w3c = Headers {
        traceparent: Some(context.traceparent.as_bytes()),
        tracestate: Some(context.tracestate.as_bytes()),
        ..Headers::default()
    };
    let single = b3::Headers {
        single: Some(wrapped.single.as_bytes()),
        ..b3::Headers::default()
    };
    let several = b3::Headers {
        trace_id: Some(wrapped.trace_id.as_bytes()),
        span_id: Some(wrapped.span_id.as_bytes()),
        sampled: wrapped.sampled.map(str::as_bytes),
        ..b3::Headers::default()
    };
    // The first CRC of a process asks what the machine can do.
    RequestIdentifier::parse(header.as_bytes()).unwrap();

    let mut onward = None;
    let native = allocation_counter::measure(|| {
        let inbound = RequestIdentifier::parse(header.as_bytes()).unwrap();
        onward = Some(inbound.advance(interaction(7), shape).encode());
    });
    assert_eq!(native.count_total, 0);
    assert_ne!(onward.unwrap().as_str(), header.as_str());

    let mut onward = None;
    let trace_context = allocation_counter::measure(|| {
        let said = carrier::extract(w3c, true, shape);
        let next = said.identifier.unwrap().advance(interaction(7), shape);
        onward = Some(carrier::inject(&next, interaction(7), said.flags, None));
    });
    assert_eq!(trace_context.count_total, 0);
    assert_ne!(onward.unwrap().traceparent, context.traceparent);

    for b3 in [single, several] {
        let mut onward = None;
        let of_b3 = allocation_counter::measure(|| {
            let said = carrier::extract_wrapped(Headers::default(), b3, true, shape);
            let own = interaction(7);
            let next = said.identifier.unwrap().advance(own, shape);
            onward = Some(b3::inject(&next, own, said.interaction, said.b3.unwrap()));
        });
        assert_eq!(of_b3.count_total, 0);
        assert_ne!(onward.unwrap().span_id, wrapped.span_id);
    }
}

#[test]
fn what_is_read_and_written_in_place_is_what_is_read_and_written_anew() {
    let shape = Shape::default();
    let id = inbound(shape);
    let header = id.encode();
    // Places that hold something longer.
    let longest = Shape {
        k: 16,
        width: 8,
        ..shape
    };
    let mut other = inbound(longest);
    for n in 0..20 {
        other = other.advance(interaction(n), longest);
    }
    let (mut read, mut next, mut text) = (other.clone(), other.clone(), other.encode());
    read.parse_to(header.as_bytes()).unwrap();
    assert_eq!(read, id);
    read.advance_to(interaction(9), shape, &mut next);
    assert_eq!(next, id.advance(interaction(9), shape));
    next.encode_to(&mut text);
    assert_eq!(text, next.encode());

    let own = interaction(9);
    let mut context = carrier::inject_trace_context(&other, own, 1, Some("foo=1"));
    carrier::inject_trace_context_to(&mut context, &next, own, 3, None);
    assert_eq!(context, carrier::inject_trace_context(&next, own, 3, None));
    let headers = Headers {
        traceparent: Some(context.traceparent.as_bytes()),
        tracestate: Some(context.tracestate.as_bytes()),
        ..Headers::default()
    };
    let native = other.encode();
    let of_native = Headers {
        request: Some(native.as_bytes()),
        ..Headers::default()
    };
    let mut said = carrier::extract(of_native, true, shape);
    carrier::extract_to(&mut said, headers, b3::Headers::default(), true, shape);
    assert_eq!(said, carrier::extract(headers, true, shape));
}
