//! What the repository writes of a span it reads again, whole; equal bytes are equal spans.

use proptest::collection::vec;
use proptest::prelude::*;
use selvedge_calltree::TreeBuilder;
use selvedge_entry::Text;
use selvedge_identity::Origin;
use selvedge_spans::{Contexts, Part, Span, StoredSpans, observe};

use crate::properties;

/// Any span, also as Zipkin and Jaeger say it.
fn span() -> impl Strategy<Value = Span> {
    let more = (any::<bool>(), vec("[a-z_]{1,9}".prop_map(Text::from), 0..3));
    let names = proptest::option::of(("[a-c]?", "[x-z]?"));
    (properties::span(), more, names).prop_map(|(mut span, (shared, odd), names)| {
        span.shared = shared;
        span.odd = odd;
        if let Some((service, host)) = names {
            (span.service, span.host) = (service.into(), host.into());
        }
        span
    })
}

fn read(stored: &StoredSpans, part: Part) -> Vec<Span> {
    let contexts = Contexts::decode(&stored.contexts).expect("as written");
    let spans = stored.spans.iter().map(|at| &stored.bytes[at.clone()]);
    spans
        .map(|bytes| contexts.span(bytes, part).expect("as written"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_part_of_a_span_is_read_as_it_was_written(spans in vec(span(), 0..6)) {
        prop_assert_eq!(read(&StoredSpans::of(&spans), Part::Whole), spans);
    }

    #[test]
    fn spans_have_the_same_bytes_if_and_only_if_they_are_equal(spans in vec(span(), 2..5), copy in any::<bool>()) {
        let mut spans = spans;
        if copy {
            // Of a batch of its own, with contexts of its own.
            let same = read(&StoredSpans::of(&spans[..1]), Part::Whole);
            spans.extend(same);
        }
        let stored = StoredSpans::of(&spans);
        let contexts = Contexts::decode(&stored.contexts).expect("as written");
        let parts = |at: usize| {
            let parts = contexts.parts(&stored.bytes[stored.spans[at].clone()]).expect("as written");
            let resource = contexts.resources().nth(parts.resource).map(<[u8]>::to_vec);
            let scope = contexts.scopes().nth(parts.scope).map(<[u8]>::to_vec);
            (resource, scope, parts.own)
        };
        for a in 0..spans.len() {
            for b in 0..spans.len() {
                prop_assert_eq!(parts(a) == parts(b), spans[a] == spans[b]);
            }
        }
    }

    #[test]
    fn what_is_read_for_a_tree_alone_makes_the_same_tree(spans in vec(span(), 1..30)) {
        // One trace, few ids: twins, cycles and orphans come by themselves.
        let origin = Origin::from_random([7; 16]);
        let spans: Vec<Span> = spans.into_iter().map(|span| Span { origin, ..span }).collect();
        let part = read(&StoredSpans::of(&spans), Part::Tree);
        let facts = |spans: &[Span]| {
            let observed = observe(spans);
            let builder = TreeBuilder::batch(origin, observed.requests[&origin].clone());
            let tree = builder.tree();
            let mut nodes: Vec<String> = tree
                .nodes()
                .map(|node| format!("{:?} {:?} {:?} {:?} {:?}", node.id(), node.evidence(), node.service(), node.host(), node.odd()))
                .collect();
            nodes.sort();
            (nodes, tree.flags().to_vec(), observed.repeats, observed.conflicts, observed.cycles)
        };
        prop_assert_eq!(facts(&part), facts(&spans));
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_no_panic(
        spans in vec(span(), 1..4), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let stored = StoredSpans::of(&spans);
        let contexts = Contexts::decode(&stored.contexts).expect("as written");
        let mut bytes = stored.bytes[stored.spans[0].clone()].to_vec();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        for part in [Part::Whole, Part::Tree] {
            let _ = contexts.span(&bytes, part);
            let _ = contexts.span(&bytes[..place], part);
        }
        prop_assert!(contexts.span(&bytes[..place], Part::Whole).is_err(), "a cut span is no span");
        let mut bytes = stored.contexts.clone();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = Contexts::decode(&bytes);
        prop_assert!(Contexts::decode(&bytes[..place]).is_err());
    }
}
