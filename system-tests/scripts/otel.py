"""Makes spans with OpenTelemetry's SDK for Python, prints each as it made it, and exports all.

    otel.py grpc|http ENDPOINT TRACES

Half of the traces are made, then it prints "half" and waits for a line of its standard input; the
rest is made, and "rest" is printed before all are flushed. Every other line is a span as JSON.
Fails if the SDK says that it could not export everything.
"""

import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

how, endpoint, traces = sys.argv[1], sys.argv[2], int(sys.argv[3])
if how == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=60)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint}/v1/traces", timeout=60, compression=Compression.Gzip
    )


def value(given):
    """Types are told apart: a double that is whole is still a double."""
    if isinstance(given, bool):
        return {"bool": given}
    if isinstance(given, int):
        return {"int": str(given)}
    if isinstance(given, float):
        return {"double": given}
    if isinstance(given, str):
        return {"text": given}
    if isinstance(given, bytes):
        return {"bytes": given.hex()}
    return {"list": [value(each) for each in given]}


def attributes(given):
    return {key: value(each) for key, each in (given or {}).items()}


class Printer(SpanProcessor):
    def on_end(self, span):
        context = span.get_span_context()
        print(
            json.dumps(
                {
                    "origin": f"{context.trace_id:032x}",
                    "id": f"{context.span_id:016x}",
                    "parent": f"{span.parent.span_id:016x}" if span.parent else "",
                    "state": context.trace_state.to_header(),
                    "name": span.name,
                    "kind": span.kind.name,
                    "start": str(span.start_time),
                    "end": str(span.end_time),
                    "attributes": attributes(span.attributes),
                    "events": [
                        {
                            "name": event.name,
                            "at": str(event.timestamp),
                            "attributes": attributes(event.attributes),
                        }
                        for event in span.events
                    ],
                    "links": [
                        {
                            "origin": f"{link.context.trace_id:032x}",
                            "id": f"{link.context.span_id:016x}",
                            "attributes": attributes(link.attributes),
                        }
                        for link in span.links
                    ],
                    "status": [span.status.status_code.name, span.status.description or ""],
                    "scope": [
                        span.instrumentation_scope.name,
                        span.instrumentation_scope.version or "",
                    ],
                    "resource": attributes(span.resource.attributes),
                }
            )
        )


resource = Resource.create({"service.name": f"python-{how}", "host.name": "h1", "ratio": 1.0})
provider = TracerProvider(resource=resource)
provider.add_span_processor(Printer())
provider.add_span_processor(
    BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=100)
)
tracer = provider.get_tracer("shop", "1.2.3")
last = None


def make(number):
    """A trace of a request, a call, and the work that it caused."""
    global last
    links = [Link(last, {"why": "the request before", "n": number})] if last else None
    with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER, links=links) as root:
        last = root.get_span_context()
        root.set_attribute("text", "höchst \u2603 " + "x" * (number % 50))
        root.set_attribute("int", -(2**62) + number)
        root.set_attribute("double", number / 3)
        root.set_attribute("whole", 2.0)
        root.set_attribute("bool", number % 2 == 0)
        root.set_attribute("texts", ["a", "", "ü"])
        root.set_attribute("ints", [1, 2**53 + 1, number])
        root.set_attribute("doubles", [0.1, -1e300])
        root.set_attribute("bools", [True, False])
        root.add_event("cache miss", {"key": f"k{number}", "size": number})
        root.add_event("retry")
        with tracer.start_as_current_span("POST /orders", kind=SpanKind.CLIENT) as call:
            call.set_attribute("http.response.status_code", 500)
            call.set_status(Status(StatusCode.ERROR, f"answer {number} was 500"))
        with tracer.start_as_current_span("publish", kind=SpanKind.PRODUCER) as sent:
            sent.set_status(Status(StatusCode.OK))
        with tracer.start_as_current_span("count"):
            pass


for number in range(traces // 2):
    make(number)
print("half", flush=True)
sys.stdin.readline()
for number in range(traces // 2, traces):
    make(number)
print("rest", flush=True)
if not provider.force_flush(60_000):
    sys.exit("not everything was exported")
provider.shutdown()
