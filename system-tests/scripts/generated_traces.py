"""Writes traces as real systems export them: Zipkin v2, Jaeger and OTLP JSON.

    generated_traces.py SEED FOLDER      writes FOLDER/{zipkin,jaeger,otlp}-N.json

Made for what makes real exports hard: ids shared by both sides of a call, spans that come in parts,
clocks that are seconds apart, services that say no kind, sides and whole services that are lost,
calls side by side and calls that outlast their caller. The same seed writes the same files.
"""

import json
import random
import sys
from pathlib import Path

BEGAN = 1_795_176_000_000_000  # microseconds since 1970
FILES = 6


class Traces:
    """One trace, made call by call, as spans of no particular form."""

    def __init__(self, dice, form):
        self.dice, self.form, self.spans = dice, form, []
        self.trace = f"{dice.getrandbits(127) + 1:032x}"
        self.hosts = {}
        for service in range(dice.randint(2, 9)):
            for copy in range(dice.randint(1, 2)):
                # Most clocks are right to a millisecond, some are seconds off.
                far = 3_000_000 if dice.random() < 0.3 else 1_000
                offset = dice.randint(-far, far) if dice.random() < 0.8 else 0
                self.hosts[f"s{service}", f"10.0.{service}.{copy + 1}"] = offset
        self.budget = dice.randint(1, 60)
        root = dice.choice(list(self.hosts))
        duration = dice.randint(50_000, 400_000)
        kind = "SERVER" if dice.random() < 0.8 else ""
        top = self.span(None, kind, root, "root", BEGAN, duration)
        self.handle(top, root, BEGAN, BEGAN + duration, 0)

    def id(self):
        return f"{self.dice.getrandbits(64) or 1:016x}"

    def span(self, parent, kind, place, name, start, duration, own=None, shared=False):
        span = {
            "id": own or self.id(),
            "parent": parent and parent["id"],
            "kind": kind,
            "service": place[0],
            "host": place[1],
            "name": name,
            "start": start + self.hosts[place],
            "duration": duration,
            "shared": shared,
        }
        self.spans.append(span)
        return span

    def handle(self, within, place, begin, end, depth):
        """What a service does while it handles a call: works inside, and calls others."""
        at = begin
        while self.budget > 0 and depth < 25 and self.dice.random() < 0.85:
            self.budget -= 1
            room = end - at
            if room < 50:
                return
            start = at + self.dice.randint(1, room // 4)
            stop = self.dice.randint(start + 10, end - 1)
            if self.dice.random() < 0.1:
                stop += self.dice.randint(1, room)
            caller = within
            if self.dice.random() < 0.2 and self.form != "jaeger":
                kind = "" if self.form == "zipkin" else "INTERNAL"
                caller = self.span(within, kind, place, "inside", start, stop - start)
            self.call(caller, place, start, stop, depth)
            # One after the other, or side by side.
            at = stop if self.dice.random() < 0.6 else start
            at = min(at, end)

    def call(self, caller, place, start, stop, depth):
        others = [other for other in self.hosts if other[0] != place[0]]
        callee = self.dice.choice(others)
        name = self.dice.choice(["get", "post", "read", "write"])
        way = (stop - start) // 10
        inside = (start + way, stop - self.dice.randint(0, way))
        message = self.dice.random() < 0.15
        sends, receives = ("PRODUCER", "CONSUMER") if message else ("CLIENT", "SERVER")
        if self.form == "jaeger":
            # Services that say no kind: only the callee has a span.
            sends = receives = ""
        sent = caller
        if sends and self.dice.random() < 0.9:
            sent = self.span(caller, sends, place, name, start, stop - start)
        if sends and self.dice.random() < 0.15:
            return  # A database, a queue: nobody on the other side writes spans.
        if message:
            # Nobody waits for it: it is taken some time after it was sent.
            late = self.dice.randint(0, 50_000)
            inside = (inside[0] + late, inside[1] + late)
        duration = inside[1] - inside[0]
        shared = self.form == "zipkin" and not message and sent is not caller
        if shared and self.dice.random() < 0.7:
            parent = {"id": caller["id"]}
            received = self.span(
                parent, receives, callee, name, inside[0], duration, own=sent["id"], shared=True
            )
        else:
            received = self.span(sent, receives, callee, name, inside[0], duration)
        self.handle(received, callee, *inside, depth + 1)

    def lose(self):
        """Spans that never arrived; the root stays, because a trace's name says nothing else."""
        chance = self.dice.choice([0, 0, 0.1, 0.4])
        gone = self.dice.choice(list(self.hosts))[0] if self.dice.random() < 0.2 else None
        kept = [
            span
            for span in self.spans[1:]
            if self.dice.random() >= chance and span["service"] != gone
        ]
        self.spans = self.spans[:1] + kept
        self.dice.shuffle(self.spans)


def zipkin(traces, dice):
    listed = []
    for trace in traces:
        name = trace.trace[16:] if dice.random() < 0.3 else trace.trace
        for span in trace.spans:
            one = {"traceId": name, "id": span["id"], "name": span["name"]}
            one["localEndpoint"] = {"serviceName": span["service"], "ipv4": span["host"]}
            if span["parent"]:
                one["parentId"] = span["parent"]
            if span["kind"]:
                one["kind"] = span["kind"]
            if span["shared"] and dice.random() < 0.8:
                one["shared"] = True
            times = {"timestamp": span["start"], "duration": span["duration"]}
            if span["kind"] and dice.random() < 0.1:
                # Two parts: what it was, and later when.
                part = {key: one[key] for key in one if key not in ("kind", "shared", "name")}
                listed.append({**part, "tags": {"part": "1"}})
            if not span["parent"] or dice.random() < 0.97:
                one.update(times)
            listed.append(one)
    return listed


def jaeger(traces, dice):
    data = []
    for trace in traces:
        processes, numbers, spans = {}, {}, []
        for span in trace.spans:
            place = (span["service"], span["host"])
            process = numbers.setdefault(place, f"p{len(numbers) + 1}")
            tags = [{"key": "hostname", "type": "string", "value": span["host"]}]
            processes[process] = {"serviceName": span["service"], "tags": tags}
            reference = {"refType": "CHILD_OF", "traceID": trace.trace, "spanID": span["parent"]}
            spans.append(
                {
                    "traceID": trace.trace,
                    "spanID": span["id"],
                    "operationName": span["name"],
                    "references": [reference] if span["parent"] else [],
                    "startTime": span["start"],
                    "duration": span["duration"],
                    "processID": process,
                    "tags": [],
                }
            )
        data.append({"traceID": trace.trace, "spans": spans, "processes": processes})
    return {"data": data}


def otlp(traces, dice):
    kinds = {"": 0, "INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
    batches = []
    for trace in traces:
        places = sorted({(span["service"], span["host"]) for span in trace.spans})
        for service, host in places:
            named = {"service.name": service, "host.name": host}
            attributes = [{"key": k, "value": {"stringValue": v}} for k, v in named.items()]
            spans = [
                {
                    "traceId": trace.trace,
                    "spanId": span["id"],
                    **({"parentSpanId": span["parent"]} if span["parent"] else {}),
                    "name": span["name"],
                    "kind": kinds[span["kind"]],
                    "startTimeUnixNano": str(span["start"] * 1000),
                    "endTimeUnixNano": str((span["start"] + span["duration"]) * 1000),
                }
                for span in trace.spans
                if (span["service"], span["host"]) == (service, host)
            ]
            resource = {"attributes": attributes}
            batches.append({"resource": resource, "scopeSpans": [{"spans": spans}]})
    dice.shuffle(batches)
    return {"resourceSpans": batches}


def main():
    seed, folder = int(sys.argv[1]), Path(sys.argv[2])
    dice = random.Random(seed)
    for form in (zipkin, jaeger, otlp):
        for number in range(FILES):
            traces = [Traces(dice, form.__name__) for _ in range(dice.randint(1, 4))]
            for trace in traces:
                trace.lose()
            text = json.dumps(form(traces, dice), indent=1)
            (folder / f"{form.__name__}-{number}.json").write_text(text)


if __name__ == "__main__":
    main()
