//! Filters against entries: what each field and operator means, and a random condition against a
//! plain model of it.

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_entry::{
    Closing, Data, Direction, Effect, Entry, Glance, Opening, Outcome, Record, Timestamp,
};
use selvedge_filter::{DEPTH_MAX, Field, Filter, Needs, TEXT_MAX};
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId, Shape,
};

fn entry() -> Entry {
    let own = Interaction::from_random([9; 8]);
    let identifier = RequestIdentifier::root(Origin::new(9, [3; 10]), own, Shape::default());
    let data = |fields: &[(&str, &str)], body: &str| Data {
        fields: fields
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        body: (!body.is_empty()).then(|| Bytes::copy_from_slice(body.as_bytes())),
        truncated: false,
    };
    Entry {
        position: Position {
            server: ServerName::new("content-1").unwrap(),
            epoch: Epoch {
                counter: 1,
                random: 7,
            },
            sequence: 4,
        },
        opening: Opening {
            session: Some(SessionId::from_random([1; 16])),
            client: Some(ClientId::from_random([2; 16])),
            counter: Some(3),
            call: Some(selvedge_entry::Call {
                identifier,
                interaction: Some(own),
                peer: Some("gateway".into()),
                peer_host: None,
            }),
            version: "1.2".into(),
            host: "h1".into(),
            request: data(&[("method", "POST"), ("path", "/vote?x=1")], ""),
            flags: vec!["fork".into(), "damaged_identifier".into()],
            attributes: vec![("tier".into(), "gold".into())],
            ..Opening::new(
                Direction::Inbound,
                "content",
                "POST /vote",
                Timestamp(1_000),
            )
        },
        effect: Some((
            5,
            Effect {
                after_ns: 10,
                status: 201,
                outcome: Outcome::Ok,
                attributes: vec![("shelf".into(), "12".into())],
                state: Vec::new(),
            },
        )),
        closing: Some(Closing {
            duration_ns: 250_000_000,
            status: 201,
            outcome: Outcome::Ok,
            work: 77,
            request_bytes: 10,
            response_bytes: 20,
            request: data(
                &[],
                r#"{"choice":"yes","n":5,"deep":{"er":true},"list":[1]}"#,
            ),
            response: data(&[("etag", "x")], r#"{"total": 12.5}"#),
            ..Closing::default()
        }),
    }
}

fn matches(text: &str) -> bool {
    Filter::parse(text).unwrap().matches(&entry())
}

#[test]
fn every_field_is_found_under_its_name() {
    for yes in [
        "",
        "service = content",
        "version = 1.2 and host = h1 and server = content-1",
        "direction = inbound and action = \"POST /vote\"",
        "method = POST and path = /vote",
        "caller = gateway and not has callee",
        "session = 01010101010101010101010101010101",
        "client = 02020202020202020202020202020202",
        "has origin and depth = 0",
        "status = 201 and outcome = ok",
        "duration = 250ms and duration >= 0.25s and duration < 1m",
        "work > 76 and work <= 77",
        "not has error",
        "flag = fork and flag = damaged_identifier and flag != skewed",
        "attribute.tier = gold and attribute.shelf > 11.5",
        "request.choice = yes and request.n = 5.0 and request.deep.er = true",
        "response.etag = x and response.total >= 12.5",
        "not has request.list and not has request.deep and not has request.choice.x",
        "request.choice in (no, yes)",
        "path ~ /v*e and action ~ \"*T /v*\" and host ~ *",
        "status >= 500 or not (caller = web) and work = 77",
    ] {
        assert!(matches(yes), "{yes}");
    }
    for no in [
        "service = Content",
        "caller = web or callee = gateway",
        "not has session",
        "path ~ vote*",
        "path ~ /vote*e/vote",
        "host < 5",
        "error = x",
        "request.choice in (no)",
        "not service = content",
    ] {
        assert!(!matches(no), "{no}");
    }
}

#[test]
fn what_is_not_there_equals_nothing_and_is_unequal_to_everything() {
    assert!(matches("callee != gateway"));
    assert!(!matches("callee = gateway"));
    assert!(!matches("attribute.none < 5 or attribute.none >= 5"));
}

#[test]
fn a_filter_says_how_much_of_an_entry_it_must_see() {
    for (text, needs) in [
        ("", Needs::Opening),
        ("action = x and request.method = GET", Needs::Opening),
        ("action = x or status = 500", Needs::Effect),
        ("not (status = 1 and has attribute.x)", Needs::Effect),
        ("status = 500 and duration > 1s", Needs::Closing),
        ("request.choice = yes", Needs::Closing),
    ] {
        assert_eq!(Filter::parse(text).unwrap().needs(), needs, "{text}");
    }
    let mut begun = entry();
    begun.closing = None;
    assert!(Needs::Effect.met_by(&begun) && !Needs::Closing.met_by(&begun));
    begun.effect = None;
    assert!(Needs::Opening.met_by(&begun) && !Needs::Effect.met_by(&begun));
    assert!(!Filter::parse("status = 0").unwrap().matches(&begun));
}

#[test]
fn a_body_that_was_cut_or_is_no_object_has_no_members() {
    let filter = Filter::parse("request.choice = yes").unwrap();
    let mut cut = entry();
    cut.closing.as_mut().unwrap().request.truncated = true;
    assert!(!filter.matches(&cut));
    for body in ["", "[]", "yes", "{\"choice\":", "\u{feff}{}"] {
        let mut other = entry();
        other.closing.as_mut().unwrap().request.body = Some(Bytes::from(body.to_owned()));
        assert!(!filter.matches(&other), "{body}");
    }
}

#[test]
fn a_mistake_is_named_with_its_place() {
    for (text, at, reason) in [
        ("sevice = x", 0, "no field sevice"),
        ("service", 7, "expected =, !="),
        ("service = ", 10, "expected a value"),
        ("service = a b", 12, "expected and, or, or the end"),
        ("service = \"a", 10, "the quote does not end"),
        ("service ! a", 8, "write != or not"),
        ("service = ä", 10, "put the value into quotes"),
        ("status > high", 9, "status is a number"),
        ("path > high", 5, "> compares numbers"),
        ("duration > 5x", 11, "expected a duration"),
        ("(service = a", 12, "expected )"),
        ("status in 5", 10, "expected ( after in"),
        ("service = a and", 15, "a condition is missing"),
        ("has", 3, "expected a field after has"),
        ("= 5", 0, "expected a field, not, has or ("),
        ("request. = 5", 0, "no field request."),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.reason.starts_with(reason), "{text}: {error}");
    }
}

#[test]
fn what_can_never_hold_is_seen() {
    for (text, why) in [
        (
            "service = a and status = 200 and service = b",
            "service = a and service = b",
        ),
        (
            "not has error and (status = 1 and status = 2.0)",
            "status = 1 and status = 2.0",
        ),
        (
            "status = 200 and not status = 200",
            "status = 200 and not status = 200",
        ),
        (
            "status = 200 and status != 200",
            "status = 200 and status != 200",
        ),
        (
            "status >= 500 and status < 400",
            "status >= 500 and status < 400",
        ),
        (
            "status > 500 and status <= 500",
            "status > 500 and status <= 500",
        ),
        (
            "status > 500 and not status > 500",
            "status > 500 and not status > 500",
        ),
        ("status > 1000", "status <= 999 and status > 1000"),
        ("duration < 0s", "duration >= 0 and duration < 0s"),
        (
            "status in (200, 201) and status in (400, 404)",
            "status in (200, 201) and status in (400, 404)",
        ),
        (
            "status in (200, 201) and status >= 400",
            "status in (200, 201) and status >= 400",
        ),
        (
            "service in (a, b) and service ~ \"c*\"",
            "service in (a, b) and service ~ c*",
        ),
        (
            "has client and not has client",
            "has client and not has client",
        ),
        (
            "client = a and not has client",
            "client = a and not has client",
        ),
        (
            "attribute.x > 1 and attribute.x = one",
            "attribute.x > 1 and attribute.x = one",
        ),
        // Each alternative is impossible in its own way.
        (
            "service = a and (service = b or service = c)",
            "service = a and service = b",
        ),
        (
            "not (service = a or service != a)",
            "not service = a and not service != a",
        ),
        // Who called is known of inbound entries only.
        (
            "has caller and direction = internal",
            "has caller and direction = internal",
        ),
        (
            "callee = a and direction = inbound",
            "callee = a and direction = inbound",
        ),
        ("caller = a and callee = b", "caller = a and callee = b"),
    ] {
        let seen = Filter::parse(text).unwrap().contradiction();
        let seen = seen.map(|seen| seen.to_string());
        let expected = format!("{why} exclude each other");
        assert_eq!(seen.as_deref(), Some(&*expected), "{text}");
    }
    for fine in [
        "service = a or service = b",
        "status = 200 and status = 200.0",
        "flag = a and flag = b",
        "status > 500 and not status < 600",
        "not status < 500 and not has status",
        "service != a and service != b",
        "service = a and (service = b or status = 200)",
        "status = 200 and status ~ \"2*\"",
        "has caller or direction = internal",
        "service != a and not has service",
        "",
    ] {
        let seen = Filter::parse(fine).unwrap().contradiction();
        assert_eq!(seen, None, "{fine}");
    }
}

#[test]
fn a_value_that_a_field_never_has_is_refused_at_its_place() {
    for (text, at, reason) in [
        (
            "direction = sideways",
            12,
            "direction is one of inbound, outbound, internal, never sideways",
        ),
        (
            "status = 1 and outcome in (ok, failed)",
            31,
            "outcome is one of ok, refused, error, never failed",
        ),
        ("direction ~ \"x*\"", 12, "never x*"),
        ("status = fine", 9, "status is a number, and fine is none"),
        ("duration > fast", 11, "expected a duration"),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.reason.contains(reason), "{text}: {error}");
    }
    for fine in ["direction ~ \"in*\"", "status ~ \"5*\"", "outcome != ok"] {
        assert!(Filter::parse(fine).is_ok(), "{fine}");
    }
}

#[test]
fn hostile_texts_are_bounded() {
    let deep = format!("{}service = a", "not ".repeat(DEPTH_MAX));
    assert!(Filter::parse(&deep).unwrap_err().reason.contains("deeper"));
    let deep = format!("{}service = a", "not ".repeat(DEPTH_MAX - 1));
    assert!(Filter::parse(&deep).is_ok());
    assert!(Filter::parse(&"(".repeat(TEXT_MAX)).is_err());
    assert!(Filter::parse(&"x".repeat(TEXT_MAX + 1)).is_err());
}

/// A condition whose truth for [`entry`] is known when it is made.
fn conditions() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop::sample::select(vec![
        ("service = content", true),
        ("service = web", false),
        ("status != 201", false),
        ("status >= 200", true),
        ("has error", false),
        ("depth in (1, 0)", true),
        ("attribute.tier ~ g*d", true),
    ])
    .prop_map(|(text, truth)| (text.to_owned(), truth));
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|(text, truth)| (format!("not ({text})"), !truth)),
            two.clone()
                .prop_map(|((a, x), (b, y))| (format!("({a}) and ({b})"), x && y)),
            two.prop_map(|((a, x), (b, y))| (format!("({a} or {b})"), x || y)),
        ]
    })
}

#[test]
fn a_glance_tells_by_the_beginning_alone_that_an_entry_never_matches() {
    let mut opening = entry().opening;
    opening.service = "content".into();
    opening.action = "POST /vote".into();
    let mut record = Vec::new();
    Record::Opening(Box::new(opening)).encode(&mut record);
    let Ok(Glance::Begins(begins)) = Record::glance(&record) else {
        panic!("it begins an entry");
    };
    for (text, may) in [
        ("", true),
        ("service = content and outcome = ok", true),
        ("service = gateway and outcome = ok", false),
        ("not (service = content or has error)", false),
        ("service = gateway or outcome = ok", true),
        ("action in (\"POST /orders\", \"POST /vote\")", true),
        ("action in (\"POST /orders\", \"GET /orders\")", false),
        ("action ~ \"GET *\"", false),
        ("action != \"POST /vote\"", false),
        ("version = 1.0", true),
    ] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(filter.may_match(&begins), may, "{text}");
    }
}

proptest! {
    #[test]
    fn conditions_mean_what_their_parts_mean((text, truth) in conditions()) {
        let filter = Filter::parse(&text).unwrap();
        prop_assert_eq!(filter.matches(&entry()), truth);
        // What a glance says never is, is not.
        let opening = entry().opening;
        let mut record = Vec::new();
        Record::Opening(Box::new(opening)).encode(&mut record);
        let Ok(Glance::Begins(begins)) = Record::glance(&record) else {
            panic!("it begins an entry");
        };
        prop_assert!(filter.may_match(&begins) || !truth, "{}", text);
        prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_within_it(text in "[ -~äß\"()]{0,60}") {
        if let Err(error) = Filter::parse(&text) {
            prop_assert!(error.at <= text.len() && text.is_char_boundary(error.at));
        }
    }

    #[test]
    fn a_field_shows_the_name_it_is_read_by(name in "(service|attribute\\.[a-z.]{1,5}|request\\.[a-z]{1,5}|[a-z]{1,8})") {
        if let Some(field) = Field::named(&name) {
            prop_assert_eq!(field.to_string(), name);
        }
    }

    #[test]
    fn a_pattern_matches_as_its_plain_reading_does(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
        fn model(pattern: &[u8], text: &[u8]) -> bool {
            match pattern {
                [] => text.is_empty(),
                [b'*', rest @ ..] => (0..=text.len()).any(|n| model(rest, &text[n..])),
                [first, rest @ ..] => text.first() == Some(first) && model(rest, &text[1..]),
            }
        }
        let mut entry = entry();
        entry.opening.host = text.as_str().into();
        let filter = Filter::parse(&format!("host ~ \"{pattern}\"")).unwrap();
        prop_assert_eq!(filter.matches(&entry), model(pattern.as_bytes(), text.as_bytes()));
    }
}
