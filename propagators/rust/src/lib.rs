//! W3C Trace Context that also carries the request stack, for OpenTelemetry's Rust SDK (E2).
//!
//! A span names its parent only, so a lost service's spans cut the tree in two. This propagator
//! adds one member, `sv`, to the `tracestate` header: the depth of the call and the ids of the
//! newest calls on the way to it. Services that know nothing of it pass it on unchanged, and the
//! SDK exports it on every span of the process that received it; the tree is rebuilt from that.
//!
//! What the process received stays, unchanged, in the trace state of all its spans; each call that
//! it makes sends that and its own id. A process's internal spans never enter the stack. A hop that
//! takes no part passes `sv` on without adding itself: extraction sees it (the newest id is not the
//! parent-id) and notes the parent-id in a member of its own, `svp`, because later spans of the
//! process only know their own parents. `svp` is for this process and is never sent by us.
//!
//! ```
//! use opentelemetry::global;
//! use opentelemetry_selvedge::SelvedgePropagator;
//!
//! global::set_text_map_propagator(SelvedgePropagator::default());
//! ```
//!
//! The propagator for Python (`propagators/python`) does the same, held to the same vectors.

use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use selvedge_identity::carrier::{self, Headers, TRACEPARENT, TRACESTATE};
use selvedge_identity::{
    Interaction, Origin, RequestIdentifier, STACK_MAX, Shape, StackId, TraceParent,
};

/// Our member of `tracestate`.
const KEY: &str = "sv";

/// The parent-id that came in beside an `sv` that does not end in it.
const NOTE: &str = "svp";

/// W3C Trace Context with the request stack. Use it in place of `TraceContextPropagator`.
#[derive(Clone, Debug)]
pub struct SelvedgePropagator {
    shape: Shape,
    fields: [String; 2],
}

impl Default for SelvedgePropagator {
    /// Six ids of four bytes.
    fn default() -> Self {
        Self::new(6, 4)
    }
}

impl SelvedgePropagator {
    /// `ids`: how many ids a stack keeps, this hop's own among them (1 to 16); `id_bytes`: how many
    /// bytes of each (1 to 8). What is out of range is taken as the nearest that is not. Services
    /// of different sizes work together.
    #[must_use]
    pub fn new(ids: u8, id_bytes: u8) -> Self {
        Self {
            shape: Shape {
                k: ids.clamp(1, STACK_MAX as u8),
                width: id_bytes.clamp(1, 8),
                depth_increment: 1,
            },
            fields: [TRACEPARENT.to_owned(), TRACESTATE.to_owned()],
        }
    }

    /// What these headers say; `parent`: the parent-id.
    fn read(&self, context: &SpanContext, parent: Interaction) -> Option<carrier::Extracted> {
        let traceparent = TraceParent {
            origin: origin(context)?,
            interaction: parent,
            flags: context.trace_flags().to_u8(),
        };
        let (traceparent, tracestate) = (traceparent.text(), context.trace_state().header());
        let headers = Headers {
            request: None,
            traceparent: Some(traceparent.as_bytes()),
            tracestate: Some(tracestate.as_bytes()),
        };
        Some(carrier::extract(headers, true, self.shape))
    }

    /// The identifier of a call that the span of this context makes.
    fn next(&self, context: &SpanContext, own: Interaction) -> Option<RequestIdentifier> {
        let noted = context.trace_state().get(NOTE);
        let noted = noted.and_then(|id| Interaction::parse(id.as_bytes()).ok());
        if let Some(parent) = noted {
            let received = self.read(context, parent)?.identifier?;
            return Some(received.advance(own, self.shape));
        }
        let received = self.read(context, own)?;
        // It ends in the caller's id, and that is not ours: so this is it, and our call added.
        let continued = received
            .ignored_hop
            .then_some(received.identifier)
            .flatten();
        let alone = || {
            let own = StackId::of(own, self.shape.width);
            RequestIdentifier::from_parts(origin(context)?, 1, self.shape.k, &[own])
        };
        continued.or_else(alone)
    }
}

impl TextMapPropagator for SelvedgePropagator {
    /// Writes the span's context, with that span added to the stack. A context that is only passed
    /// through (extracted, with no span begun in it) adds nothing.
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let context = span.span_context();
        let (Some(origin), Some(own)) = (origin(context), interaction(context)) else {
            return;
        };
        let flags = context.trace_flags().to_u8();
        if context.is_remote() {
            let parent = TraceParent {
                origin,
                interaction: own,
                flags,
            };
            injector.set(TRACEPARENT, parent.text().to_string());
            let state = without(context.trace_state(), NOTE).header();
            if !state.is_empty() {
                injector.set(TRACESTATE, state);
            }
            return;
        }
        let Some(identifier) = self.next(context, own) else {
            return;
        };
        let others = without(&without(context.trace_state(), NOTE), KEY).header();
        let others = (!others.is_empty()).then_some(&*others);
        let sent = carrier::inject_trace_context(&identifier, own, flags, others);
        injector.set(TRACEPARENT, sent.traceparent.to_string());
        injector.set(TRACESTATE, sent.tracestate.to_string());
    }

    /// Reads the caller's context, as W3C Trace Context does. A damaged or missing `sv` is as none.
    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let parent = extractor.get(TRACEPARENT).map(str::trim);
        let parent = parent.and_then(|text| TraceParent::parse(text.as_bytes()).ok());
        let Some(parent) = parent else {
            return cx.clone();
        };
        let state = extractor.get_all(TRACESTATE).unwrap_or_default().join(",");
        let state = TraceState::from_str(&state).unwrap_or_default();
        let remote = |state: TraceState| {
            SpanContext::new(
                TraceId::from_bytes(*parent.origin.as_bytes()),
                SpanId::from_bytes(*parent.interaction.as_bytes()),
                TraceFlags::new(parent.flags),
                true,
                state,
            )
        };
        // Another process's note, passed on by one that does not know it.
        let received = remote(without(&state, NOTE));
        let read = self.read(&received, parent.interaction);
        let told = received.trace_state().get(KEY).is_some();
        let ends_here = read.is_some_and(|read| read.sv_fault.is_none() && !read.ignored_hop);
        let received = match told && ends_here {
            true => received,
            false => {
                let noted = received.trace_state();
                let noted = noted.insert(NOTE, parent.interaction.to_string());
                remote(noted.unwrap_or_default())
            }
        };
        cx.with_remote_span_context(received)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

fn origin(context: &SpanContext) -> Option<Origin> {
    Origin::from_bytes(context.trace_id().to_bytes())
}

fn interaction(context: &SpanContext) -> Option<Interaction> {
    Interaction::from_bytes(context.span_id().to_bytes())
}

fn without(state: &TraceState, key: &str) -> TraceState {
    state.delete(key).unwrap_or_default()
}
