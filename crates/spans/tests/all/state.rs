//! Trees of ordinary spans whose services carry our `sv` member in the trace state: what a hop's
//! process received stands on all of its spans, so lost services' places are known (E2).

use selvedge_calltree::{Evidence, TreeBuilder};
use selvedge_identity::{Origin, RequestIdentifier, Shape, StackId, carrier};
use selvedge_spans::{Kind, Span, observe};

use proptest::prelude::*;

use crate::observe::{id, lines, span};

/// A chain of services, each calling the next: a SERVER and a CLIENT span of each, with the trace
/// state that its process received. `ignoring`: services that pass the state on unchanged.
fn chain(length: u64, ignoring: &[u64]) -> Vec<Span> {
    let origin = Origin::from_random([9; 16]);
    let shape = Shape::default();
    let mut identifier: Option<RequestIdentifier> = None;
    let mut received: Option<String> = None;
    let mut spans = Vec::new();
    for at in 0..length {
        let service = format!("s{at}");
        let (server, client) = (0x10 * at + 1, 0x10 * at + 2);
        let parent = if at == 0 { 0 } else { 0x10 * (at - 1) + 2 };
        for (kind, own, parent) in [
            (Kind::Server, server, parent),
            (Kind::Client, client, server),
        ] {
            let mut span = span(&service, kind, own << 40, parent << 40);
            span.trace_state = received.as_deref().map(Into::into);
            spans.push(span);
        }
        if !ignoring.contains(&at) {
            let (own, caller) = (id(client << 40), id((parent << 40).max(1)));
            let alone = |own| {
                let identifier =
                    RequestIdentifier::from_parts(origin, 1, 6, &[StackId::of(own, 4)]);
                identifier.expect("a good identifier")
            };
            let next = match identifier.take() {
                Some(received) if received.own().matches(&caller.into()) => {
                    received.advance(own, shape)
                }
                // A hop between did not add itself.
                Some(received) => received.advance(caller, shape).advance(own, shape),
                None if at > 0 => alone(caller).advance(own, shape),
                // The first has received nothing: it knows its own call only.
                None => alone(own),
            };
            let injected = carrier::inject(&next, own, 1, Some("other=1"));
            received = Some(injected.tracestate.to_string());
            identifier = Some(next);
        }
    }
    spans
}

fn without(mut spans: Vec<Span>, services: &[&str]) -> Vec<Span> {
    spans.retain(|span| !services.contains(&&*span.service));
    spans
}

#[test]
fn services_whose_spans_are_lost_are_bridged() {
    let all = chain(7, &[]);
    let whole = observe(&all);
    assert_eq!(lines(&whole).len(), 8);
    let broken = observe(&without(all, &["s2", "s3", "s4"]));
    let (origin, observations) = broken.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    let shown: Vec<(usize, u32, Evidence)> = tree
        .preorder()
        .map(|(indent, node)| (indent, node.depth(), node.evidence()))
        .collect();
    let expected = [
        Evidence::Observed,
        Evidence::Observed,
        // s1 called s2; s2's call of s3 and s3's of s4 nobody recorded; s5 received s4's.
        Evidence::OneSided,
        Evidence::Inferred,
        Evidence::Inferred,
        Evidence::OneSided,
        Evidence::Observed,
        Evidence::OneSided,
    ];
    let expected: Vec<_> = (0..8)
        .zip(expected)
        .map(|(at, e)| (at, at as u32, e))
        .collect();
    assert_eq!(shown, expected, "{:?}", lines(&broken));
}

#[test]
fn a_client_span_alone_tells_where_its_process_stood() {
    let mut spans = without(chain(5, &[]), &["s1", "s2"]);
    // The process's own SERVER span is lost, too.
    spans.retain(|span| !(&*span.service == "s3" && span.kind == Kind::Server));
    let observed = observe(&spans);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    assert_eq!(tree.tops().len(), 1, "{:?}", lines(&observed));
    assert_eq!(tree.len(), 6);
}

#[test]
fn a_hop_that_adds_nothing_is_seen_and_costs_no_edge_of_the_whole() {
    let spans = chain(5, &[2]);
    let observed = observe(&spans);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    assert!(tree.is_complete());
    let marked: Vec<_> = tree
        .nodes()
        .filter(|node| node.inbound().is_some_and(|inbound| inbound.ignored_hop))
        .filter_map(|node| node.service().cloned())
        .collect();
    assert_eq!(marked.iter().map(|s| &**s).collect::<Vec<_>>(), ["s3"]);
}

#[test]
fn a_damaged_member_is_not_believed() {
    let mut spans = without(chain(4, &[]), &["s1"]);
    for span in &mut spans {
        if let Some(state) = &span.trace_state {
            span.trace_state = Some(state.replacen("sv=1", "sv=1z", 1).into());
        }
    }
    let observed = observe(&spans);
    let all = observed.requests.values().flatten();
    let loose = all.filter(|o| {
        o.details
            .iter()
            .any(|d| d.flags.iter().any(|f| &**f == "depth_unknown"))
    });
    assert_eq!(loose.count(), 4);
}

/// What is shown of a chain: each node's depth and its caller's service's number, or how it is
/// known.
fn shown(spans: &[Span]) -> Vec<(u32, Evidence)> {
    let observed = observe(spans);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    assert_eq!(tree.tops().len(), 1, "{:?}", lines(&observed));
    tree.preorder()
        .map(|(_, node)| (node.depth(), node.evidence()))
        .collect()
}

#[test]
fn below_hops_that_add_nothing_a_lost_service_still_has_its_place() {
    // Two that ignore it: `sv` itself says a depth too low by one, and that s1 called s3's callee.
    let spans = without(chain(7, &[2, 3]), &["s5"]);
    let evidence = [
        Evidence::Observed,
        Evidence::Observed,
        Evidence::Observed,
        Evidence::Observed,
        Evidence::Observed,
        Evidence::OneSided,
        Evidence::OneSided,
        Evidence::OneSided,
    ];
    let expected: Vec<_> = (0..8).zip(evidence).collect();
    assert_eq!(shown(&spans), expected);
}

#[test]
fn a_caller_of_unknown_depth_is_still_the_caller() {
    // s1's spans say nothing of where they stand; s3's `sv` names s1's call.
    let mut spans = without(chain(5, &[]), &["s0", "s2"]);
    for span in spans.iter_mut().filter(|span| &*span.service == "s1") {
        span.trace_state = None;
    }
    let observed = observe(&spans);
    let (origin, observations) = observed.requests.iter().next().expect("a trace");
    let builder = TreeBuilder::batch(*origin, observations.clone());
    let tree = builder.tree();
    let of = |service: &str| {
        let mut nodes = tree.nodes();
        nodes
            .find(|node| node.service().is_some_and(|name| &**name == service))
            .expect("a node")
    };
    // s3, then s2's lost node, then s1.
    let caller = of("s3").parent().and_then(|node| node.parent());
    assert_eq!(caller.map(|node| node.index()), Some(of("s1").index()));
}

#[test]
fn a_trace_state_that_names_a_call_below_makes_no_circle() {
    let mut spans = chain(5, &[]);
    // The first, whose parent is lost, claims to be called by the last.
    let last = spans.last().expect("spans").clone();
    let identifier = RequestIdentifier::from_parts(last.origin, 9, 6, &[StackId::of(last.id, 8)]);
    let state = carrier::inject(&identifier.expect("good"), last.id, 1, None).tracestate;
    spans[0].parent = Some(id(0x77));
    spans[0].trace_state = Some(state.to_string().into());
    let observed = observe(&spans);
    assert_eq!(observed.cycles, 1);
    // The chain's own calls are whole: only the claim is left out.
    let whole = lines(&observed);
    let whole = whole.iter().filter(|line| line.contains("Observed"));
    assert_eq!(whole.count(), 4);
    assert_eq!(observed.requests.values().map(Vec::len).sum::<usize>(), 10);
}

proptest! {
    /// Whatever hops ignore `sv` and whatever others' spans are lost: every service whose spans
    /// are here stands where it stood, on its own caller, as long as a stack bridges the gap.
    #[test]
    fn of_any_chain_what_is_here_stands_where_it_stood(
        length in 2_u64..12,
        ignoring in prop::collection::btree_set(0_u64..12, 0..6),
        lost in prop::collection::btree_set(1_u64..12, 0..5),
    ) {
        let ignoring: Vec<u64> = ignoring.into_iter().collect();
        let lost: Vec<String> = lost
            .into_iter()
            .filter(|at| !ignoring.contains(at))
            .map(|at| format!("s{at}"))
            .collect();
        let lost: Vec<&str> = lost.iter().map(|name| &**name).collect();
        let spans = without(chain(length, &ignoring), &lost);
        let observed = observe(&spans);
        let (origin, observations) = observed.requests.iter().next().expect("a trace");
        let builder = TreeBuilder::batch(*origin, observations.clone());
        let tree = builder.tree();
        prop_assert_eq!(tree.tops().len(), 1, "{:?}", lines(&observed));
        for node in tree.nodes() {
            let Some(service) = node.inbound().map(|inbound| &inbound.service) else {
                continue;
            };
            let at: u32 = service[1..].parse().expect("a number");
            prop_assert_eq!(node.depth(), at, "{:?}", lines(&observed));
            if let Some(caller) = node.parent().and_then(|caller| caller.inbound()) {
                prop_assert_eq!(&*caller.service, &*format!("s{}", at - 1));
            }
        }
    }
}
