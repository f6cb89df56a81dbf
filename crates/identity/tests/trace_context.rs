//! `traceparent` and `tracestate` as the specification wants them read; the cases are those of its
//! own test suite.

use selvedge_identity::carrier::{self, Extracted, Headers};
use selvedge_identity::{Shape, TraceParent};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn extract(headers: Headers<'_>) -> Extracted {
    carrier::extract(headers, true, Shape::default())
}

fn with_state(tracestate: &str) -> Headers<'_> {
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
        // Level 2: an at sign is a character as any other, but no first one.
        ("foo@=1,bar=2".into(), "foo@=1,bar=2".into()),
        ("a@@b@c=1".into(), "a@@b@c=1".into()),
        (
            format!("t@{}=1", "v".repeat(15)),
            format!("t@{}=1", "v".repeat(15)),
        ),
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
        "@foo=1,bar=2".into(),
        "foo=bar=baz".into(),
        "foo=,bar=3".into(),
        "=1".into(),
        "foo=a\tb".into(),
        "foo=\u{e9}".into(),
        format!("foo={}", "x".repeat(257)),
        format!("{}=1", "z".repeat(257)),
        format!("{}@v=1", "t".repeat(255)),
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
fn several_traceparents_are_as_good_as_a_malformed_one() {
    let several = [PARENT.as_bytes(), PARENT.as_bytes()];
    assert_eq!(carrier::sole([]), None);
    assert_eq!(carrier::sole([PARENT.as_bytes()]), Some(PARENT.as_bytes()));
    let extracted = extract(Headers {
        traceparent: carrier::sole(several),
        ..Headers::default()
    });
    assert!(extracted.traceparent_fault);
    assert_eq!(extracted.identifier, None);
}
