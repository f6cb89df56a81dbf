//! Which trees spans make.

use std::sync::Arc;

use selvedge_calltree::{Evidence, Flag, TreeBuilder};
use selvedge_entry::{Outcome, Timestamp};
use selvedge_identity::{Interaction, Origin};
use selvedge_spans::{Kind, Observed, Resource, Span, StatusCode, Value, observe, zipkin};
use serde_json::json;

pub(crate) fn id(n: u64) -> Interaction {
    Interaction::from_bytes(n.to_be_bytes()).expect("not zero")
}

pub(crate) fn span(service: &str, kind: Kind, own: u64, parent: u64) -> Span {
    let resource = Resource {
        attributes: [("service.name".into(), service.into())].into(),
        ..Resource::default()
    };
    let origin = Origin::from_random([9; 16]);
    let mut span = Span::new(origin, id(own), Arc::new(resource), Arc::default());
    span.kind = kind;
    span.parent = Interaction::from_bytes(parent.to_be_bytes());
    span.start = Some(Timestamp(own as i64 * 1000));
    span.duration_ns = Some(500);
    span.name = format!("{service}-{own}").into();
    span
}

/// The tree in preorder: a line for each node.
pub(crate) fn lines(observed: &Observed) -> Vec<String> {
    let mut out = Vec::new();
    for (origin, observations) in &observed.requests {
        let builder = TreeBuilder::batch(*origin, observations.clone());
        let tree = builder.tree();
        for (indent, node) in tree.preorder() {
            let id = node.id().map_or("-".into(), |id| id.to_string());
            let id = id.trim_start_matches('0');
            let service = node.service().map_or("?", |service| service);
            let actions = node.actions().len();
            out.push(format!(
                "{indent} {} {id} {service} {:?} {actions}",
                node.depth(),
                node.evidence()
            ));
        }
    }
    out
}

#[test]
fn internal_spans_are_actions_of_the_call_that_they_run_in() {
    use Kind::{Client, Internal, Server, Unspecified};
    let observed = observe(&[
        span("web", Server, 1, 0),
        span("web", Internal, 2, 1),
        span("web", Internal, 3, 2),
        span("web", Client, 4, 3),
        span("shop", Server, 5, 4),
        span("shop", Unspecified, 6, 5),
        span("shop", Client, 7, 6),
        // Within a call that is made: still its service's own work.
        span("shop", Internal, 8, 7),
    ]);
    assert_eq!(
        lines(&observed),
        [
            "0 0 1 web Observed 2",
            "1 1 4 shop Observed 2",
            "2 2 7 ? OneSided 0"
        ]
    );
}

#[test]
fn a_root_that_makes_a_call_stands_as_the_root_and_as_the_call() {
    let observed = observe(&[
        span("phone", Kind::Client, 1, 0),
        span("shop", Kind::Server, 2, 1),
    ]);
    assert_eq!(
        lines(&observed),
        ["0 0 1 phone Observed 0", "1 1 1 shop Observed 0"]
    );
}

#[test]
fn a_message_that_several_hosts_get_is_one_call_with_several_deliveries() {
    let observed = observe(&[
        span("web", Kind::Server, 1, 0),
        span("web", Kind::Producer, 2, 1),
        span("mail", Kind::Consumer, 3, 2),
        span("audit", Kind::Consumer, 4, 2),
    ]);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    assert_eq!(tree.len(), 2);
    let call = tree.nodes().nth(1).expect("a call");
    assert_eq!(call.deliveries().len(), 2);
    assert_eq!(observed.conflicts, 0);
}

#[test]
fn calls_whose_caller_recorded_no_span_stay_apart() {
    let observed = observe(&[
        span("web", Kind::Server, 1, 0),
        span("a", Kind::Server, 2, 1),
        span("b", Kind::Server, 3, 1),
        // No kinds at all: another service means a call.
        span("c", Kind::Unspecified, 4, 3),
        span("c", Kind::Unspecified, 5, 4),
    ]);
    assert_eq!(
        lines(&observed),
        [
            "0 0 1 web Observed 0",
            "1 1 2 a OneSided 0",
            "1 1 3 b OneSided 0",
            "2 2 4 c OneSided 1",
        ]
    );
}

#[test]
fn what_hangs_on_a_lost_span_stays_together_and_claims_no_root() {
    let observed = observe(&[
        span("web", Kind::Server, 1, 0),
        span("shop", Kind::Server, 5, 40),
        span("shop", Kind::Client, 6, 5),
        span("mail", Kind::Client, 7, 41),
        span("mail", Kind::Internal, 8, 41),
    ]);
    assert_eq!(
        lines(&observed),
        [
            "0 0 1 web Observed 0",
            "0 2 28 shop OneSided 0",
            "1 3 6 ? OneSided 0",
            "0 2 29 mail OneSided 1",
            "1 3 7 ? OneSided 0",
        ]
    );
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    assert!(tree.flags().contains(&Flag::Unanchored) && !tree.is_complete());
    let loose = tree
        .nodes()
        .filter(|node| node.odd().iter().any(|odd| &***odd == "depth_unknown"));
    assert_eq!(loose.count(), 4);
}

#[test]
fn exact_repeats_vanish_and_conflicting_twins_stay_and_are_flagged() {
    let one = span("web", Kind::Server, 1, 0);
    let mut other = one.clone();
    other.name = "another".into();
    let observed = observe(&[one.clone(), other, one]);
    assert_eq!((observed.repeats, observed.conflicts), (1, 2));
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    let root = tree.root().expect("a root");
    assert_eq!(root.deliveries().len(), 2);
    assert_eq!(
        root.odd().iter().map(|odd| &***odd).collect::<Vec<_>>(),
        ["conflicting_twin"]
    );
}

#[test]
fn a_cycle_is_cut_and_flagged() {
    let observed = observe(&[
        span("a", Kind::Server, 1, 3),
        span("b", Kind::Server, 2, 1),
        span("c", Kind::Server, 3, 2),
        span("d", Kind::Internal, 4, 3),
    ]);
    assert_eq!(observed.cycles, 1);
    assert_eq!(lines(&observed).len(), 5, "{:?}", lines(&observed));
    let all = observed.requests.values().flatten();
    let flagged = all.filter(|o| {
        o.details
            .iter()
            .any(|d| d.flags.iter().any(|f| &**f == "cycle"))
    });
    assert_eq!(flagged.count(), 1);
}

#[test]
fn a_trace_ten_thousand_deep_needs_no_recursion() {
    let mut spans = vec![span("s0", Kind::Server, 1, 0)];
    for depth in 1..10_000_u64 {
        spans.push(span("x", Kind::Client, 2 * depth, 2 * depth - 1));
        spans.push(span("x", Kind::Server, 2 * depth + 1, 2 * depth));
    }
    let observed = observe(&spans);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    assert!(tree.is_complete());
    assert_eq!(tree.nodes().map(|node| node.depth()).max(), Some(9_999));
}

#[test]
fn zipkin_sides_that_share_an_id_are_one_call_and_parts_of_a_span_are_merged() {
    let spans = json!([
        {"traceId": "1", "id": "a", "kind": "SERVER", "timestamp": 1, "duration": 9,
            "localEndpoint": {"serviceName": "web"}},
        {"traceId": "1", "id": "b", "parentId": "a", "kind": "CLIENT", "timestamp": 2, "duration": 5,
            "localEndpoint": {"serviceName": "web"}},
        // Its sender forgot `shared`.
        {"traceId": "1", "id": "b", "parentId": "a", "kind": "SERVER", "timestamp": 3, "duration": 2,
            "localEndpoint": {"serviceName": "shop"}},
        {"traceId": "1", "id": "b", "parentId": "a", "localEndpoint": {"serviceName": "shop"},
            "tags": {"late": "tag"}},
        // In the shop's part of the call, and in the web's.
        {"traceId": "1", "id": "c", "parentId": "b", "kind": "CLIENT", "timestamp": 4, "duration": 1,
            "localEndpoint": {"serviceName": "shop"}},
        {"traceId": "1", "id": "d", "parentId": "b", "kind": "CLIENT", "timestamp": 4, "duration": 1,
            "localEndpoint": {"serviceName": "web"}},
    ]);
    let intake = zipkin::from_json(spans.to_string().as_bytes()).expect("readable");
    assert_eq!(intake.spans.len(), 5);
    let shop = &intake.spans[2];
    assert!(shop.shared);
    assert_eq!(
        shop.attributes,
        [("late".into(), Value::from("tag"))].into()
    );
    assert!(shop.odd.iter().any(|odd| &**odd == "short_trace_id"));
    let nodes: Vec<String> = lines(&observe(&intake.spans));
    assert_eq!(
        nodes,
        [
            "0 0 a web Observed 0",
            "1 1 b shop Observed 0",
            "2 2 c ? OneSided 0",
            "1 1 d ? OneSided 0",
        ]
    );
}

#[test]
fn how_it_ended_is_told_by_its_status_and_by_http() {
    let outcome = |code, http: i64| {
        let mut one = span("web", Kind::Server, 1, 0);
        one.status.code = code;
        one.status.message = Some("why".into());
        one.attributes = [("http.response.status_code".into(), Value::Int(http))].into();
        let observed = observe(&[one]);
        let first = observed
            .requests
            .values()
            .flatten()
            .next()
            .cloned()
            .expect("one");
        (first.outcome, first.status, first.error.is_some())
    };
    assert_eq!(outcome(StatusCode::Unset, 200), (Outcome::Ok, 200, false));
    assert_eq!(
        outcome(StatusCode::Unset, 404),
        (Outcome::Refused, 404, false)
    );
    assert_eq!(
        outcome(StatusCode::Error, 404),
        (Outcome::Refused, 404, true)
    );
    assert_eq!(
        outcome(StatusCode::Unset, 503),
        (Outcome::Error, 503, false)
    );
    assert_eq!(outcome(StatusCode::Error, 0), (Outcome::Error, 0, true));
    assert_eq!(outcome(StatusCode::Ok, 70_000), (Outcome::Ok, 0, false));
}

#[test]
fn evidence_says_which_sides_recorded_a_call() {
    let observed = observe(&[
        span("web", Kind::Server, 1, 0),
        span("web", Kind::Client, 2, 1),
        span("web", Kind::Client, 3, 1),
        span("shop", Kind::Server, 4, 3),
    ]);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    let evidence: Vec<Evidence> = tree.nodes().map(|node| node.evidence()).collect();
    assert_eq!(
        evidence,
        [Evidence::Observed, Evidence::OneSided, Evidence::Observed]
    );
}
