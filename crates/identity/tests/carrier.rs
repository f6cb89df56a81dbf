//! Carrying an identifier in headers: the native one, W3C Trace Context, and both at once.

use proptest::prelude::*;
use selvedge_identity::carrier::{self, Extracted, Headers, Injected};
use selvedge_identity::{
    DEPTH_MAX, IdentifierError, Interaction, Origin, RequestIdentifier, Shape, StackId,
    TraceParent, TraceState, TraceStateError,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn interaction(n: u8) -> Interaction {
    Interaction::from_random([n, 1, 2, 3, 4, 5, 6, 7])
}

/// The identifier and the whole interaction after `calls` calls from a root.
fn chain(calls: u8, shape: Shape) -> (RequestIdentifier, Interaction) {
    let mut id = RequestIdentifier::root(Origin::new(9, [3; 10]), interaction(100), shape);
    for n in 0..calls {
        id = id.advance(interaction(101 + n), shape);
    }
    (id, interaction(100 + calls))
}

fn headers(injected: &Injected) -> Headers<'_> {
    Headers {
        request: Some(injected.request.as_bytes()),
        traceparent: Some(injected.traceparent.as_bytes()),
        tracestate: Some(injected.tracestate.as_bytes()),
    }
}

fn extract(headers: Headers<'_>) -> Extracted {
    carrier::extract(headers, true, Shape::default())
}

fn with_state<'a>(tracestate: &'a str) -> Headers<'a> {
    Headers {
        request: None,
        traceparent: Some(PARENT.as_bytes()),
        tracestate: Some(tracestate.as_bytes()),
    }
}

#[test]
fn the_member_with_its_header_is_at_most_sixty_bytes_at_the_defaults() {
    let shape = Shape::default();
    for (calls, depth_increment) in [(0, 1), (5, 1), (40, 1), (40, u32::MAX)] {
        let (id, own) = chain(
            calls,
            Shape {
                depth_increment,
                ..shape
            },
        );
        let out = carrier::inject(&id, own, 3, None);
        let line = "tracestate: ".len() + out.tracestate.len();
        assert!(line <= 60, "{line}: {}", out.tracestate);
    }
    let (id, own) = chain(
        40,
        Shape {
            k: 16,
            width: 8,
            depth_increment: DEPTH_MAX,
        },
    );
    let out = carrier::inject(&id, own, 3, None);
    let value = out.tracestate.strip_prefix("sv=").unwrap();
    assert!(value.len() <= 256 && !value.contains('='));
}

#[test]
fn both_carriers_say_the_same_and_the_whole_interaction_is_known() {
    let (id, own) = chain(7, Shape::default());
    let out = carrier::inject(&id, own, 1, Some("foo=1, sv=old, bar=2"));
    assert_eq!(out.tracestate.split_once(',').unwrap().1, "foo=1,bar=2");
    let expected = Extracted {
        identifier: Some(id),
        interaction: Some(own),
        flags: 1,
        tracestate: Some("foo=1,bar=2".into()),
        ..Extracted::default()
    };
    assert_eq!(extract(headers(&out)), expected);
    let plain = Headers {
        request: None,
        ..headers(&out)
    };
    assert_eq!(extract(plain), expected);
}

#[test]
fn white_space_around_a_header_value_does_not_matter() {
    let (id, own) = chain(7, Shape::default());
    let out = carrier::inject(&id, own, 1, None);
    let [request, traceparent, tracestate] =
        [&out.request[..], &out.traceparent, &out.tracestate].map(|value| format!(" \t{value} \t"));
    let spaced = Headers {
        request: Some(request.as_bytes()),
        traceparent: Some(traceparent.as_bytes()),
        tracestate: Some(tracestate.as_bytes()),
    };
    assert_eq!(extract(spaced), extract(headers(&out)));
    assert_eq!(
        extract(Headers {
            request: None,
            ..spaced
        }),
        extract(headers(&out))
    );
}

#[test]
fn the_native_identifier_alone_tells_as_much_of_the_interaction_as_it_holds() {
    for (width, known) in [(4, false), (8, true)] {
        let (id, own) = chain(
            2,
            Shape {
                width,
                ..Shape::default()
            },
        );
        let text = id.encode();
        let extracted = extract(Headers {
            request: Some(text.as_bytes()),
            ..Headers::default()
        });
        assert_eq!(extracted.identifier, Some(id));
        assert_eq!(extracted.interaction, known.then_some(own));
        assert!(!extracted.disagree);
    }
}

#[test]
fn where_the_two_disagree_the_native_one_wins_and_the_other_becomes_a_link() {
    let (id, own) = chain(3, Shape::default());
    let out = carrier::inject(&id, own, 1, Some("foo=1"));
    let other_hop = TraceParent {
        origin: id.origin(),
        interaction: interaction(9),
        flags: 0,
    };
    let other_tree = TraceParent::parse(PARENT.as_bytes()).unwrap();
    for (parent, flags, tracestate) in [
        (other_hop, 0, Some("foo=1".to_string())),
        (other_tree, 3, None),
    ] {
        let text = parent.text();
        let extracted = extract(Headers {
            traceparent: Some(text.as_bytes()),
            ..headers(&out)
        });
        let expected = Extracted {
            identifier: Some(id.clone()),
            flags,
            link: Some(parent),
            tracestate,
            disagree: true,
            ..Extracted::default()
        };
        assert_eq!(extracted, expected);
    }
}

#[test]
fn a_damaged_native_identifier_is_told_and_trace_context_continued() {
    let (id, own) = chain(3, Shape::default());
    let out = carrier::inject(&id, own, 1, None);
    let damaged = out.request.replace(".6.", ".7.");
    let sent = Headers {
        request: Some(damaged.as_bytes()),
        ..headers(&out)
    };
    let extracted = extract(sent);
    assert_eq!(extracted.native_fault, Some(IdentifierError::Damaged));
    assert_eq!(extracted.identifier, Some(id.clone()));

    let repaired = carrier::extract_correcting(
        sent,
        carrier::b3::Headers::default(),
        true,
        Shape::default(),
    );
    assert_eq!(repaired.identifier, Some(id));
    assert_eq!((repaired.corrected, repaired.native_fault), (true, None));

    let alone = extract(Headers {
        request: Some(damaged.as_bytes()),
        ..Headers::default()
    });
    assert_eq!(alone.identifier, None);
    assert_eq!(alone.native_fault, Some(IdentifierError::Damaged));
}

#[test]
fn a_hop_that_only_knows_trace_context_is_seen_and_bridged() {
    let shape = Shape::default();
    let (id, own) = chain(3, shape);
    let out = carrier::inject(&id, own, 1, None);
    let hop = interaction(50);
    let parent = TraceParent {
        origin: id.origin(),
        interaction: hop,
        flags: 1,
    }
    .text();
    let extracted = extract(Headers {
        request: None,
        traceparent: Some(parent.as_bytes()),
        tracestate: Some(out.tracestate.as_bytes()),
    });
    assert!(extracted.ignored_hop);
    assert_eq!(extracted.identifier, Some(id.advance(hop, shape)));
    assert_eq!(extracted.interaction, Some(hop));
    assert_eq!(extracted.sv_fault, None);
}

#[test]
fn a_traceparent_alone_is_one_below_a_root_that_nobody_named() {
    let extracted = extract(with_state("foo=1"));
    let parent = TraceParent::parse(PARENT.as_bytes()).unwrap();
    let id = extracted.identifier.unwrap();
    assert_eq!((id.origin(), id.depth()), (parent.origin, 1));
    assert_eq!(id.stack(), [StackId::of(parent.interaction, 4)]);
    assert_eq!(extracted.interaction, Some(parent.interaction));
    assert!(!extracted.ignored_hop);
}

#[test]
fn a_damaged_sv_member_is_told_and_the_traceparent_continued_alone() {
    let (id, own) = chain(3, Shape::default());
    let out = carrier::inject(&id, own, 1, None);
    let send = |tracestate: &str, traceparent: &str| {
        extract(Headers {
            request: None,
            traceparent: Some(traceparent.as_bytes()),
            tracestate: Some(tracestate.as_bytes()),
        })
    };
    let value = &out.tracestate[3..];
    for (state, fault) in [
        ("sv=hello".to_string(), TraceStateError::Malformed),
        ("sv=1".into(), TraceStateError::Malformed),
        (format!("sv=2{}", &value[1..]), TraceStateError::Malformed),
        (format!("sv=15{}", &value[2..]), TraceStateError::Damaged),
        (
            format!("sv={}", "1".repeat(256)),
            TraceStateError::Malformed,
        ),
    ] {
        let extracted = send(&state, &out.traceparent);
        assert_eq!(extracted.sv_fault, Some(fault), "{state}");
        assert_eq!(extracted.identifier.unwrap().stack().len(), 1);
    }
    // Grafted onto another tree: the check covers the origin.
    let extracted = send(&out.tracestate, PARENT);
    assert_eq!(extracted.sv_fault, Some(TraceStateError::Damaged));
}

#[test]
fn what_comes_from_a_stranger_becomes_a_link_on_a_new_root() {
    let (id, own) = chain(3, Shape::default());
    let out = carrier::inject(&id, own, 0, Some("foo=1"));
    let extracted = carrier::extract(headers(&out), false, Shape::default());
    let expected = Extracted {
        flags: 3,
        link: Some(TraceParent {
            origin: id.origin(),
            interaction: own,
            flags: 0,
        }),
        ..Extracted::default()
    };
    assert_eq!(extracted, expected);
}

#[test]
fn no_headers_make_a_new_root() {
    let expected = Extracted {
        flags: 3,
        ..Extracted::default()
    };
    assert_eq!(extract(Headers::default()), expected);
}

proptest! {
    #[test]
    fn any_headers_are_read_without_panic(
        request in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)),
        traceparent in prop::option::of("[0-9a-f-]{0,60}"),
        tracestate in prop::option::of("(sv|[a-z@]{1,4})[=,\\t]{0,2}[ -~]{0,60}"),
        continued: bool,
    ) {
        let sent = Headers {
            request: request.as_deref(),
            traceparent: traceparent.as_ref().map(String::as_bytes),
            tracestate: tracestate.as_ref().map(String::as_bytes),
        };
        let _ = carrier::extract(sent, continued, Shape::default());
        let with_parent = Headers { traceparent: Some(PARENT.as_bytes()), ..sent };
        let extracted = carrier::extract(with_parent, continued, Shape::default());
        if let Some(members) = extracted.tracestate {
            prop_assert_eq!(TraceState::parse(members.as_bytes()).unwrap().passed_on(), Some(members));
        }
    }

    #[test]
    fn any_one_damaged_byte_of_an_sv_member_is_refused(calls in 0..20_u8, damage in 1..=255_u8) {
        let (id, own) = chain(calls, Shape::default());
        let out = carrier::inject(&id, own, 1, None);
        let mut state = out.tracestate.as_bytes().to_vec();
        for at in 3..state.len() {
            state[at] ^= damage;
            let extracted = extract(Headers {
                request: None,
                traceparent: Some(out.traceparent.as_bytes()),
                tracestate: Some(&state),
            });
            let alone = extracted.identifier.unwrap();
            prop_assert!(extracted.sv_fault.is_some() || extracted.tracestate_fault
                // A comma or white space cuts the member, an equals sign breaks the list.
                || alone.stack().len() == 1);
            prop_assert_eq!(alone.depth(), 1);
            state[at] ^= damage;
        }
    }

    /// Our member alone is read first as such, and the grammar of lists is only looked at where
    /// that fails. Behind an empty member it is not alone: then it is the other way round.
    #[test]
    fn a_member_alone_says_what_it_says_in_a_list(
        way in prop::collection::vec((any::<[u8; 8]>(), 1..=16_u8, 1..=8_u8), 1..20),
        depth_increment in prop::sample::select(vec![1, 40, 1 << 20]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut: prop::sample::Index,
        cuts: bool,
        behind in prop::option::of(prop_oneof![
            "[ \\t,=]{1,4}", "[A-Za-z0-9_-]{1,200}", ",foo=1", "=", " ,bar@x=a b", "[ -~]{1,300}",
        ]),
        bridged: bool,
    ) {
        let (first, k, width) = way[0];
        let shape = |k, width| Shape { k, width, depth_increment };
        let mut own = Interaction::from_random(first);
        let mut id = RequestIdentifier::root(Origin::new(9, [3; 10]), own, shape(k, width));
        for (next, k, width) in &way[1..] {
            own = Interaction::from_random(*next);
            id = id.advance(own, shape(*k, *width));
        }
        let sent = if bridged { interaction(77) } else { own };
        let parent = TraceParent { origin: id.origin(), interaction: sent, flags: 1 }.text();
        let out = carrier::inject(&id, own, 1, None);
        let mut state = out.tracestate.as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(state.len());
            state[at] = byte;
        }
        if cuts {
            state.truncate(cut.index(state.len()));
        }
        state.extend(behind.iter().flat_map(|text| text.bytes()));
        let in_list = [b",", &state[..]].concat();
        let read = |tracestate: &[u8]| extract(Headers {
            request: None,
            traceparent: Some(parent.as_bytes()),
            tracestate: Some(tracestate),
        });
        prop_assert_eq!(read(&state), read(&in_list));
    }

    /// Services of any shapes, each with our propagator, only Trace Context between them: the
    /// stack is the native one with all ids as narrow as the narrowest.
    #[test]
    fn trace_context_alone_carries_the_stack_through_a_mixed_fleet(
        way in prop::collection::vec((any::<[u8; 8]>(), 1..=16_u8, 1..=8_u8), 1..20),
    ) {
        let shape = |k, width| Shape { k, width, depth_increment: 1 };
        let (first, k, width) = way[0];
        let mut own = Interaction::from_random(first);
        let mut id = RequestIdentifier::root(Origin::new(9, [3; 10]), own, shape(k, width));
        for (next, k, width) in &way[1..] {
            let out = carrier::inject(&id, own, 1, None);
            let plain = Headers { request: None, ..headers(&out) };
            let extracted = carrier::extract(plain, true, shape(*k, *width));
            prop_assert_eq!(extracted.interaction, Some(own));
            prop_assert!(!extracted.ignored_hop);
            let inbound = extracted.identifier.unwrap();
            prop_assert_eq!(inbound.depth(), id.depth());
            prop_assert_eq!(inbound.stack().len(), id.stack().len());
            let narrowest = id.stack().iter().map(StackId::width).min().unwrap();
            for (got, sent) in inbound.stack().iter().zip(id.stack()) {
                prop_assert_eq!(*got, sent.cut(narrowest));
            }
            own = Interaction::from_random(*next);
            id = inbound.advance(own, shape(*k, *width));
        }
    }
}
