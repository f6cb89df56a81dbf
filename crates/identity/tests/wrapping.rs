//! Identifiers wrapped in B3 headers, and carried in the metadata of messages and gRPC calls.

use proptest::prelude::*;
use selvedge_identity::carrier::{self, Extracted, Headers, b3, metadata};
use selvedge_identity::{Interaction, Origin, RequestIdentifier, Shape, StackId};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";
const PARENT: &str = "05e3ac9a4f6e3b90";

fn single(value: &str) -> Extracted {
    let wrapped = b3::Headers {
        single: Some(value.as_bytes()),
        ..b3::Headers::default()
    };
    carrier::extract_wrapped(Headers::default(), wrapped, true, Shape::default())
}

fn multi(pairs: &[(&str, &str)]) -> Extracted {
    let pairs = pairs.iter().map(|(key, value)| (*key, value.as_bytes()));
    metadata::extract(pairs, true, Shape::default())
}

fn form(sampling: b3::Sampling) -> b3::Form {
    b3::Form {
        sampling,
        short_origin: false,
    }
}

fn id(text: &str) -> Interaction {
    text.parse().unwrap()
}

/// An identifier with a whole interaction, one call below the root.
fn called() -> (RequestIdentifier, Interaction) {
    let shape = Shape::default();
    let root = RequestIdentifier::root(Origin::new(9, [3; 10]), id(PARENT), shape);
    (root.advance(id(SPAN), shape), id(SPAN))
}

#[test]
fn a_b3_header_gives_a_stack_of_the_span_and_of_the_one_before_it() {
    let with_parent = single(&format!("{TRACE}-{SPAN}-1-{PARENT}"));
    let identifier = with_parent.identifier.unwrap();
    assert_eq!(identifier.origin().to_string(), TRACE);
    assert_eq!(identifier.depth(), 1);
    let expected = [PARENT, SPAN].map(|text| StackId::of(id(text), 4));
    assert_eq!(identifier.stack(), expected);
    assert_eq!(with_parent.interaction, Some(id(SPAN)));
    assert_eq!(with_parent.b3, Some(form(b3::Sampling::Accepted)));
    assert_eq!(with_parent.flags, 1);

    let alone = single(&format!("{TRACE}-{SPAN}-{PARENT}"));
    assert_eq!(alone.b3, Some(form(b3::Sampling::Deferred)));
    assert_eq!(alone.identifier, Some(identifier));

    for own_parent in [
        format!("{TRACE}-{SPAN}"),
        format!("{TRACE}-{SPAN}-d-{SPAN}"),
    ] {
        let identifier = single(&own_parent).identifier.unwrap();
        assert_eq!(identifier.stack(), [StackId::of(id(SPAN), 4)]);
    }
}

#[test]
fn several_b3_headers_say_the_same_as_one() {
    let ids = [("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)];
    for (more, sampling) in [
        (&[][..], ""),
        (&[("X-B3-Sampled", "1")], "-1"),
        (&[("x-b3-sampled", "false")], "-0"),
        (&[("x-b3-flags", "1"), ("x-b3-sampled", "0")], "-d"),
        (&[("x-b3-flags", "0"), ("x-b3-sampled", "0")], "-0"),
    ] {
        let one = single(&format!("{TRACE}-{SPAN}{sampling}"));
        assert_eq!(multi(&[&ids[..], more].concat()), one, "{more:?}");
    }
}

#[test]
fn a_decision_without_ids_goes_with_a_new_root() {
    for (value, sampling, flags) in [
        ("0", b3::Sampling::Denied, 2),
        ("1", b3::Sampling::Accepted, 3),
        ("d", b3::Sampling::Debug, 3),
    ] {
        let expected = Extracted {
            flags,
            b3: Some(form(sampling)),
            ..Extracted::default()
        };
        assert_eq!(single(value), expected);
    }
}

#[test]
fn a_trace_id_of_64_bits_is_written_back_with_64() {
    let extracted = single(&format!("{}-{SPAN}-0", &TRACE[16..]));
    let (inbound, form) = (extracted.identifier.unwrap(), extracted.b3.unwrap());
    assert!(form.short_origin);
    let own = id("00000000000000a1");
    let next = inbound.advance(own, Shape::default());
    let out = b3::inject(&next, own, extracted.interaction, form);
    assert_eq!(&*out.trace_id, &TRACE[16..]);
    let whole = format!("{}-00000000000000a1-0-{SPAN}", &TRACE[16..]);
    assert_eq!(&*out.single, &whole[..]);

    let (wide, own) = called();
    let out = b3::inject(&wide, own, None, form);
    assert_eq!(&*out.trace_id, &*wide.origin().text());
}

#[test]
fn malformed_b3_headers_are_told_and_dropped() {
    let upper = TRACE.to_uppercase();
    for value in [
        "".to_owned(),
        "2".to_owned(),
        TRACE.to_owned(),
        format!("{TRACE}-"),
        format!("{TRACE}-{SPAN}-"),
        format!("{TRACE}-{SPAN}-1-"),
        format!("{TRACE}-{SPAN}-x"),
        format!("{TRACE}-{SPAN}-1-{PARENT}-1"),
        format!("{TRACE}-{SPAN}-{PARENT}-1"),
        format!("{upper}-{SPAN}-1"),
        format!("{}-{SPAN}", &TRACE[1..]),
        format!("0{TRACE}-{SPAN}"),
        format!("{}-{SPAN}", "0".repeat(32)),
        format!("{}-{SPAN}", "0".repeat(16)),
        format!("{TRACE}-{}", "0".repeat(16)),
        format!("{TRACE}-{SPAN}-1-{}", "0".repeat(16)),
    ] {
        let expected = Extracted {
            flags: 3,
            b3_fault: true,
            ..Extracted::default()
        };
        assert_eq!(single(&value), expected, "{value}");
    }
    for pairs in [
        &[(b3::TRACE_ID, TRACE)][..],
        &[(b3::SPAN_ID, SPAN)],
        &[(b3::PARENT_SPAN_ID, PARENT), (b3::SAMPLED, "1")],
        &[
            (b3::TRACE_ID, TRACE),
            (b3::SPAN_ID, SPAN),
            (b3::SAMPLED, "yes"),
        ],
    ] {
        let extracted = multi(pairs);
        assert!(extracted.b3_fault && extracted.identifier.is_none());
    }
}

#[test]
fn whole_headers_stand_in_for_a_malformed_single_one() {
    let extracted = multi(&[
        (b3::B3, "nonsense"),
        (b3::TRACE_ID, TRACE),
        (b3::SPAN_ID, SPAN),
    ]);
    assert!(extracted.b3_fault);
    assert_eq!(extracted.interaction, Some(id(SPAN)));
}

#[test]
fn b3_gives_way_to_a_traceparent_and_completes_a_native_identifier() {
    let (identifier, own) = called();
    let out = carrier::inject(&identifier, own, 1, None);
    let other = format!("{TRACE}-{PARENT}-0");
    let traced = multi(&[("traceparent", &out.traceparent), ("b3", &other)]);
    assert_eq!(traced.interaction, Some(own));
    assert_eq!((traced.flags, traced.b3), (1, None));

    let same = b3::inject(&identifier, own, None, b3::Form::of_flags(1));
    let native = multi(&[("selvedge-request", &out.request), ("b3", &same.single)]);
    assert_eq!(native.identifier, Some(identifier.clone()));
    assert_eq!((native.interaction, native.disagree), (Some(own), false));

    let native = multi(&[("selvedge-request", &out.request), ("b3", &other)]);
    assert_eq!(native.identifier, Some(identifier));
    assert!(native.disagree && native.link.is_some());
}

#[test]
fn from_a_stranger_b3_becomes_a_link() {
    let value = format!("{TRACE}-{SPAN}-0");
    let extracted = metadata::extract([("b3", value.as_bytes())], false, Shape::default());
    assert_eq!((extracted.identifier, extracted.b3), (None, None));
    assert_eq!(extracted.link.unwrap().interaction, id(SPAN));
}

#[test]
fn metadata_carries_what_headers_do() {
    let (identifier, own) = called();
    let out = carrier::inject(&identifier, own, 3, Some("rojo=1,congo=2"));
    let mut pairs = vec![("content-type".to_owned(), b"text/plain".to_vec())];
    metadata::inject(&out, |key, value| {
        assert_eq!(key, key.to_lowercase());
        assert!(value.bytes().all(|b| matches!(b, b' '..=b'~')));
        pairs.push((key.to_owned(), value.as_bytes().to_vec()));
    });
    let headers = Headers {
        request: Some(out.request.as_bytes()),
        traceparent: Some(out.traceparent.as_bytes()),
        tracestate: Some(out.tracestate.as_bytes()),
    };
    let expected = carrier::extract(headers, true, Shape::default());
    let read = |pairs: &[(String, Vec<u8>)]| {
        let pairs = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
        metadata::extract(pairs, true, Shape::default())
    };
    assert_eq!(read(&pairs), expected);
    assert_eq!(expected.tracestate.as_deref(), Some("rojo=1,congo=2"));

    // A message passed on by one who adds pairs without taking the old ones out.
    let (old, before) = (identifier.advance(id(PARENT), Shape::default()), id(PARENT));
    let old = carrier::inject(&old, before, 3, None);
    pairs.insert(
        0,
        ("Selvedge-Request".into(), old.request.as_bytes().into()),
    );
    pairs.insert(1, ("Traceparent".into(), old.traceparent.as_bytes().into()));
    assert_eq!(read(&pairs), expected);
}

#[test]
fn tracestate_in_several_pairs_is_one_list_and_bounded() {
    let (identifier, own) = called();
    let out = carrier::inject(&identifier, own, 3, None);
    let mut pairs = vec![
        ("traceparent", &*out.traceparent),
        ("tracestate", &*out.tracestate),
        ("tracestate", "rojo=1"),
    ];
    let extracted = multi(&pairs);
    assert_eq!(extracted.identifier.unwrap().depth(), 1);
    assert_eq!(extracted.tracestate.as_deref(), Some("rojo=1"));

    let long = ",".repeat(metadata::TRACESTATE_MAX);
    pairs.push(("tracestate", &long));
    let extracted = multi(&pairs);
    assert!(extracted.tracestate_fault && extracted.tracestate.is_none());
    assert_eq!(extracted.interaction, Some(own));
}

proptest! {
    #[test]
    fn whatever_b3_says_is_written_back(
        origin: [u8; 16], short: bool, span: [u8; 8], before: Option<[u8; 8]>, decision in 0..4_u8,
    ) {
        let mut origin = origin;
        if short {
            origin[..8].fill(0);
        }
        let origin = Origin::from_random(origin);
        let span = Interaction::from_random(span);
        let before = before.map(Interaction::from_random).filter(|before| *before != span);
        let sampling = [
            b3::Sampling::Deferred,
            b3::Sampling::Denied,
            b3::Sampling::Accepted,
            b3::Sampling::Debug,
        ][usize::from(decision)];
        let form = b3::Form { sampling, short_origin: short };
        let identifier = RequestIdentifier::root(origin, span, Shape::default());
        let out = b3::inject(&identifier, span, before, form);
        let mut pairs = Vec::new();
        metadata::inject_b3(&out, |key, value| pairs.push((key, value.to_owned())));
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, &value[..])).collect();
        let several = multi(&pairs);
        prop_assert_eq!(several.b3, Some(form));
        prop_assert_eq!(several.interaction, Some(span));
        let read = several.identifier.as_ref().unwrap();
        prop_assert_eq!(read.origin(), origin);
        prop_assert_eq!(read.stack().len(), 1 + usize::from(before.is_some()));
        if sampling != b3::Sampling::Deferred {
            prop_assert_eq!(single(&out.single), several);
        }
    }

    #[test]
    fn any_b3_headers_are_read_without_panic(value in "[0-9a-fd-]{0,70}", more in "[ -~]{0,40}") {
        let _ = single(&value);
        let _ = multi(&[(b3::TRACE_ID, &value), (b3::SPAN_ID, &more), (b3::SAMPLED, &value)]);
    }
}
