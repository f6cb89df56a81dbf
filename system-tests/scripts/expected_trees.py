"""What the call trees of exported traces must be: calls, callers, depths, and the critical path.

    expected_trees.py FILE...      prints {"TRACE ID": {"calls": ..., "critical_path": ...}, ...}

For tests to compare Selvedge with. It shares no code with it and needs nothing but Python; it is
simple and slow. Times are nanoseconds. Every file is OTLP JSON, Jaeger JSON or Zipkin v2 JSON.

Calls. A *call* is one service asking another. Its id is that of the span that says it makes a call
(CLIENT, PRODUCER); where nobody recorded that, of the span that received it. A span that receives
is a SERVER or CONSUMER, or one of no such kind whose parent is another service's. All other spans
are inside. A call's caller is the nearest call above it. Where a span's parent is not in the file,
nobody can tell its place: such a piece's `depth` is null, and its top is the lost parent's call.

Clocks. Every host has one. A call is received after it was sent, answered before the answer arrived
(messages have none, nor calls that took longer than their caller waited), and made after its caller
was called: each such pair bounds the difference of two clocks. The shortest paths over all bounds
give an interval for each clock against the root's. Where no bound says that two clocks differ, all
are right. Else those whose interval holds 0 are right, if they can be so together; of each other one
the middle of what that leaves is wanted, and the greatest offsets that keep all bounds and are
nowhere above what is wanted are taken. Clocks may contradict each other
(`"clocks": "contradictory"`).

Critical path. Backwards from the root's end: the call that ended last before this moment is on the
path from its start on, then the call that ended last before that, and so on; inside each call the
same. A call that outlasts its caller counts until the caller's end. Windows that only callees
logged may overlap the next by a twentieth of the shorter and still precede it.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

MAKES = ("CLIENT", "PRODUCER")
RECEIVES = ("SERVER", "CONSUMER")
LOCAL = ("", "localhost", "127.0.0.1", "::1")


@dataclass
class Span:
    trace: str
    id: str
    parent: Optional[str]
    kind: str
    service: str
    host: str
    start: Optional[int]
    duration: Optional[int]
    # Zipkin: the receiving side of a call, under the id of the sending side.
    shared: bool = False

    @property
    def end(self) -> Optional[int]:
        if self.start is None or self.duration is None:
            return None
        return self.start + self.duration


# Reading


def hex_id(text: str, digits: int) -> str:
    """Ids are hex; those of the small examples of Jaeger are any text, and stand for its bytes."""
    try:
        int(text, 16)
        return text.lower().rjust(digits, "0")
    except ValueError:
        return text.encode().hex().ljust(digits, "0")[:digits]


def host_of(attributes: Dict[str, object], service: str) -> str:
    names = ("host.name", "hostname", "k8s.pod.name", "container.id", "service.instance.id")
    for name in (*names, "net.host.ip", "ip"):
        value = attributes.get(name)
        if isinstance(value, str) and value not in LOCAL:
            return value
    return service


def read_otlp(file: dict) -> Iterator[Span]:
    kinds = ("", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    for batch in file["resourceSpans"]:
        listed = batch.get("resource", {}).get("attributes", [])
        attributes = {a["key"]: a["value"].get("stringValue") for a in listed}
        service = attributes.get("service.name") or ""
        for scope in batch["scopeSpans"]:
            for span in scope["spans"]:
                kind = span.get("kind", 0)
                if isinstance(kind, str):
                    kind = kind.replace("SPAN_KIND_", "").replace("UNSPECIFIED", "")
                else:
                    kind = kinds[kind]
                start = int(span["startTimeUnixNano"])
                yield Span(
                    trace=span["traceId"].lower(),
                    id=span["spanId"].lower(),
                    parent=span.get("parentSpanId", "").lower() or None,
                    kind=kind,
                    service=service,
                    host=host_of(attributes, service),
                    start=start,
                    duration=int(span["endTimeUnixNano"]) - start,
                )


def read_jaeger(file: dict) -> Iterator[Span]:
    for trace in file["data"]:
        for span in trace["spans"]:
            process = span.get("process") or trace["processes"][span["processID"]]
            attributes = {tag["key"]: tag["value"] for tag in process.get("tags") or []}
            tags = {tag["key"]: tag["value"] for tag in span.get("tags") or []}
            parents = [r for r in span.get("references") or [] if r["traceID"] == span["traceID"]]
            parents.sort(key=lambda reference: reference["refType"] != "CHILD_OF")
            yield Span(
                trace=hex_id(span["traceID"], 32),
                id=hex_id(span["spanID"], 16),
                parent=hex_id(parents[0]["spanID"], 16) if parents else None,
                kind=str(tags.get("span.kind", "")).upper(),
                service=process["serviceName"],
                host=host_of(attributes, process["serviceName"]),
                start=span["startTime"] * 1000,
                duration=span["duration"] * 1000,
            )


def read_zipkin(file: list) -> Iterator[Span]:
    spans = []
    for span in file:
        local = span.get("localEndpoint") or {}
        service = local.get("serviceName") or ""
        address = local.get("ipv4") or local.get("ipv6") or ""
        start, duration = span.get("timestamp"), span.get("duration")
        spans.append(
            Span(
                trace=hex_id(span["traceId"], 32),
                id=hex_id(span["id"], 16),
                parent=hex_id(span["parentId"], 16) if span.get("parentId") else None,
                kind=span.get("kind") or "",
                service=service,
                host=service if address in LOCAL else address,
                start=None if start is None else start * 1000,
                duration=None if duration is None else duration * 1000,
                shared=bool(span.get("shared")),
            )
        )
    return iter(whole_of_parts(spans))


def whole_of_parts(spans: List[Span]) -> List[Span]:
    """A span may come in parts: one says when it began, another what it was."""
    whole: List[Span] = []
    for span in sorted(spans, key=lambda span: (not span.kind, span.start is None)):
        for other in whole:
            same = (other.trace, other.id, other.service) == (span.trace, span.id, span.service)
            same = same and span.host == other.host and span.kind in ("", other.kind)
            if same and all(
                None in (mine, its) or mine == its
                for mine, its in ((span.start, other.start), (span.duration, other.duration))
            ):
                other.start = span.start if other.start is None else other.start
                other.duration = span.duration if other.duration is None else other.duration
                other.parent = other.parent or span.parent
                other.shared = other.shared or span.shared
                break
        else:
            whole.append(span)
    makes = {(span.trace, span.id) for span in whole if span.kind in MAKES}
    for span in whole:
        # Who forgot to say that the id is the sender's.
        span.shared = span.shared or span.kind in RECEIVES and (span.trace, span.id) in makes
    return whole


def read(path: str) -> List[Span]:
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    if isinstance(content, list):
        return list(read_zipkin(content))
    return list(read_otlp(content) if "resourceSpans" in content else read_jaeger(content))


# Calls


class Call:
    """A call, or the root request: `sent` is its caller's span, `received` are its receivers'."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.sent: Optional[Span] = None
        self.received: List[Span] = []
        self.inside: List[Span] = []
        self.caller: Optional[Call] = None
        self.calls: List[Call] = []
        # Its top is a root, and not what is left of a lost one.
        self.rooted = False

    @property
    def depth(self) -> int:
        return 0 if self.caller is None else self.caller.depth + 1

    def side(self) -> Optional[Span]:
        """The side that tells when: the caller's, where that ended."""
        sides = [self.sent, *self.received[:1]]
        return next((side for side in sides if side is not None and side.end is not None), None)


class Trace:
    """The calls of one trace, in no order."""

    def __init__(self, spans: List[Span]) -> None:
        self.spans = spans
        self.calls: List[Call] = []
        self._by_id: Dict[str, List[Span]] = defaultdict(list)
        for span in spans:
            self._by_id[span.id].append(span)
        self._within: Dict[int, Call] = {}
        self._sent: Dict[int, Call] = {}
        self._lost: Dict[str, Call] = {}
        sys.setrecursionlimit(100_000)
        for span in spans:
            self._home(span)
            self._makes(span)
        for call in self.calls:
            if call.caller is not None:
                call.caller.calls.append(call)

    def _parent(self, span: Span) -> Optional[Span]:
        same = [other for other in self._by_id[span.id] if other is not span]
        if self._receives_by_kind(span):
            for other in same:
                if other.kind in MAKES:
                    return other
        if span.parent is None:
            return None
        above = self._by_id.get(span.parent, [])

        def worth(other: Span) -> Tuple[int, ...]:
            makes = other.kind in MAKES
            if self._receives_by_kind(span):
                # Who shares the call's id received it; what names that id is a call of his.
                return (not (other.shared and not makes), not makes)
            return (other.service != span.service or not span.service, makes)

        return min(above, key=worth, default=None)

    @staticmethod
    def _receives_by_kind(span: Span) -> bool:
        return span.kind in RECEIVES

    @staticmethod
    def _other_service(a: Span, b: Span) -> bool:
        return bool(a.service) and bool(b.service) and a.service != b.service

    def _receives(self, span: Span, parent: Optional[Span]) -> bool:
        if span.kind in RECEIVES or span.kind in MAKES:
            return span.kind in RECEIVES
        return parent is not None and self._other_service(span, parent)

    def _new(self, id: str, caller: Optional[Call], rooted: bool) -> Call:
        call = Call(id)
        call.caller, call.rooted = caller, rooted
        self.calls.append(call)
        return call

    def _home(self, span: Span) -> Call:
        """The call within which a span runs; for one that receives, the one that it received."""
        if id(span) in self._within:
            return self._within[id(span)]
        parent = self._parent(span)
        receives = self._receives(span, parent)
        if parent is None and span.parent is None:
            call = self._new(span.id, None, True)
            call.received.append(span)
        elif parent is None:
            lost = span.id if receives and span.shared else span.parent
            call = self._lost.get(lost) or self._new(lost, None, False)
            self._lost[lost] = call
            (call.received if receives else call.inside).append(span)
        elif receives:
            told = self._makes(parent) if not span.shared or parent.id == span.id else None
            if told is None:
                above = self._around(parent, span)
                told = self._new(span.id, above, above.rooted)
            call = told
            call.received.append(span)
        else:
            call = self._around(parent, span)
            call.inside.append(span)
        self._within[id(span)] = call
        return call

    def _around(self, parent: Span, span: Span) -> Call:
        """Within which call a child of `parent` runs: in another service, within the call that the
        parent made."""
        made = self._makes(parent) if self._other_service(span, parent) else None
        return made or self._home(parent)

    def _makes(self, span: Span) -> Optional[Call]:
        if span.kind not in MAKES:
            return None
        if id(span) not in self._sent:
            around = self._home(span)
            call = self._new(span.id, around, around.rooted)
            call.sent = span
            self._sent[id(span)] = call
        return self._sent[id(span)]


# Clocks


def offsets(trace: Trace) -> Optional[Dict[str, int]]:
    """What to subtract from each host's times; None if its calls contradict each other."""
    bounds: Dict[Tuple[str, str], int] = {}

    def before(a: str, earlier: int, b: str, later: int) -> None:
        if a != b:
            bounds[a, b] = min(bounds.get((a, b), later - earlier), later - earlier)

    def timed(span: Optional[Span]) -> Optional[Span]:
        return span if span is not None and span.start is not None else None

    def cause(call: Optional[Call]) -> Optional[Span]:
        while call is not None:
            # Any of several receivers may have made the calls below.
            alone = len({span.host for span in call.received}) == 1
            for span in [*call.received[:1], call.sent] if alone else [call.sent]:
                if timed(span):
                    return span
            call = call.caller
        return None

    for call in trace.calls:
        sent = timed(call.sent)
        received = timed(call.received[0]) if call.received else None
        first, above = sent or received, cause(call.caller)
        if first and above:
            before(above.host, above.start, first.host, first.start)
        if sent and received and sent.host != received.host:
            before(sent.host, sent.start, received.host, received.start)
            answered = received.kind != "CONSUMER" and sent.kind != "PRODUCER"
            answered = answered and len({span.host for span in call.received}) == 1
            # Who takes longer than its caller waited has not answered it.
            if answered and None not in (sent.end, received.end) and received.duration <= sent.duration:
                before(received.host, received.end, sent.host, sent.end)

    hosts = sorted({span.host for span in trace.spans})
    root = next(call for call in trace.calls if call.caller is None and call.rooted)
    reference = next(span.host for span in [*root.received, root.sent] if span)

    edges = [(a, b, weight) for (a, b), weight in bounds.items()]

    def greatest(at_most: Dict[str, int], edges: List[Tuple[str, str, int]]) -> Dict[str, int]:
        """The greatest offsets nowhere above these that keep the bounds."""
        found = dict(at_most)
        for _ in range(len(hosts) + 1):
            changed = False
            for a, b, weight in edges:
                if a in found and (b not in found or found[a] + weight < found[b]):
                    found[b], changed = found[a] + weight, True
            if not changed:
                return found
        raise Contradiction

    def within(known: Iterable[str]) -> Dict[str, Tuple[float, float]]:
        """What each host's offset lies within, if that of these is 0."""
        zeros = dict.fromkeys(known, 0)
        most = greatest(zeros, edges)
        least = greatest(zeros, [(b, a, weight) for a, b, weight in edges])
        return {h: (-least.get(h, math.inf), most.get(h, math.inf)) for h in hosts}

    def wanted(least: float, most: float) -> int:
        if least <= 0 <= most:
            return 0
        if math.isinf(least) or math.isinf(most):
            return int(most if most < 0 else least)
        return int(least) + (int(most) - int(least)) // 2

    try:
        intervals = within([reference])
        if all(weight >= 0 for _, _, weight in edges):
            return dict.fromkeys(hosts, 0)
        right = [host for host in hosts if wanted(*intervals[host]) == 0]
        narrowed = within(right)
        if all(narrowed[host] == (0, 0) for host in right):
            intervals = narrowed
        return greatest({host: wanted(*intervals[host]) for host in hosts}, edges)
    except Contradiction:
        return None


class Contradiction(Exception):
    """Clocks that no offsets make agree."""


# Critical path


def critical_path(trace: Trace) -> Optional[Dict[str, int]]:
    """Nanoseconds that the root waited for each call itself, by the call's id; None if that cannot
    be told: clocks contradict each other, or the root did not end."""
    corrections = offsets(trace)
    root = next(call for call in trace.calls if call.caller is None and call.rooted)
    if corrections is None or root.side() is None:
        return None
    windows: Dict[int, Optional[Tuple[int, int]]] = {}

    def window(call: Call) -> Optional[Tuple[int, int]]:
        if id(call) in windows:
            return windows[id(call)]
        side = call.side()
        if side is not None:
            offset = corrections[side.host]
            found = (side.start - offset, side.end - offset)
        else:
            # Nobody wrote its end: it took at least as long as what it called.
            inner = [w for w in map(window, call.calls) if w is not None]
            found = (min(w[0] for w in inner), max(w[1] for w in inner)) if inner else None
        windows[id(call)] = found
        return found

    path: Dict[str, int] = defaultdict(int)

    def walk(call: Call, begin: int, end: int) -> None:
        ended = []
        for inner in call.calls:
            its = window(inner)
            if its is not None:
                ended.append((min(its[1], end), its[0], inner.sent is None or inner.sent.end is None, inner))
        ended.sort(key=lambda one: one[:2])
        until, allowed = end, 0
        for stop, start, loose, inner in reversed(ended):
            twentieth = (stop - start) // 20
            if stop > until and not (loose and stop - until <= min(allowed, twentieth)):
                continue
            start, stop = max(start, begin), min(stop, until)
            if stop > start:
                path[call.id] += until - stop
                until, allowed = start, twentieth
                walk(inner, start, stop)
        path[call.id] += until - begin

    walk(root, *window(root))
    return dict(path)


def expected(spans: List[Span]) -> dict:
    traces: Dict[str, List[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace].append(span)
    answer = {}
    for name, of_trace in traces.items():
        trace = Trace(of_trace)
        rooted = any(call.rooted for call in trace.calls)
        if not rooted:
            # The root is lost, and has the trace's name.
            trace.calls.insert(0, Call(name))
            trace.calls[0].rooted = True
        answer[name] = {
            "calls": [
                {
                    "id": call.id,
                    "caller": call.caller.id if call.caller else None,
                    "depth": call.depth if call.rooted else None,
                }
                for call in trace.calls
            ],
            "contradictory": rooted and offsets(trace) is None,
            "critical_path": critical_path(trace) if rooted else None,
        }
    return answer


if __name__ == "__main__":
    every: List[Span] = []
    for name in sys.argv[1:]:
        every.extend(read(name))
    json.dump(expected(every), sys.stdout, indent=1)
