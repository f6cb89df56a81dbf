//! Callers that `sv` names where a span's parent is not here.
//!
//! The member says the newest calls on the way to a process. Where one of them is a call that some
//! span here makes, the process hangs on that: its depth is then known as well as the caller's, also
//! where services in between did not take part and the member's own depth is a lower bound.

use std::collections::BTreeMap;

use selvedge_identity::StackId;

use super::said;
use crate::Span;

/// Whose call a span without its parent is.
#[derive(Debug)]
pub(crate) struct Told {
    /// A span that makes a call.
    pub(crate) caller: usize,
    /// The calls below that one, down to the one that the span's process received.
    pub(crate) below: Vec<StackId>,
}

/// What `sv` tells of each span whose parent is not here.
pub(crate) fn tell(trace: &[&Span], parents: &[Option<usize>]) -> BTreeMap<usize, Told> {
    let mut told = BTreeMap::new();
    let mut calls: Option<Vec<(u64, usize)>> = None;
    for (at, span) in trace.iter().enumerate() {
        if parents[at].is_some() || span.parent.is_none() || span.trace_state.is_none() {
            continue;
        }
        let Some((home, _)) = said(span) else {
            continue;
        };
        // Sorted once, and only if somebody asks.
        let calls = calls.get_or_insert_with(|| calls_of(trace));
        let stack = home.stack();
        let found = (0..stack.len()).rev().find_map(|depth| {
            let caller = the_one(calls, stack[depth])?;
            Some(Told {
                caller,
                below: stack[depth + 1..].to_vec(),
            })
        });
        told.extend(
            found
                .filter(|found| found.caller != at)
                .map(|found| (at, found)),
        );
    }
    told
}

/// The calls that spans make, by their ids.
fn calls_of(trace: &[&Span]) -> Vec<(u64, usize)> {
    let makes = trace
        .iter()
        .enumerate()
        .filter(|(_, span)| span.kind.sends());
    let mut calls: Vec<_> = makes.map(|(at, span)| (bits(span), at)).collect();
    calls.sort_unstable();
    calls
}

fn bits(span: &Span) -> u64 {
    u64::from_be_bytes(*span.id.as_bytes())
}

/// The call whose id begins as this one; `None` if there is none, or if there are several.
fn the_one(calls: &[(u64, usize)], id: StackId) -> Option<usize> {
    let first = id.to_bits();
    let last = first | u64::MAX.checked_shr(u32::from(id.width()) * 8).unwrap_or(0);
    let from = calls.partition_point(|call| call.0 < first);
    let to = calls.partition_point(|call| call.0 <= last);
    let found = calls.get(from..to)?;
    let (one, another) = (found.first()?, found.last()?);
    (one.0 == another.0).then_some(one.1)
}
