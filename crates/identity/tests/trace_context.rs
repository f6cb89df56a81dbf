//! Carrying an identifier in headers: the native one, W3C Trace Context, and both at once. The
//! cases of the specification are those of its own test suite.

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

fn passed_on(tracestate: &str) -> Option<String> {
    extract(with_state(tracestate)).tracestate
}

#[test]
fn a_traceparent_of_version_00_must_be_exact() {
    let parse = |text: &str| TraceParent::parse(text.as_bytes());
    let parent = parse(PARENT).unwrap();
    assert_eq!(parent.to_string(), PARENT);
    assert_eq!(
        parent.origin.to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(parent.interaction.to_string(), "b7ad6b7169203331");
    assert_eq!(parent.flags, 1);
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319.-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-001",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ".0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_traceparent_of_a_later_version_is_read_as_far_as_known() {
    let base = &PARENT[2..];
    for (text, valid) in [
        (format!("cc{base}"), true),
        (format!("cc{base}-what-the-future-will-be-like"), true),
        (format!("cc{base}.what-the-future-will-be-like"), false),
        (format!("01{base}-"), true),
    ] {
        let parent = TraceParent::parse(text.as_bytes());
        assert_eq!(parent.is_ok(), valid, "{text}");
        if let Ok(parent) = parent {
            assert_eq!(parent.to_string(), PARENT, "we write version 00");
        }
    }
}

#[test]
fn flags_that_are_not_known_are_not_passed_on() {
    let text = format!("{}ff", &PARENT[..53]);
    assert_eq!(TraceParent::parse(text.as_bytes()).unwrap().flags, 3);
}

#[test]
fn a_tracestate_within_the_grammar_is_passed_on() {
    let long_key = "z".repeat(256);
    let tenant = format!("{}@{}", "t".repeat(241), "v".repeat(14));
    let all_value: String = (' '..='~').filter(|c| !",=".contains(*c)).collect();
    let all_key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let members: Vec<String> = (1..=31).map(|n| format!("bar{n:02}={n:02}")).collect();
    for (sent, expected) in [
        ("foo=1,bar=2".to_string(), "foo=1,bar=2".to_string()),
        (
            "foo=1 \t , \t bar=2, \t baz=3".into(),
            "foo=1,bar=2,baz=3".into(),
        ),
        ("foo=1,,,bar=2,".into(), "foo=1,bar=2".into()),
        ("foo=1,foo=2".into(), "foo=1".into()),
        (format!("foo=1,{long_key}=1"), format!("foo=1,{long_key}=1")),
        (format!("foo=1,{tenant}=1"), format!("foo=1,{tenant}=1")),
        (
            format!("{all_key}={all_value}"),
            format!("{all_key}={all_value}"),
        ),
        (
            format!("{all_key}@a-z={all_value}"),
            format!("{all_key}@a-z={all_value}"),
        ),
        (members.join(","), members.join(",")),
        ("0day=1".into(), "0day=1".into()),
        (
            format!("foo={}", "x".repeat(256)),
            format!("foo={}", "x".repeat(256)),
        ),
    ] {
        let extracted = extract(with_state(&sent));
        assert!(!extracted.tracestate_fault, "{sent}");
        assert_eq!(extracted.tracestate, Some(expected));
    }
    assert_eq!(passed_on(""), None);
    assert_eq!(passed_on(" , "), None);
}

#[test]
fn a_tracestate_that_breaks_the_grammar_is_dropped_whole_and_the_traceparent_kept() {
    let many: Vec<String> = (1..=33).map(|n| format!("bar{n:02}={n:02}")).collect();
    for sent in [
        "foo=1,bar".to_string(),
        "foo =1".into(),
        "FOO=1".into(),
        "foo.bar=1".into(),
        "foo@=1,bar=2".into(),
        "@foo=1,bar=2".into(),
        "foo@@bar=1,bar=2".into(),
        "foo@bar@baz=1,bar=2".into(),
        "foo=bar=baz".into(),
        "foo=,bar=3".into(),
        "=1".into(),
        "foo=a\tb".into(),
        "foo=\u{e9}".into(),
        format!("foo={}", "x".repeat(257)),
        format!("{}=1", "z".repeat(257)),
        format!("{}@v=1", "t".repeat(242)),
        format!("t@{}=1", "v".repeat(15)),
        many.join(","),
    ] {
        let extracted = extract(with_state(&sent));
        assert!(extracted.tracestate_fault, "{sent}");
        assert_eq!(extracted.tracestate, None);
        assert_eq!(extracted.identifier.unwrap().depth(), 1);
    }
}

#[test]
fn without_a_valid_traceparent_the_tracestate_is_not_looked_at() {
    for traceparent in [None, Some(&b"00-nonsense"[..])] {
        let extracted = extract(Headers {
            request: None,
            traceparent,
            tracestate: Some(b"foo=1"),
        });
        assert_eq!(extracted.identifier, None);
        assert_eq!(extracted.tracestate, None);
        assert_eq!(extracted.traceparent_fault, traceparent.is_some());
        assert_eq!(extracted.flags, 3);
    }
}

#[test]
fn thirty_two_members_stay_thirty_two_with_ours() {
    let members: Vec<String> = (1..=32).map(|n| format!("bar{n:02}={n:02}")).collect();
    let all = members.join(",");
    let extracted = extract(with_state(&all));
    let id = extracted.identifier.unwrap();
    let parent = extracted.interaction.unwrap();
    for others in [extracted.tracestate.as_deref(), Some(all.as_str())] {
        let out = carrier::inject(&id, parent, 1, others);
        assert_eq!(out.tracestate.split(',').count(), 32);
        assert!(out.tracestate.starts_with("sv="));
        assert!(out.tracestate.ends_with(",bar31=31"), "the oldest went");
    }
}

#[test]
fn over_512_characters_long_members_go_first_and_then_the_oldest() {
    let member = |key: &str, length: usize| format!("{key}={}", "x".repeat(length - key.len() - 1));
    let sent = [
        member("a", 250),
        member("b", 100),
        member("c", 200),
        member("d", 100),
    ];
    assert_eq!(
        passed_on(&sent.join(",")).unwrap(),
        [&sent[0][..], &sent[1], &sent[3]].join(",")
    );
    let small: Vec<String> = (0..6).map(|n| member(&format!("m{n}"), 100)).collect();
    assert_eq!(passed_on(&small.join(",")).unwrap(), small[..5].join(","));
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

    let repaired = carrier::extract_correcting(sent, true, Shape::default());
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
        let mut state = out.tracestate.clone().into_bytes();
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
