"""The propagator: reads and writes `traceparent` and `tracestate`, and adds this hop to `sv`.

Which ids enter the stack: those that stand in a `traceparent`, so calls between processes, never a
process's internal spans. What the process received stays, unchanged, in the trace state of all its
spans; each call that it makes sends that and its own id. So `inject` changes nothing of an exported
span, only the headers.

A hop that does not take part passes `sv` on without adding itself. `extract` sees it (the newest
id is not the parent-id) and notes the parent-id in a member of its own, `svp`, because later spans
of the process only know their own parents. `svp` is for this process and is never sent by us.
"""

from __future__ import annotations

import os
from typing import Optional, Set

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators import textmap
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .stack import IDS_MAX, ID_BYTES_MAX, Stack

KEY = "sv"
NOTE = "svp"
MEMBERS_MAX = 32


class SelvedgePropagator(textmap.TextMapPropagator):
    """W3C Trace Context with the request stack.

    `ids`: how many ids a stack keeps, 1 to 16, this hop's own among them; `id_bytes`: how many
    bytes of each, 1 to 8. Without them the environment variables `OTEL_SELVEDGE_IDS` and
    `OTEL_SELVEDGE_ID_BYTES` count, else 6 and 4. Raises ValueError for sizes out of range.
    """

    def __init__(self, ids: Optional[int] = None, id_bytes: Optional[int] = None) -> None:
        self._ids = _size("ids", "OTEL_SELVEDGE_IDS", ids, 6, IDS_MAX)
        self._id_bytes = _size("id_bytes", "OTEL_SELVEDGE_ID_BYTES", id_bytes, 4, ID_BYTES_MAX)
        self._w3c = TraceContextTextMapPropagator()

    @property
    def fields(self) -> Set[str]:
        """The headers that `inject` may write."""
        return set(self._w3c.fields)

    def extract(
        self,
        carrier: textmap.CarrierT,
        context: Optional[Context] = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,
    ) -> Context:
        """Reads the caller's context, as W3C Trace Context does. Never fails: a damaged or missing
        `sv` is as none, and what is damaged in the rest is W3C's to judge."""
        before = Context() if context is None else context
        after = self._w3c.extract(carrier, before, getter)
        if after is before:
            return before
        received = trace.get_current_span(after).get_span_context()
        members = dict(received.trace_state)
        # Another process's note, passed on by one that does not know it.
        stale = members.pop(NOTE, None) is not None
        stack = Stack.parse(members.get(KEY, ""), _origin(received))
        noted = stack is None or not stack.ends_in(_own(received))
        if not (stale or noted):
            return after
        if noted:
            # At the end, where a full list is cut: ours is worth more than the oldest.
            members = dict(list(members.items())[: MEMBERS_MAX - 1])
            members[NOTE] = _own(received).hex()
        return trace.set_span_in_context(_as_remote(received, members), after)

    def inject(
        self,
        carrier: textmap.CarrierT,
        context: Optional[Context] = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,
    ) -> None:
        """Writes the current span's context, with that span added to the stack. A context that is
        only passed through (extracted, with no span begun in it) adds nothing."""
        span = trace.get_current_span(context)
        current = span.get_span_context()
        if not current.is_valid:
            return
        members = dict(current.trace_state)
        note = members.pop(NOTE, None)
        if not current.is_remote:
            member = self._next(span, members.pop(KEY, ""), note)
            members = {KEY: member, **dict(list(members.items())[: MEMBERS_MAX - 1])}
        sent = trace.set_span_in_context(_as_remote(current, members), context)
        self._w3c.inject(carrier, sent, setter)

    def _next(self, span: trace.Span, sv: str, note: Optional[str]) -> str:
        """The member that a call made by `span` carries."""
        current = span.get_span_context()
        origin = _origin(current)
        stack = Stack.parse(sv, origin)
        caller = _noted(note) or _remote_parent(span)
        if caller is not None:
            if stack is None:
                # All that is known: it is at least one call below the root.
                stack = Stack(1, (caller[: self._id_bytes],))
            elif not stack.ends_in(caller):
                # As if exactly one hop did not add itself.
                stack = stack.advance(caller, self._ids, self._id_bytes)
        own = _own(current)
        if stack is None:
            return Stack(1, (own[: self._id_bytes],)).member(origin)
        return stack.advance(own, self._ids, self._id_bytes).member(origin)


def _size(name: str, variable: str, given: Optional[int], default: int, most: int) -> int:
    text = os.environ.get(variable, "").strip()
    if given is None and text:
        name = variable
        given = int(text) if text.isascii() and text.isdigit() else 0
    size = default if given is None else given
    if not 1 <= size <= most:
        raise ValueError(f"{name} is out of range: give a number from 1 to {most}")
    return size


def _origin(context: trace.SpanContext) -> str:
    return format(context.trace_id, "032x")


def _own(context: trace.SpanContext) -> bytes:
    return context.span_id.to_bytes(8, "big")


def _noted(note: Optional[str]) -> Optional[bytes]:
    try:
        noted = bytes.fromhex(note or "")
    except ValueError:
        return None
    return noted if len(noted) == 8 else None


def _remote_parent(span: trace.Span) -> Optional[bytes]:
    """The parent-id that the process received, where this span is the first of the process. The
    API does not promise spans a `parent`; the SDK's have it."""
    parent = getattr(span, "parent", None)
    if isinstance(parent, trace.SpanContext) and parent.is_remote and parent.is_valid:
        return _own(parent)
    return None


def _as_remote(context: trace.SpanContext, members: dict[str, str]) -> trace.Span:
    return trace.NonRecordingSpan(
        trace.SpanContext(
            trace_id=context.trace_id,
            span_id=context.span_id,
            is_remote=True,
            trace_flags=context.trace_flags,
            trace_state=trace.TraceState(list(members.items())),
        )
    )
