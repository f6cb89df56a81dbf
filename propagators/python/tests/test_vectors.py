"""What the Rust implementation makes of received headers, this one makes too."""

import json
import unittest
from pathlib import Path

from opentelemetry import trace

from selvedge_propagator import SelvedgePropagator, Stack
from selvedge_propagator.crc32c import crc32c

VECTORS = Path(__file__).parents[3] / "docs" / "formats" / "sv-vectors.json"


class Vectors(unittest.TestCase):
    def test_a_hop_sends_what_the_rust_implementation_sends(self):
        hops = json.loads(VECTORS.read_text())["hops"]
        self.assertGreater(len(hops), 100)
        for hop in hops:
            propagator = SelvedgePropagator(hop["ids"], hop["id_bytes"])
            received = {name: text for name, text in hop["received"].items() if text is not None}
            context = propagator.extract(received)
            parent = trace.get_current_span(context).get_span_context()
            # What the SDK does: a span of the process takes over the trace state.
            own = trace.SpanContext(
                parent.trace_id, int(hop["own"], 16), False, parent.trace_flags, parent.trace_state
            )
            sent = {}
            inside = trace.set_span_in_context(trace.NonRecordingSpan(own), context)
            propagator.inject(sent, inside)
            self.assertEqual(sent, hop["sent"], hop)

    def test_members_are_refused_where_the_rust_implementation_refuses_them(self):
        refused = 0
        for hop in json.loads(VECTORS.read_text())["hops"]:
            members = dict(m.split("=", 1) for m in (hop["received"]["tracestate"] or "=").split(","))
            origin = hop["received"]["traceparent"].split("-")[1]
            if "sv" in members:
                stack = Stack.parse(members["sv"], origin)
                self.assertEqual(stack is None, hop["refused"] is not None, hop)
                self.assertTrue(stack is None or stack.member(origin) == members["sv"], hop)
                refused += stack is None
        self.assertGreater(refused, 10)

    def test_the_check_is_the_published_one(self):
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)


if __name__ == "__main__":
    unittest.main()
