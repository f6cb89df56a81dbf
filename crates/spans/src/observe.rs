//! From spans to what a call tree needs: where each stands, as a request identifier.
//!
//! Spans name their parents only. A tree of calls is made of *interactions*, one between each two
//! services, and a span takes part in one of three ways:
//!
//! - It **receives** a call: SERVER and CONSUMER spans, roots, and a span of no such kind whose
//!   parent is another service's (many tracers never say a kind). The interaction is its parent's
//!   id, where that is the caller's span of the call or is not here; its own where the id is
//!   shared (Zipkin), or where its caller recorded no span for the call.
//! - It **makes** a call: CLIENT and PRODUCER spans. The interaction is its own id; its caller's
//!   interaction is the one within which it ran, whatever internal spans lie between. A root that
//!   makes a call stands twice: as the root, and as the call.
//! - It is **inside**: all others. They are no calls; they are shown as actions of the node
//!   within which they ran. So the stack holds interactions only, as findings ask for.
//!
//! Depth and stack come down from the root over parents that are here. Where a parent is not here,
//! the `sv` member of the span's trace state says them (the span's process received it): from the
//! nearest call that it names and that is here, else from its own word for the depth. Without one the span hangs on nothing that is known: it is put at depth 2, the least that claims
//! neither to be the root nor to be called by it, and flagged `depth_unknown`.
//!
//! The result does not depend on the order of spans. Exact repeats vanish. Spans of one id, kind,
//! service and host that differ are kept and flagged `conflicting_twin`; received by several
//! hosts, they are deliveries. A cycle is cut at its least span and flagged.

pub(crate) mod details;
mod links;
mod told;

use std::collections::BTreeMap;

use selvedge_calltree::{Handle, Observation, Place};
use selvedge_entry::Direction;
use selvedge_identity::carrier::{Headers, extract};
use selvedge_identity::{
    Interaction, Origin, RequestIdentifier, STACK_MAX, Shape, StackId, TraceParent, TraceState,
};

use crate::Span;
use crate::names::Names;
use links::{Family, Role};

/// Stacks are as long as they can be: what spans say of their ancestors costs no bytes on a wire.
const SHAPE: Shape = Shape {
    k: 8,
    width: 8,
    depth_increment: 1,
};

/// What spans tell of call trees.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Each trace's observations.
    pub requests: BTreeMap<Origin, Vec<Observation>>,
    /// Exact repeats, left out.
    pub repeats: u64,
    /// Spans that contradict another of the same identity; kept.
    pub conflicts: u64,
    /// Cycles of parents, cut.
    pub cycles: u64,
}

/// Places spans, in any order, in their call trees. Parents are looked for among these spans, so
/// a trace's spans belong into one call.
#[must_use]
pub fn observe(spans: &[Span]) -> Observed {
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_unstable();
    let mut observed = Observed::default();
    let mut names = Names::default();
    let before = sorted.len();
    sorted.dedup();
    observed.repeats = (before - sorted.len()) as u64;
    for trace in sorted.chunk_by(|a, b| a.origin == b.origin) {
        let family = Family::of(trace);
        observed.conflicts += family.conflicts;
        observed.cycles += family.cycles;
        let observations = Placing::new(trace, &family).run(&mut names);
        observed.requests.insert(trace[0].origin, observations);
    }
    observed
}

/// Where a span stands.
#[derive(Clone, Debug)]
struct Stand {
    /// The interaction within which it runs; for one that receives, the one it received.
    home: RequestIdentifier,
    /// The interaction that it makes.
    makes: Option<RequestIdentifier>,
    /// Its depth is a guess.
    loose: bool,
    /// A hop between passed `sv` on without adding itself.
    ignored_hop: bool,
    /// It is the root, or what is left of one.
    root: bool,
}

struct Placing<'a> {
    trace: &'a [&'a Span],
    family: &'a Family,
    stands: Vec<Option<Stand>>,
}

impl<'a> Placing<'a> {
    fn new(trace: &'a [&'a Span], family: &'a Family) -> Self {
        Self {
            trace,
            family,
            stands: vec![None; trace.len()],
        }
    }

    fn run(mut self, names: &mut Names) -> Vec<Observation> {
        for &at in &self.family.order {
            let stand = self.stand(at);
            self.stands[at] = Some(stand);
        }
        let mut observations = Vec::with_capacity(self.trace.len() + 1);
        for at in 0..self.trace.len() {
            self.observations(at, names, &mut observations);
        }
        observations
    }

    /// Where a span stands, given that its parent's stand is known.
    fn stand(&self, at: usize) -> Stand {
        let span = self.trace[at];
        let role = self.family.roles[at];
        let parent = self.family.parents[at].and_then(|parent| {
            let stand = self.stands[parent].as_ref()?;
            Some((self.trace[parent], stand))
        });
        match (parent, span.parent) {
            (Some((parent, stand)), _) => under(span, role, parent, stand),
            (None, Some(lost)) => {
                let told = self.family.told.get(&at).and_then(|told| {
                    let caller = self.stands[told.caller].as_ref()?;
                    Some((caller, &told.below[..]))
                });
                alone(span, role, lost, told)
            }
            (None, None) => root(span, role),
        }
    }

    fn observations(&self, at: usize, names: &mut Names, out: &mut Vec<Observation>) {
        let Some(stand) = &self.stands[at] else {
            return;
        };
        let span = self.trace[at];
        let mut push = |identifier: &RequestIdentifier, direction| {
            let own = match direction {
                Direction::Outbound => Some(span.id),
                _ => identifier.own().whole(),
            };
            let mut flags = Vec::new();
            let mut flag = |on: bool, name: &str| {
                if on {
                    flags.push(name.into());
                }
            };
            flag(self.family.twins[at], "conflicting_twin");
            flag(self.family.cut[at], "cycle");
            flag(stand.loose, "depth_unknown");
            flag(stand.ignored_hop, "ignored_hop");
            flag(span.start.is_none(), "no_start");
            out.push(details::observation(
                span,
                Handle::Opaque(self.handle(at)),
                Place::new(identifier, own),
                direction,
                stand.ignored_hop,
                flags,
                names,
            ));
        };
        match (self.family.roles[at], &stand.makes) {
            (Role::Makes, Some(makes)) => {
                if stand.root {
                    push(&stand.home, Direction::Inbound);
                }
                push(makes, Direction::Outbound);
            }
            (Role::Receives, _) => push(&stand.home, Direction::Inbound),
            (Role::Inside, _) if stand.root => push(&stand.home, Direction::Inbound),
            (Role::Inside | Role::Makes, _) => push(&stand.home, Direction::Internal),
        }
    }

    /// Span id, then start: so a node's calls stand in the order of their one caller's clock.
    fn handle(&self, at: usize) -> u128 {
        let id = u64::from_be_bytes(*self.trace[at].id.as_bytes());
        u128::from(id) << 64 | u128::from(self.family.marks[at])
    }
}

/// A span whose parent is here.
fn under(span: &Span, role: Role, parent: &Span, stand: &Stand) -> Stand {
    let same_service = same_service(span, parent);
    let inherited = Stand {
        home: stand.home.clone(),
        makes: None,
        loose: stand.loose,
        ignored_hop: false,
        root: false,
    };
    // What runs in another service than its parent runs within the call that its parent made.
    let call = stand.makes.as_ref().filter(|_| !same_service);
    let caller = call.unwrap_or(&stand.home);
    match role {
        Role::Receives => {
            // A shared id names the call itself, so a parent of another id is not its caller's side.
            let logged = !span.shared || parent.id == span.id;
            let received = stand.makes.as_ref().filter(|_| logged);
            Stand {
                home: match received {
                    Some(call) => call.clone(),
                    None => caller.advance(span.id, SHAPE),
                },
                ignored_hop: received.is_some() && ignored(span, parent.id),
                ..inherited
            }
        }
        Role::Makes => Stand {
            makes: Some(caller.advance(span.id, SHAPE)),
            home: caller.clone(),
            ..inherited
        },
        Role::Inside => inherited,
    }
}

/// A span whose parent is not here. `told`: a caller that its trace state names, and the calls
/// between.
fn alone(span: &Span, role: Role, lost: Interaction, told: Option<(&Stand, &[StackId])>) -> Stand {
    let received = received(span, lost);
    let said = said(span).map(|(said, ignored_hop)| {
        let below = |(caller, below): (&Stand, &[StackId])| {
            Some((continued(caller.makes.as_ref()?, below)?, caller.loose))
        };
        let (home, loose) = told.and_then(below).unwrap_or((said, false));
        Stand {
            makes: (role == Role::Makes).then(|| home.advance(span.id, SHAPE)),
            home,
            loose,
            ignored_hop,
            root: false,
        }
    });
    said.unwrap_or_else(|| {
        let own = if role == Role::Receives {
            received
        } else {
            lost
        };
        let home = RequestIdentifier::from_parts(span.origin, 2, SHAPE.k, &[own.into()])
            .unwrap_or_else(|| RequestIdentifier::root(span.origin, own, SHAPE));
        Stand {
            makes: (role == Role::Makes).then(|| home.advance(span.id, SHAPE)),
            home,
            loose: true,
            ignored_hop: false,
            root: false,
        }
    })
}

fn root(span: &Span, role: Role) -> Stand {
    let home = RequestIdentifier::root(span.origin, span.id, SHAPE);
    Stand {
        makes: (role == Role::Makes).then(|| home.advance(span.id, SHAPE)),
        home,
        loose: false,
        ignored_hop: false,
        root: true,
    }
}

/// The identifier of the calls `below` a call.
fn continued(call: &RequestIdentifier, below: &[StackId]) -> Option<RequestIdentifier> {
    let depth = call.depth().checked_add(u32::try_from(below.len()).ok()?)?;
    let stack: Vec<StackId> = call.stack().iter().chain(below).copied().collect();
    let newest = &stack[stack.len().saturating_sub(STACK_MAX)..];
    RequestIdentifier::from_parts(call.origin(), depth, STACK_MAX as u8, newest)
}

/// Which call a span received whose parent is not here.
fn received(span: &Span, lost: Interaction) -> Interaction {
    if span.shared { span.id } else { lost }
}

/// What a span's trace state says of the call within which it ran, or that it received; and
/// whether a hop before it did not add itself.
fn said(span: &Span) -> Option<(RequestIdentifier, bool)> {
    if span.kind.receives() {
        return carried(span, received(span, span.parent?));
    }
    // `sv` is what its process received: the home itself.
    Some((carried_home(span)?, false))
}

/// The identifier of the call `received`, as the span's trace state says it; and whether a hop did
/// not add itself.
fn carried(span: &Span, received: Interaction) -> Option<(RequestIdentifier, bool)> {
    let state = span.trace_state.as_ref()?;
    let parent = TraceParent {
        origin: span.origin,
        interaction: received,
        flags: 0,
    };
    let parent = parent.text();
    TraceState::parse(state.as_bytes())?.sv?;
    let headers = Headers {
        request: None,
        traceparent: Some(parent.as_bytes()),
        tracestate: Some(state.as_bytes()),
    };
    let shape = Shape {
        k: STACK_MAX as u8,
        ..SHAPE
    };
    let extracted = extract(headers, true, shape);
    let said = extracted.sv_fault.is_none();
    let identifier = extracted.identifier.filter(|_| said)?;
    // `sv` says the beginning of the call's own id; the span says all of it.
    let mut stack = identifier.stack().to_vec();
    *stack.last_mut()? = received.into();
    let (origin, depth) = (identifier.origin(), identifier.depth());
    let whole = RequestIdentifier::from_parts(origin, depth, identifier.k(), &stack)?;
    Some((whole, extracted.ignored_hop))
}

/// The identifier that the span's process received. It ends in the caller's id, which may have been
/// noted beside it; else it is `sv` continued by the span's own id, without that id.
fn carried_home(span: &Span) -> Option<RequestIdentifier> {
    if let Some(caller) = noted(span) {
        return Some(carried(span, caller)?.0);
    }
    let (own, _) = carried(span, span.id)?;
    let (_, stack) = own.stack().split_last()?;
    let depth = own.depth().checked_sub(1)?;
    RequestIdentifier::from_parts(span.origin, depth, STACK_MAX as u8, stack)
}

/// The parent-id that our propagators note in a process whose caller did not add itself.
fn noted(span: &Span) -> Option<Interaction> {
    let mut members = span.trace_state.as_ref()?.split(',');
    let noted = members.find_map(|member| member.trim().strip_prefix("svp="))?;
    Interaction::parse(noted.as_bytes()).ok()
}

/// Whether the trace state says that a hop before this span's process did not add itself.
fn ignored(span: &Span, received: Interaction) -> bool {
    carried(span, received).is_some_and(|(_, ignored)| ignored)
}

/// Services that are not named are taken as the same.
fn same_service(a: &Span, b: &Span) -> bool {
    a.service.is_empty() || b.service.is_empty() || a.service == b.service
}
